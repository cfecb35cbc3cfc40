package sytff.node_test

test_researcher_role_denies_a_guest if denied({"researcher": {"roles": ["guest"]}}) == {"node.researcher_role"}

test_researcher_role_denies_no_roles if denied({"researcher": {"roles": []}}) == {"node.researcher_role"}

test_researcher_role_denies_a_role_that_only_begins_so if {
	denied({"researcher": {"roles": ["researcher2", "Researcher"]}}) == {"node.researcher_role"}
}

test_researcher_role_accepts_a_researcher if denied({"researcher": {"roles": ["auditor", "researcher"]}}) == set()
