package sytff.node_test

test_adaptive_clipping_denies_noise_at_the_limit if {
	changed := object.union(document, {"request": {"clipping": {"kind": "adaptive"}, "noise_multiplier": 5}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.adaptive_clipping" in codes
}

test_adaptive_clipping_accepts_noise_below_the_limit if {
	changed := object.union(document, {"request": {"clipping": {"kind": "adaptive"}, "noise_multiplier": 4.99}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.adaptive_clipping" in codes
}

test_adaptive_clipping_accepts_fixed_clipping if {
	changed := object.union(document, {"request": {"noise_multiplier": 500}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.adaptive_clipping" in codes
}

test_adaptive_clipping_accepts_a_declared_stddev if {
	changed := object.union(document, {"request": {"clipping": {"kind": "adaptive", "clipped_count_stddev": 10}, "noise_multiplier": 19}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.adaptive_clipping" in codes
}

test_clipping_denies_none if {
	changed := object.union(document, {"request": {"clipping": null}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.clipping" in codes
}

test_clipping_accepts_fixed if {
	changed := object.union(document, {"request": {"clipping": {"kind": "fixed"}}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.clipping" in codes
}
