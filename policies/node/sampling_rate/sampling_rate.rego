package sytff.node

import data.sytff.lib

# METADATA
# title: Sampling rate
# description: clients_per_round / population must not exceed `max_sampling_rate`, nor 1.
deny contains lib.reason(
	"node.sampling_rate", "clients_per_round", max_clients, asked,
	sprintf("clients_per_round %v is more than %v, the most that this population allows", [
		asked,
		max_clients,
	]),
) if {
	asked := object.get(input, ["request", "clients_per_round"], null)
	not lib.at_most(asked, max_clients)
}

# METADATA
# title: No cohort without a population
# description: Nobody can be drawn from a population that is unknown.
default max_clients := 0

# METADATA
# title: Largest cohort
# description: The largest cohort that the node's sampling rate allows, and never more than everyone.
max_clients := floor(min({1, data.sytff.parameters.node.max_sampling_rate}) * input.dataset.population) if {
	is_number(input.dataset.population)
	is_number(data.sytff.parameters.node.max_sampling_rate)
}

# METADATA
# title: Bound on the cohort
# description: Between one person and the largest cohort.
bounds["clients_per_round"] := {"min": 1, "max": max_clients}
