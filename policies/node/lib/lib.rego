# METADATA
# title: Helpers
# description: Pure helpers that node rules and owners' policies share.
package sytff.lib

# METADATA
# title: A reason
# description: One reason object about a request field.
reason(code, field, limit, actual, message) := {
	"code": code,
	"field": field,
	"limit": limit,
	"actual": actual,
	"message": message,
}

# METADATA
# title: At most
# description: True only for two numbers in order; missing or other values are not.
at_most(value, limit) if {
	is_number(value)
	is_number(limit)
	value <= limit
}

# METADATA
# title: At least
# description: True only for two numbers in order; missing or other values are not.
at_least(value, limit) if {
	is_number(value)
	is_number(limit)
	value >= limit
}
