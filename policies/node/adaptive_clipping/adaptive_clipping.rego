package sytff.node

import data.sytff.lib

# METADATA
# title: Adaptive clipping is feasible
# description: With adaptive clipping noise_multiplier must stay below twice clipped_count_stddev.
deny contains lib.reason(
	"node.adaptive_clipping", "noise_multiplier", noise_limit, noise,
	sprintf("with adaptive clipping noise_multiplier must be at most %v", [noise_limit]),
) if {
	input.request.clipping.kind == "adaptive"
	noise := object.get(input, ["request", "noise_multiplier"], null)
	not noise_is_feasible
}

# METADATA
# title: Noise within the limit
# description: True only for a number that is not above the limit.
noise_is_feasible if lib.at_most(input.request.noise_multiplier, noise_limit)

# METADATA
# title: Declared noise on the clipped count
# description: What the request says of it; null when it leaves that to the default.
declared_stddev := object.get(input, ["request", "clipping", "clipped_count_stddev"], null)

# METADATA
# title: Noise on the clipped count
# description: As the request declares it.
count_stddev := declared_stddev if is_number(declared_stddev)

# METADATA
# title: Noise on the clipped count by default
# description: A twentieth of the expected cohort.
count_stddev := input.request.clients_per_round / 20 if {
	not is_number(declared_stddev)
	is_number(input.request.clients_per_round)
}

# METADATA
# title: Limit without a cohort
# description: None is accepted when the limit cannot be known.
default noise_limit := 0

# METADATA
# title: Limit on noise
# description: From twice the stddev on update and clipped count cannot share the noise; this is just below.
noise_limit := 1.998 * count_stddev

# METADATA
# title: Bound on noise under adaptive clipping
# description: What the rule accepts.
bounds["noise_multiplier"] := {"max": noise_limit} if {
	input.request.clipping.kind == "adaptive"
}
