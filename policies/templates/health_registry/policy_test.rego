package sytff.dataset_test

# A request that this policy accepts; tests change one thing in it.
request := {
	"train_data_id": "registry-features",
	"label_data_id": "registry-label",
	"rounds": 100,
	"clients_per_round": 50,
	"noise_multiplier": 1.0,
	"no_clients": null,
	"sampling_rate": 0.05,
	"clipping": {"kind": "fixed", "norm": 1.0},
	"client_optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0},
	"server_optimizer": {
		"name": "sgd",
		"learning_rate": 1.0,
		"momentum": 0.0,
		"beta_1": 0.9,
		"beta_2": 0.99,
		"epsilon": 0.001,
	},
	"batch_size": 32,
	"local_epochs": 1,
	"loss": null,
	"evaluation": {"noise_multiplier": 5.0, "holdout": 0.2},
	"model": {
		"parameters": 100,
		"largest_layer": {"name": "dense", "parameters": 100},
		"layers": ["Dense"],
	},
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

# Parameters that the tests go by, so that they hold whatever data.json says.
parameters := {
	"max_rounds": 500,
	"max_sampling_rate": 0.25,
	"min_noise_multiplier": 0.5,
	"max_epsilon_per_request": 6,
	"review_above_epsilon": 5.5,
	"allowed_purposes": [],
	"blocked_researchers": [],
}

# The codes that the request above is denied with, after some changes in it and in the parameters.
denied(changes, parameter_changes) := codes if {
	changed := object.union(document, changes)
	limits := object.union(parameters, parameter_changes)
	codes := {reason.code | some reason in data.sytff.dataset.deny} with input as changed
		with data.sytff.parameters.dataset as limits
}

# The codes that it waits for a review with.
reviewed(changes, parameter_changes) := codes if {
	changed := object.union(document, changes)
	limits := object.union(parameters, parameter_changes)
	codes := {reason.code | some reason in data.sytff.dataset.review} with input as changed
		with data.sytff.parameters.dataset as limits
}

test_the_request_is_allowed if denied({}, {}) == set()

test_no_input_is_denied if {
	codes := {reason.code | some reason in data.sytff.dataset.deny} with input as {}
		with data.sytff.parameters.dataset as parameters
	needed := {"dataset.noise", "dataset.rounds", "dataset.sampling_rate", "dataset.epsilon_per_request"}
	needed - codes == set()
}

test_what_data_json_sets_is_sane if {
	codes := {reason.code | some reason in data.sytff.dataset.deny} with input as document
	not "dataset.parameters" in codes
}

test_no_parameters_deny_everything if {
	codes := {reason.code | some reason in data.sytff.dataset.deny} with input as document
		with data.sytff.parameters as {}
	"dataset.parameters" in codes
}

test_each_parameter_is_needed if {
	every name, _ in parameters {
		limits := object.remove(parameters, [name])
		codes := {reason.code | some reason in data.sytff.dataset.deny} with input as document
			with data.sytff.parameters.dataset as limits
		"dataset.parameters" in codes
	}
}

test_a_misspelt_parameter if denied({}, {"max_round": 1}) == {"dataset.parameters"}

test_a_parameter_of_the_wrong_type if {
	denied({}, {"blocked_researchers": "alice"}) == {"dataset.parameters"}
	"dataset.parameters" in denied({}, {"max_rounds": "500"})
	"dataset.parameters" in denied({}, {"max_sampling_rate": null})
}

test_rounds_at_the_limit if denied({"request": {"rounds": 500}}, {}) == set()

test_rounds_above_the_limit if denied({"request": {"rounds": 501}}, {}) == {"dataset.rounds"}

test_a_cohort_at_the_limit if denied({"request": {"clients_per_round": 250}}, {}) == set()

test_a_cohort_above_the_limit if {
	denied({"request": {"clients_per_round": 251}}, {}) == {"dataset.sampling_rate"}
}

test_just_enough_noise if denied({"request": {"noise_multiplier": 0.5}}, {}) == set()

test_too_little_noise if denied({"request": {"noise_multiplier": 0.49}}, {}) == {"dataset.noise"}

test_epsilon_of_one_request if denied({}, {"max_epsilon_per_request": 1}) == {"dataset.epsilon_per_request"}

test_unbounded_epsilon_is_over_every_limit if {
	denied({"cost": {"epsilon": null}}, {}) == {"dataset.epsilon_per_request"}
}

test_epsilon_without_a_limit if {
	denied({"cost": {"epsilon": 1000}}, {"max_epsilon_per_request": null}) == set()
}

test_a_purpose_that_is_not_listed if denied({}, {"allowed_purposes": ["research"]}) == {"dataset.purpose"}

test_a_purpose_that_is_listed if {
	denied({"request": {"purpose": "research"}}, {"allowed_purposes": ["research"]}) == set()
}

test_a_blocked_researcher if denied({}, {"blocked_researchers": ["alice"]}) == {"dataset.blocked"}

test_a_researcher_who_is_not_blocked if denied({}, {"blocked_researchers": ["mallory"]}) == set()

test_bounds_are_published if {
	bounds := data.sytff.dataset.bounds with input as document
		with data.sytff.parameters.dataset as parameters
	bounds.rounds == {"max": 500}
	bounds.clients_per_round == {"max": 250}
	bounds.noise_multiplier == {"min": 0.5}
	bounds["cost.epsilon"] == {"max": 5.5}
}

test_the_request_needs_no_review if reviewed({}, {}) == set()

test_an_expensive_request_waits_for_review if {
	reviewed({"cost": {"epsilon": 5.9}}, {}) == {"dataset.review_epsilon"}
	denied({"cost": {"epsilon": 5.9}}, {}) == set()
}
