package sytff.node_test

test_delta_denies_more_than_one_in_population if {
	changed := object.union(document, {"dataset": {"budget": {"delta": 0.0011}}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.delta" in codes
}

test_delta_denies_zero if {
	changed := object.union(document, {"dataset": {"budget": {"delta": 0}}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.delta" in codes
}

test_delta_accepts_small if {
	changed := object.union(document, {"dataset": {"budget": {"delta": 0.0009}}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.delta" in codes
}
