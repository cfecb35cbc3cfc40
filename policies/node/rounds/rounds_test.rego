package sytff.node_test

test_rounds_denies_too_many if denied({"request": {"rounds": 100001}}) == {"node.rounds"}

test_rounds_denies_none if denied({"request": {"rounds": 0}}) == {"node.rounds"}

test_rounds_denies_null if denied({"request": {"rounds": null}}) == {"node.rounds"}

test_rounds_accepts_the_most if denied({"request": {"rounds": 100000}}) == set()

test_rounds_are_bounded if {
	data.sytff.node.bounds.rounds == {"min": 1, "max": 100000} with input as document
}
