package sytff.node

import data.sytff.lib

# METADATA
# title: Model size
# description: A model may have at most `max_model_parameters` parameters.
deny contains lib.reason(
	"node.model_size", "model.parameters", data.sytff.parameters.node.max_model_parameters, size,
	sprintf("the model has %v parameters; this node takes at most %v", [
		size,
		data.sytff.parameters.node.max_model_parameters,
	]),
) if {
	input.request.model != null
	size := object.get(input, ["request", "model", "parameters"], null)
	not lib.at_most(size, data.sytff.parameters.node.max_model_parameters)
}

# METADATA
# title: No model
# description: Without a model only the budget is judged.
warn contains lib.reason(
	"node.no_model", "model", null, null,
	"no model was given: only the budget and the parameters are judged",
) if {
	object.get(input, ["request", "model"], null) == null
}
