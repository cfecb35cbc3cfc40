package sytff.node_test

test_researcher_role_denies_a_guest if {
	changed := object.union(document, {"researcher": {"roles": ["guest"]}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.researcher_role" in codes
}

test_researcher_role_denies_no_roles if {
	changed := object.union(document, {"researcher": {"roles": []}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.researcher_role" in codes
}

test_researcher_role_accepts_a_researcher if {
	changed := object.union(document, {"researcher": {"roles": ["researcher", "auditor"]}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.researcher_role" in codes
}
