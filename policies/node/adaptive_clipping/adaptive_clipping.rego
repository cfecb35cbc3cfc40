package sytff.node

import data.sytff.lib

# METADATA
# title: Adaptive clipping is feasible
# description: With adaptive clipping, noise_multiplier must be below twice clipped_count_stddev, which is 0.1 x clients_per_round by default.
deny contains lib.reason(
	"node.adaptive_clipping", "noise_multiplier", noise_limit, noise,
	sprintf("with adaptive clipping noise_multiplier must be below %v", [noise_limit]),
) if {
	input.request.clipping.kind == "adaptive"
	noise := object.get(input, ["request", "noise_multiplier"], null)
	not noise_is_feasible
}

noise_is_feasible if {
	is_number(input.request.noise_multiplier)
	input.request.noise_multiplier < noise_limit
}

# METADATA
# title: Clipping is known
# description: A request without clipping is denied.
deny contains lib.reason(
	"node.clipping", "clipping.kind", ["fixed", "adaptive"], kind,
	"clipping must be fixed or adaptive",
) if {
	kind := object.get(input, ["request", "clipping", "kind"], null)
	not kind in {"fixed", "adaptive"}
}

declared_stddev := object.get(input, ["request", "clipping", "clipped_count_stddev"], null)

count_stddev := declared_stddev if is_number(declared_stddev)

count_stddev := 0.05 * input.request.clients_per_round if {
	not is_number(declared_stddev)
	is_number(input.request.clients_per_round)
}

default noise_limit := 0

noise_limit := 2 * count_stddev

# METADATA
# title: Bound on noise under adaptive clipping
# description: Just below twice the stddev of the clipped count.
bounds["noise_multiplier"] := {"max": noise_limit * 0.999} if {
	input.request.clipping.kind == "adaptive"
}
