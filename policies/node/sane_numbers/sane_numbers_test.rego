package sytff.node_test

test_sane_numbers_denies_too_many_rounds if {
	changed := object.union(document, {"request": {"rounds": 100001}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.rounds" in codes
}

test_sane_numbers_denies_no_rounds if {
	changed := object.union(document, {"request": {"rounds": null}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.rounds" in codes
}

test_sane_numbers_accepts_many_rounds if {
	changed := object.union(document, {"request": {"rounds": 100000}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.rounds" in codes
}

test_sane_numbers_noise_denies_no_noise if {
	changed := object.union(document, {"request": {"noise_multiplier": 0}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.noise" in codes
}

test_sane_numbers_noise_denies_null if {
	changed := object.union(document, {"request": {"noise_multiplier": null}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.noise" in codes
}

test_sane_numbers_noise_accepts_little_noise if {
	changed := object.union(document, {"request": {"noise_multiplier": 0.000000001}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.noise" in codes
}
