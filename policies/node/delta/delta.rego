package sytff.node

import data.sytff.lib

# METADATA
# title: Delta
# description: Delta must be above 0 and below 1 / population.
deny contains lib.reason(
	"node.delta", "dataset.budget.delta", delta_limit, delta,
	"delta must be above 0 and below 1 / population: register the dataset with a smaller one",
) if {
	delta := object.get(input, ["dataset", "budget", "delta"], null)
	not delta_is_small
}

# METADATA
# title: Delta below its limit
# description: True only for a positive number below 1 / population.
delta_is_small if {
	is_number(input.dataset.budget.delta)
	is_number(delta_limit)
	input.dataset.budget.delta > 0
	input.dataset.budget.delta < delta_limit
}

# METADATA
# title: Limit without a population
# description: Null when the population is unknown.
default delta_limit := null

# METADATA
# title: Limit on delta
# description: One over the population.
delta_limit := 1 / input.dataset.population if {
	is_number(input.dataset.population)
	input.dataset.population > 0
}
