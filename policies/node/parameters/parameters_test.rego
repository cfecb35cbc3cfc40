package sytff.node_test

denied_with(parameters) := codes if {
	codes := {reason.code | some reason in data.sytff.node.deny} with input as document
		with data.sytff.parameters.node as parameters
}

test_parameters_that_are_all_set_deny_nothing if {
	"node.parameters" in denied_with({})
	not "node.parameters" in denied_with(data.sytff.parameters.node)
}

test_parameters_deny_when_one_is_missing if {
	every name, _ in data.sytff.parameters.node {
		"node.parameters" in denied_with(object.remove(data.sytff.parameters.node, [name]))
	}
}

test_parameters_deny_when_one_is_no_number if {
	every name, _ in data.sytff.parameters.node {
		"node.parameters" in denied_with(object.union(data.sytff.parameters.node, {name: null}))
	}
}
