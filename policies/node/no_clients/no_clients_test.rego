package sytff.node_test

test_no_clients_denies_more_than_there_are if denied({"request": {"no_clients": 1001}}) == {"node.no_clients"}

test_no_clients_denies_text if denied({"request": {"no_clients": "all"}}) == {"node.no_clients"}

test_no_clients_accepts_everyone if denied({"request": {"no_clients": 1000}}) == set()

test_no_clients_accepts_none if denied({"request": {"no_clients": null}}) == set()

test_no_clients_is_bounded_by_the_population if {
	data.sytff.node.bounds.no_clients.max == 1000 with input as document
}
