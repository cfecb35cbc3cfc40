package sytff.node_test

test_evaluation_noise_denies_exact_metrics if {
	denied({"request": {"evaluation": {"noise_multiplier": 0}}}) == {"node.evaluation_noise"}
}

test_evaluation_noise_denies_an_evaluation_that_does_not_say if {
	denied({"request": {"evaluation": {"noise_multiplier": null}}}) == {"node.evaluation_noise"}
}

test_evaluation_noise_accepts_noise if denied({"request": {"evaluation": {"noise_multiplier": 0.1}}}) == set()

test_evaluation_noise_accepts_no_evaluation if denied({"request": {"evaluation": null}}) == set()
