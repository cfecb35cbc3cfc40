package sytff.node

import data.sytff.lib

# METADATA
# title: No raw metrics
# description: An evaluation must have noise of its own.
deny contains lib.reason(
	"node.evaluation_noise", "evaluation.noise_multiplier", 0, noise,
	"evaluation.noise_multiplier must be above 0: exact metrics do not leave the node",
) if {
	object.get(input, ["request", "evaluation"], null) != null
	noise := object.get(input, ["request", "evaluation", "noise_multiplier"], null)
	not evaluation_is_noised
}

# METADATA
# title: The evaluation has noise
# description: True only for a positive number.
evaluation_is_noised if {
	is_number(input.request.evaluation.noise_multiplier)
	input.request.evaluation.noise_multiplier > 0
}
