package sytff.node

import data.sytff.lib

# METADATA
# title: Researcher role
# description: Only an account with the role `researcher` may train. A guest cannot.
deny contains lib.reason(
	"node.researcher_role", "researcher.roles", "researcher", roles,
	"training needs the role researcher; ask the operator for it",
) if {
	roles := object.get(input, ["researcher", "roles"], [])
	not is_researcher
}

# METADATA
# title: The account is a researcher's
# description: True only when the roles list says so.
is_researcher if "researcher" in input.researcher.roles
