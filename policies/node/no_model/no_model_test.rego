package sytff.node_test

test_no_model_is_warned_of if {
	changed := object.union(document, {"request": {"model": null}})
	codes := {reason.code | some reason in data.sytff.node.warn} with input as changed
	codes == {"node.no_model"}
}

test_no_model_denies_nothing if denied({"request": {"model": null}}) == set()

test_a_model_is_not_warned_of if count(data.sytff.node.warn) == 0 with input as document
