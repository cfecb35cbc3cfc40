# METADATA
# title: Fixture
# description: The input that the tests of the node rules start from.
package sytff.node_test

# A request that every node rule accepts; tests change one thing in it.
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

# The codes that the fixture is denied with after some changes.
denied(changes) := codes if {
	changed := object.union(document, changes)
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
}

test_the_fixture_is_accepted if denied({}) == set()

test_no_input_is_denied_by_every_rule_that_needs_one if {
	codes := {reason.code | some reason in data.sytff.node.deny} with input as {}
	codes == {
		"node.clipping",
		"node.delta",
		"node.noise",
		"node.population",
		"node.researcher_role",
		"node.rounds",
		"node.sampling_rate",
	}
}
