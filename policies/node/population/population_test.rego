package sytff.node_test

test_population_denies_a_handful if {
	changed := object.union(document, {"dataset": {"population": 19}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.population" in codes
}

test_population_denies_no_number if {
	changed := object.union(document, {"dataset": {"population": "many"}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.population" in codes
}

test_population_accepts_the_minimum if {
	changed := object.union(document, {"dataset": {"population": 20}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.population" in codes
}
