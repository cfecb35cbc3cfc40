package sytff.node

import data.sytff.lib

# METADATA
# title: Parameters of the node
# description: Every parameter must be there as a number; a limit that is missing would limit nothing.
deny contains lib.reason(
	"node.parameters", "", null, name,
	sprintf("the node's policy parameter %v is not a number; the operator must set it", [name]),
) if {
	some name in {"max_model_parameters", "max_rounds", "max_sampling_rate", "min_population"}
	not is_number(object.get(node_parameters, name, null))
}

# METADATA
# title: No parameters
# description: Nothing is set when there are none.
default node_parameters := {}

# METADATA
# title: The node's parameters
# description: What data.json, or the operator instead of it, sets.
node_parameters := data.sytff.parameters.node
