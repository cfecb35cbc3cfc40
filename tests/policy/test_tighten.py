"""An owner can tighten the node's policy and never loosen it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sytff_policy.policy import Bound, EmbeddedEngine, Verdict
from tests.policy.samples import NODE, PACKAGE, bundle, codes, document

VIOLATIONS: dict[str, dict[str, Any]] = {
    "node.researcher_role": {"researcher.roles": ["guest"]},
    "node.rounds": {"request.rounds": 1_000_000},
    "node.noise": {"request.noise_multiplier": 0},
    "node.sampling_rate": {"request.clients_per_round": 1001},
    "node.no_clients": {"request.no_clients": 1001},
    "node.population": {"dataset.population": 19, "request.clients_per_round": 1},
    "node.delta": {"dataset.budget.delta": 0.01},
    "node.model_size": {"request.model": {"parameters": 10**9, "layers": ["Dense"]}},
    "node.clipping": {"request.clipping": None},
    "node.evaluation_noise": {"request.evaluation": {"noise_multiplier": 0, "holdout": 0.2}},
    "node.adaptive_clipping": {
        "request.clipping": {"kind": "adaptive", "clipped_count_stddev": 0.1}
    },
}

OWNERS = {
    "says nothing": "deny := set()\n",
    "says nothing in an array": "deny := []\n",
    "allows": "deny := set()\n\nallow := true\n\ndefault allow := true\n",
    "takes reasons back": "deny := set()\n\nundeny := data.sytff.node.deny\n",
    "widens the bounds": (
        "deny := set()\n\n"
        'bounds["rounds"] := {"min": 0, "max": 1000000000}\n\n'
        'bounds["clients_per_round"] := {"max": 1000000000}\n\n'
        'bounds["noise_multiplier"] := {"min": 0}\n\n'
        'bounds["no_clients"] := {"max": 1000000000}\n'
    ),
    "erases the bounds": 'deny := set()\n\nbounds["rounds"] := {"min": null, "max": null}\n',
    "warns instead": 'deny := set()\n\nwarn contains {"code": "node.rounds", "message": "fine"}\n',
    "reviews instead": 'deny := set()\n\nreview contains {"code": "a.b", "message": "wait"}\n',
    "has the node's codes": 'deny contains {"code": "node.rounds", "message": "a"} if false\n',
}

changes = st.lists(st.sampled_from(sorted(VIOLATIONS)), unique=True).map(
    lambda names: {path: value for name in names for path, value in VIOLATIONS[name].items()}
)


def node_alone(engine: EmbeddedEngine, given_: Mapping[str, Any]) -> Verdict:
    verdict = engine.evaluate([NODE], dict(given_))
    kept = tuple(r for r in verdict.deny if r.source == "data.sytff.node")
    return Verdict(kept, verdict.review, verdict.warn, verdict.bounds)


def is_no_looser(joined: Bound, before: Bound) -> bool:
    return joined.narrowed(before) == joined


@pytest.mark.parametrize("code", VIOLATIONS)
def test_each_violation_is_denied_by_the_node(engine: EmbeddedEngine, code: str) -> None:
    assert code in codes(node_alone(engine, document(VIOLATIONS[code])))


@pytest.mark.parametrize("owner", OWNERS)
@settings(max_examples=25)
@given(changes)
def test_every_denial_of_the_node_stands(
    engine: EmbeddedEngine, owner: str, changed: dict[str, Any]
) -> None:
    given_ = document(changed)
    before = node_alone(engine, given_)
    after = engine.evaluate([NODE, bundle(PACKAGE + OWNERS[owner])], given_)
    assert all(reason in after.deny for reason in before.deny)
    assert bool(after.deny) == bool(before.deny)
    assert all(reason in after.warn for reason in before.warn)
    for name, bound in before.bounds.items():
        assert is_no_looser(after.bounds[name], bound)


@settings(max_examples=50)
@given(changes, st.integers(1, 200), st.integers(1, 2000))
def test_an_owner_can_tighten(
    engine: EmbeddedEngine, changed: dict[str, Any], rounds: int, most: int
) -> None:
    owner = bundle(
        f'{PACKAGE}deny contains {{"code": "owner.rounds", "message": "m"}} if {{\n'
        f"\tinput.request.rounds > {rounds}\n}}\n\n"
        f'bounds["clients_per_round"] := {{"max": {most}}}\n'
    )
    given_ = document(changed)
    before = node_alone(engine, given_)
    after = engine.evaluate([NODE, owner], given_)
    added = {"owner.rounds"} if given_["request"]["rounds"] > rounds else set()
    assert set(codes(after)) == set(codes(before)) | added
    highest = after.bounds["clients_per_round"].max
    assert highest is not None
    assert highest <= most


def test_the_order_of_the_bundles_changes_no_reason(engine: EmbeddedEngine) -> None:
    owner = bundle(f'{PACKAGE}deny contains {{"code": "owner.no", "message": "m"}}\n')
    given_ = document(VIOLATIONS["node.rounds"])
    found = [
        {(reason.source, reason.code) for reason in engine.evaluate(order, given_).deny}
        for order in ([NODE, owner], [owner, NODE])
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 2
