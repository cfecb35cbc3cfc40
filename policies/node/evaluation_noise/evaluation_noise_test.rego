package sytff.node_test

test_evaluation_noise_denies_exact_metrics if {
	changed := object.union(document, {"request": {"evaluation": {"noise_multiplier": 0}}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.evaluation_noise" in codes
}

test_evaluation_noise_accepts_noise if {
	changed := object.union(document, {"request": {"evaluation": {"noise_multiplier": 0.1}}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.evaluation_noise" in codes
}

test_evaluation_noise_accepts_no_evaluation if {
	changed := object.union(document, {"request": {"evaluation": null}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.evaluation_noise" in codes
}
