package sytff.node

import data.sytff.lib

# METADATA
# title: Model size
# description: A model may have at most `max_model_parameters` parameters.
deny contains lib.reason(
	"node.model_size", "model.parameters", data.sytff.parameters.node.max_model_parameters, size,
	sprintf("the model has %v parameters%s; this node takes at most %v", [
		size,
		largest_layer,
		data.sytff.parameters.node.max_model_parameters,
	]),
) if {
	input.request.model != null
	size := object.get(input, ["request", "model", "parameters"], null)
	not lib.at_most(size, data.sytff.parameters.node.max_model_parameters)
}

# METADATA
# title: Unknown largest layer
# description: A model whose layers are unknown is refused without naming one.
default largest_layer := ""

# METADATA
# title: Largest layer
# description: Where to begin when a model is too large.
largest_layer := sprintf(", %v of them in layer '%s'", [layer.parameters, layer.name]) if {
	layer := input.request.model.largest_layer
}
