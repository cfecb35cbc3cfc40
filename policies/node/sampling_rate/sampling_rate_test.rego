package sytff.node_test

test_sampling_rate_denies_more_than_everyone if {
	denied({"request": {"clients_per_round": 1001}}) == {"node.sampling_rate"}
}

test_sampling_rate_denies_text if {
	denied({"request": {"clients_per_round": "all"}}) == {"node.sampling_rate"}
}

test_sampling_rate_accepts_everyone if denied({"request": {"clients_per_round": 1000}}) == set()

test_sampling_rate_goes_by_the_parameter if {
	halved := object.union(data.sytff.parameters.node, {"max_sampling_rate": 0.5})
	asked := object.union(document, {"request": {"clients_per_round": 501}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as asked
		with data.sytff.parameters.node as halved
	codes == {"node.sampling_rate"}
}

test_sampling_rate_is_never_above_one if {
	doubled := object.union(data.sytff.parameters.node, {"max_sampling_rate": 2})
	bound := data.sytff.node.bounds.clients_per_round with input as document
		with data.sytff.parameters.node as doubled
	bound == {"min": 1, "max": 1000}
}
