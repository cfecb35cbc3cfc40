package sytff.node_test

test_no_clients_denies_too_many if {
	changed := object.union(document, {"request": {"no_clients": 1001}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	"node.no_clients" in codes
}

test_no_clients_accepts_fewer if {
	changed := object.union(document, {"request": {"no_clients": 3}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.no_clients" in codes
}

test_no_clients_accepts_none if {
	changed := object.union(document, {"request": {"no_clients": null}})
	codes := {reason.code | some reason in data.sytff.node.deny} with input as changed
	not "node.no_clients" in codes
}
