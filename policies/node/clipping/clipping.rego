package sytff.node

import data.sytff.lib

# METADATA
# title: Clipping is known
# description: A request without fixed or adaptive clipping is denied.
deny contains lib.reason(
	"node.clipping", "clipping.kind", ["fixed", "adaptive"], kind,
	"clipping must be fixed or adaptive",
) if {
	kind := object.get(input, ["request", "clipping", "kind"], null)
	not kind in {"fixed", "adaptive"}
}
