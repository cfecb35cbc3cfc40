package sytff.node

import data.sytff.lib

# METADATA
# title: Population
# description: A dataset must hold at least `min_population` people.
deny contains lib.reason(
	"node.population", "dataset.population", data.sytff.parameters.node.min_population, population,
	sprintf("the dataset holds %v people; at least %v are needed", [
		population,
		data.sytff.parameters.node.min_population,
	]),
) if {
	population := object.get(input, ["dataset", "population"], null)
	not lib.at_least(population, data.sytff.parameters.node.min_population)
}
