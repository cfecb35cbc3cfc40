package sytff.node_test

test_sampling_rate_denies_more_than_everyone if {
	changed := object.union(document, {"request": {"clients_per_round": 1001}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.sampling_rate" in codes
}

test_sampling_rate_denies_text if {
	changed := object.union(document, {"request": {"clients_per_round": "all"}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.sampling_rate" in codes
}

test_sampling_rate_accepts_everyone if {
	changed := object.union(document, {"request": {"clients_per_round": 1000}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.sampling_rate" in codes
}
