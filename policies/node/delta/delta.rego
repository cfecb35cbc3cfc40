package sytff.node

import data.sytff.lib

# METADATA
# title: Delta
# description: Delta must be below 1 / population.
deny contains lib.reason(
	"node.delta", "dataset.budget.delta", limit, delta,
	"delta must be below 1 / population: register the dataset with a smaller one",
) if {
	delta := object.get(input, ["dataset", "budget", "delta"], null)
	limit := object.get(input, ["dataset", "population"], null)
	not delta_is_small
}

delta_is_small if {
	is_number(input.dataset.budget.delta)
	is_number(input.dataset.population)
	input.dataset.budget.delta > 0
	input.dataset.budget.delta * input.dataset.population < 1
}
