package sytff.node_test

test_model_size_denies_a_huge_model if {
	changed := object.union(document, {"request": {"model": {"parameters": 10000001}}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.model_size" in codes
}

test_model_size_accepts_the_largest if {
	changed := object.union(document, {"request": {"model": {"parameters": 10000000}}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.model_size" in codes
}

test_model_size_accepts_no_model if {
	changed := object.union(document, {"request": {"model": null}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.model_size" in codes
}

test_no_model_is_warned_of if {
	changed := object.union(document, {"request": {"model": null}})
	codes := {reason.code | some reason in data.sytff.node.warn} with input as changed
	codes == {"node.no_model"}
}
