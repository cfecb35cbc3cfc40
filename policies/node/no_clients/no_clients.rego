package sytff.node

import data.sytff.lib

# METADATA
# title: Number of clients
# description: The field no_clients is informational, but larger than the population it is a mistake.
deny contains lib.reason(
	"node.no_clients", "no_clients", population, claimed,
	sprintf("no_clients %v is more than the %v people of the dataset", [claimed, population]),
) if {
	claims_clients
	claimed := input.request.no_clients
	population := object.get(input, ["dataset", "population"], null)
	not lib.at_most(claimed, population)
}

# METADATA
# title: The request claims a number of clients
# description: True when no_clients is there and not null.
claims_clients if object.get(input, ["request", "no_clients"], null) != null

# METADATA
# title: Bound on no_clients
# description: Nobody can train on more people than there are.
bounds["no_clients"] := {"max": input.dataset.population}
