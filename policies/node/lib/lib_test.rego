package sytff.lib_test

import data.sytff.lib

test_a_reason_has_its_five_parts if {
	lib.reason("a.b", "rounds", 1, 2, "text") == {
		"code": "a.b",
		"field": "rounds",
		"limit": 1,
		"actual": 2,
		"message": "text",
	}
}

test_at_most_orders_numbers if {
	lib.at_most(1, 1)
	not lib.at_most(2, 1)
}

test_at_least_orders_numbers if {
	lib.at_least(1, 1)
	not lib.at_least(1, 2)
}

test_what_is_no_number_is_in_no_order if {
	every value in [null, "1", true, [1], {"a": 1}] {
		not lib.at_most(value, 1)
		not lib.at_most(1, value)
		not lib.at_least(value, 1)
		not lib.at_least(1, value)
	}
}
