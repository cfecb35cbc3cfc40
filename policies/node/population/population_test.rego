package sytff.node_test

test_population_denies_a_handful if {
	changes := {"dataset": {"population": 19}, "request": {"clients_per_round": 10}}
	denied(changes) == {"node.population"}
}

test_population_denies_what_is_no_number if {
	"node.population" in denied({"dataset": {"population": "many"}})
}

test_population_accepts_the_minimum if {
	denied({"dataset": {"population": 20}, "request": {"clients_per_round": 10}}) == set()
}
