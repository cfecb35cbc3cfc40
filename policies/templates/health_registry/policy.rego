# METADATA
# title: Health registry
# description: Stricter limits for data about health, with review of expensive requests.
package sytff.dataset

import data.sytff.lib

# METADATA
# title: No parameters
# description: Nothing is set when data.json sets nothing.
default parameters := {}

# METADATA
# title: Parameters
# description: What data.json sets.
parameters := data.sytff.parameters.dataset

# METADATA
# title: Types of the parameters
# description: Every parameter that this policy knows, and what it may be.
parameter_types := {
	"max_rounds": {"number"},
	"max_sampling_rate": {"number"},
	"min_noise_multiplier": {"number"},
	"max_epsilon_per_request": {"number", "null"},
	"review_above_epsilon": {"number"},
	"allowed_purposes": {"array"},
	"blocked_researchers": {"array"},
}

# METADATA
# title: Parameters are sane
# description: A limit that is missing, misspelt or no number would limit nothing.
deny contains lib.reason(
	"dataset.parameters", "", null, name,
	sprintf("policy parameter %v is missing, unknown or of the wrong type; the owner must mend data.json", [name]),
) if {
	some name in (object.keys(parameter_types) | object.keys(parameters))
	not parameter_is_sane(name)
}

# METADATA
# title: A parameter is sane
# description: It is there, known, and of its type.
parameter_is_sane(name) if type_name(object.get(parameters, name, "missing")) in parameter_types[name]

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
# description: At most max_epsilon_per_request, unless that is null.
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

# METADATA
# title: No cohort without a population
# description: Nobody can be drawn from a population that is unknown.
default max_clients := 0

# METADATA
# title: Largest cohort
# description: The largest cohort that max_sampling_rate allows.
max_clients := floor(parameters.max_sampling_rate * input.dataset.population) if {
	is_number(parameters.max_sampling_rate)
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
bounds["cost.epsilon"] := {"max": min(epsilon_limits)} if count(epsilon_limits) > 0

# METADATA
# title: Limits on epsilon
# description: The limits that are set.
epsilon_limits := {limit |
	some name in ["max_epsilon_per_request", "review_above_epsilon"]
	limit := parameters[name]
	is_number(limit)
}

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
