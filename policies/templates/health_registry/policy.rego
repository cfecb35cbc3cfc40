# METADATA
# title: Health registry
# description: Stricter limits for data about health, with review of expensive requests.
package sytff.dataset

import data.sytff.lib

parameters := data.sytff.parameters.dataset

# METADATA
# title: Rounds
# description: At most max_rounds.
deny contains lib.reason(
	"dataset.rounds", "rounds", parameters.max_rounds, asked("rounds"),
	sprintf("at most %v rounds are allowed on this dataset", [parameters.max_rounds]),
) if {
	not lib.at_most(asked("rounds"), parameters.max_rounds)
}

# METADATA
# title: Sampling rate
# description: At most max_sampling_rate of the people in a round.
deny contains lib.reason(
	"dataset.sampling_rate", "clients_per_round", max_clients, asked("clients_per_round"),
	sprintf("at most %v people may be drawn in a round", [max_clients]),
) if {
	not lib.at_most(asked("clients_per_round"), max_clients)
}

# METADATA
# title: Noise
# description: At least min_noise_multiplier.
deny contains lib.reason(
	"dataset.noise", "noise_multiplier", parameters.min_noise_multiplier,
	asked("noise_multiplier"),
	sprintf("noise_multiplier must be at least %v", [parameters.min_noise_multiplier]),
) if {
	not lib.at_least(asked("noise_multiplier"), parameters.min_noise_multiplier)
}

# METADATA
# title: Epsilon of one request
# description: At most max_epsilon_per_request, when that is set.
deny contains lib.reason(
	"dataset.epsilon_per_request", "cost.epsilon", parameters.max_epsilon_per_request,
	epsilon,
	sprintf("one request may cost at most epsilon %v", [parameters.max_epsilon_per_request]),
) if {
	is_number(parameters.max_epsilon_per_request)
	not lib.at_most(epsilon, parameters.max_epsilon_per_request)
}

# METADATA
# title: Purpose
# description: One of allowed_purposes, when there are any.
deny contains lib.reason(
	"dataset.purpose", "purpose", parameters.allowed_purposes, asked("purpose"),
	"the purpose is not one that the owner allows",
) if {
	count(parameters.allowed_purposes) > 0
	not asked("purpose") in parameters.allowed_purposes
}

# METADATA
# title: Blocked researchers
# description: None of blocked_researchers.
deny contains lib.reason(
	"dataset.blocked", "researcher.id", null, input.researcher.id,
	"the owner does not accept requests from this researcher",
) if {
	input.researcher.id in parameters.blocked_researchers
}

# METADATA
# title: Epsilon of this request
# description: Null when it is unbounded or unknown.
epsilon := object.get(input, ["cost", "epsilon"], null)

# METADATA
# title: What was asked
# description: A field of the request, or null, so that a missing one still makes a reason.
asked(name) := object.get(input, ["request", name], null)

default max_clients := 0

max_clients := floor(parameters.max_sampling_rate * input.dataset.population) if {
	is_number(input.dataset.population)
}

# METADATA
# title: Bound on rounds
# description: What the rule on rounds accepts.
bounds["rounds"] := {"max": parameters.max_rounds}

# METADATA
# title: Bound on the cohort
# description: What the rule on the sampling rate accepts.
bounds["clients_per_round"] := {"max": max_clients}

# METADATA
# title: Bound on noise
# description: What the rule on noise accepts.
bounds["noise_multiplier"] := {"min": parameters.min_noise_multiplier}

# METADATA
# title: Bound on epsilon
# description: What is accepted without a review.
bounds["cost.epsilon"] := {"max": min({
	parameters.max_epsilon_per_request,
	parameters.review_above_epsilon,
})}

# METADATA
# title: Review of expensive requests
# description: A request above review_above_epsilon waits for the owner.
review contains lib.reason(
	"dataset.review_epsilon", "cost.epsilon", parameters.review_above_epsilon,
	epsilon,
	sprintf("a request above epsilon %v waits for the owner's review", [parameters.review_above_epsilon]),
) if {
	not lib.at_most(epsilon, parameters.review_above_epsilon)
}
