package sytff.node_test

test_delta_denies_one_in_population if denied({"dataset": {"budget": {"delta": 0.001}}}) == {"node.delta"}

test_delta_denies_zero if denied({"dataset": {"budget": {"delta": 0}}}) == {"node.delta"}

test_delta_denies_text if denied({"dataset": {"budget": {"delta": "0.00001"}}}) == {"node.delta"}

test_delta_accepts_less_than_one_in_population if denied({"dataset": {"budget": {"delta": 0.0009}}}) == set()

test_delta_names_its_limit if {
	changed := object.union(document, {"dataset": {"budget": {"delta": 0.5}}})
	limits := {reason.limit | some reason in data.sytff.node.deny} with input as changed
	limits == {0.001}
}
