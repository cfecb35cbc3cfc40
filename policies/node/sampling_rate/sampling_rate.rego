package sytff.node

import data.sytff.lib

# METADATA
# title: Sampling rate
# description: The sampling rate clients_per_round / population must not exceed `max_sampling_rate`, nor 1.
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
# title: Largest cohort
# description: The largest cohort that the node's sampling rate allows; none without a population.
default max_clients := 0

max_clients := floor(data.sytff.parameters.node.max_sampling_rate * input.dataset.population) if {
	is_number(input.dataset.population)
}

# METADATA
# title: Bound on the cohort
# description: Between one person and the largest cohort.
bounds["clients_per_round"] := {"min": 1, "max": max_clients}
