package sytff.node

import data.sytff.lib

# METADATA
# title: Rounds
# description: Rounds must be between 1 and `max_rounds`.
deny contains lib.reason(
	"node.rounds", "rounds", data.sytff.parameters.node.max_rounds, rounds,
	sprintf("rounds must be between 1 and %v", [data.sytff.parameters.node.max_rounds]),
) if {
	rounds := object.get(input, ["request", "rounds"], null)
	not rounds_are_sane
}

# METADATA
# title: Rounds in range
# description: True only for a number between 1 and the limit.
rounds_are_sane if {
	lib.at_least(input.request.rounds, 1)
	lib.at_most(input.request.rounds, data.sytff.parameters.node.max_rounds)
}

# METADATA
# title: Bound on rounds
# description: Between one and the node's most.
bounds["rounds"] := {"min": 1, "max": data.sytff.parameters.node.max_rounds}
