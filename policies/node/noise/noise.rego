package sytff.node

import data.sytff.lib

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

# METADATA
# title: There is noise
# description: True only for a positive number.
noise_is_sane if {
	is_number(input.request.noise_multiplier)
	input.request.noise_multiplier > 0
}
