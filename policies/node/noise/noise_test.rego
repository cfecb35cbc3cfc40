package sytff.node_test

test_noise_denies_none if denied({"request": {"noise_multiplier": 0}}) == {"node.noise"}

test_noise_denies_null if denied({"request": {"noise_multiplier": null}}) == {"node.noise"}

test_noise_denies_text if denied({"request": {"noise_multiplier": "1"}}) == {"node.noise"}

test_noise_accepts_the_least if denied({"request": {"noise_multiplier": 0.000000001}}) == set()
