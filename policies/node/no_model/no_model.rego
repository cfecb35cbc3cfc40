package sytff.node

import data.sytff.lib

# METADATA
# title: No model
# description: Warns that without a model only the budget and the parameters are judged.
warn contains lib.reason(
	"node.no_model", "model", null, null,
	"no model was given: only the budget and the parameters are judged",
) if {
	object.get(input, ["request", "model"], null) == null
}
