package sytff.node

import data.sytff.lib

# METADATA
# title: Sane numbers
# description: Rounds and noise must be present and in a sane range.
deny contains lib.reason(
	"node.rounds", "rounds", data.sytff.parameters.node.max_rounds, rounds,
	sprintf("rounds must be between 1 and %v", [data.sytff.parameters.node.max_rounds]),
) if {
	rounds := object.get(input, ["request", "rounds"], null)
	not rounds_are_sane
}

# METADATA
# title: Noise is present
# description: Without noise nothing is private.
deny contains lib.reason(
	"node.noise", "noise_multiplier", 0, noise,
	"noise_multiplier must be above 0: without noise nothing is private",
) if {
	noise := object.get(input, ["request", "noise_multiplier"], null)
	not noise_is_sane
}

rounds_are_sane if {
	lib.at_least(input.request.rounds, 1)
	lib.at_most(input.request.rounds, data.sytff.parameters.node.max_rounds)
}

noise_is_sane if {
	is_number(input.request.noise_multiplier)
	input.request.noise_multiplier > 0
}

# METADATA
# title: Bound on rounds
# description: Between one and the node's most.
bounds["rounds"] := {"min": 1, "max": data.sytff.parameters.node.max_rounds}
