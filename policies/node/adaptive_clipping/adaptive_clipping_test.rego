package sytff.node_test

test_adaptive_clipping_denies_noise_above_the_limit if {
	denied({"request": {"clipping": {"kind": "adaptive"}, "noise_multiplier": 4.996}}) == {"node.adaptive_clipping"}
}

test_adaptive_clipping_accepts_noise_at_the_limit if {
	denied({"request": {"clipping": {"kind": "adaptive"}, "noise_multiplier": 4.995}}) == set()
}

test_adaptive_clipping_accepts_fixed_clipping_with_any_noise if {
	denied({"request": {"noise_multiplier": 500}}) == set()
}

test_adaptive_clipping_goes_by_the_declared_stddev if {
	declared := {"kind": "adaptive", "clipped_count_stddev": 10}
	denied({"request": {"clipping": declared, "noise_multiplier": 19.98}}) == set()
	denied({"request": {"clipping": declared, "noise_multiplier": 19.99}}) == {"node.adaptive_clipping"}
}

test_adaptive_clipping_denies_when_the_cohort_is_unknown if {
	changes := {"request": {"clipping": {"kind": "adaptive"}, "clients_per_round": null}}
	denied(changes) == {"node.adaptive_clipping", "node.sampling_rate"}
}

test_adaptive_clipping_bounds_noise_at_the_limit if {
	changed := object.union(document, {"request": {"clipping": {"kind": "adaptive"}}})
	data.sytff.node.bounds.noise_multiplier.max < 5 with input as changed
	not data.sytff.node.bounds.noise_multiplier with input as document
}
