package sytff.node_test

test_model_size_denies_a_huge_model if {
	denied({"request": {"model": {"parameters": 10000001}}}) == {"node.model_size"}
}

test_model_size_denies_a_model_of_unknown_size if {
	denied({"request": {"model": {"parameters": null}}}) == {"node.model_size"}
}

test_model_size_accepts_the_largest if denied({"request": {"model": {"parameters": 10000000}}}) == set()

test_model_size_accepts_no_model if denied({"request": {"model": null}}) == set()

test_model_size_names_the_largest_layer if {
	changed := object.union(document, {"request": {"model": {
		"parameters": 20000000,
		"largest_layer": {"name": "wide", "parameters": 19000000},
	}}})
	some reason in data.sytff.node.deny with input as changed
	reason.code == "node.model_size"
	contains(reason.message, "19000000 of them in layer 'wide'")
}
