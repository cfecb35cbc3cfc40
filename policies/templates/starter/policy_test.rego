package sytff.dataset_test

# A request that every node rule accepts; tests change one thing in it.
request := {
	"rounds": 100,
	"clients_per_round": 50,
	"noise_multiplier": 1.0,
	"no_clients": null,
	"sampling_rate": 0.05,
	"clipping": {"kind": "fixed", "norm": 1.0},
	"evaluation": {"noise_multiplier": 5.0, "holdout": 0.2},
	"model": {"parameters": 100, "layers": ["Dense"]},
	"purpose": "",
}

document := {
	"request": request,
	"researcher": {"id": "alice", "roles": ["researcher"], "organization": "", "affiliations": []},
	"dataset": {
		"name": "registry",
		"version": "v",
		"population": 1000,
		"tags": [],
		"budget": {"granted": 8, "delta": 0.00001, "spent": 0, "reserved": 0, "remaining": 8},
	},
	"cost": {"epsilon": 1.5, "charge": 2.5, "remaining_after": 5.5},
	"usage": {"today": {"requests": 0, "epsilon": 0}, "all": {"requests": 0, "epsilon": 0}},
	"time": {
		"ns": 1767225600000000000,
		"year": 2026,
		"month": 1,
		"day": 1,
		"hour": 9,
		"minute": 0,
		"weekday": "thursday",
		"date": "2026-01-01",
	},
}

codes(set) := {reason.code | some reason in set}

test_the_fixture_is_allowed if {
	count(data.sytff.dataset.deny) == 0 with input as document
}

test_no_input_is_denied if {
	denied := codes(data.sytff.dataset.deny) with input as {}
	denied == {"dataset.noise", "dataset.rounds", "dataset.sampling_rate"}
}

test_rounds_above_the_limit if {
	changed := object.union(document, {"request": {"rounds": 10001}})
	codes(data.sytff.dataset.deny) == {"dataset.rounds"} with input as changed
}

test_a_cohort_above_the_limit if {
	changed := object.union(document, {"request": {"clients_per_round": 1001}})
	codes(data.sytff.dataset.deny) == {"dataset.sampling_rate"} with input as changed
}

test_too_little_noise if {
	changed := object.union(document, {"request": {"noise_multiplier": 0.29}})
	codes(data.sytff.dataset.deny) == {"dataset.noise"} with input as changed
}

test_epsilon_of_one_request if {
	limited := object.union(data.sytff.parameters.dataset, {"max_epsilon_per_request": 1})
	codes(data.sytff.dataset.deny) == {"dataset.epsilon_per_request"} with input as document
		with data.sytff.parameters.dataset as limited
}

test_unbounded_epsilon_is_over_every_limit if {
	limited := object.union(data.sytff.parameters.dataset, {"max_epsilon_per_request": 1})
	changed := object.union(document, {"cost": {"epsilon": null}})
	codes(data.sytff.dataset.deny) == {"dataset.epsilon_per_request"} with input as changed
		with data.sytff.parameters.dataset as limited
}

test_a_purpose_that_is_not_listed if {
	limited := object.union(data.sytff.parameters.dataset, {"allowed_purposes": ["research"]})
	codes(data.sytff.dataset.deny) == {"dataset.purpose"} with input as document
		with data.sytff.parameters.dataset as limited
}

test_a_blocked_researcher if {
	limited := object.union(data.sytff.parameters.dataset, {"blocked_researchers": ["alice"]})
	codes(data.sytff.dataset.deny) == {"dataset.blocked"} with input as document
		with data.sytff.parameters.dataset as limited
}

test_bounds_are_published if {
	data.sytff.dataset.bounds.rounds.max == 10000 with input as document
	data.sytff.dataset.bounds.noise_multiplier.min == 0.3 with input as document
}
