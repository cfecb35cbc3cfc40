"""Entries about datasets: registration, versions, grants, caps and policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sytff_policy.ledger.verify.accounting import capacity
from sytff_policy.ledger.verify.events import (
    digest,
    filter_of,
    integer,
    keys,
    number,
    text,
)
from sytff_policy.ledger.verify.report import Wrong
from sytff_policy.ledger.verify.state import BudgetState, DatasetState, State

_REGISTERED = frozenset({"dataset", "version", "population", "owner", "description", "filter"})
_VERSION = frozenset({"dataset", "version", "previous", "population", "description", "by"})
_GRANTED = frozenset({"dataset", "amount", "by", "before", "after"})
_CAP = frozenset({"budget", "scope", "subject", "epsilon", "previous", "by"})
_ACTIVATED = frozenset({"dataset", "bundle", "revision", "previous", "by"})


class DatasetSteps:
    """What these entries do to the state.

    Args:
      state: The state that they change.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def kinds(self) -> dict[str, Callable[[dict[str, Any]], None]]:
        """The check of every kind of entry."""
        return {
            "dataset.registered": self._registered,
            "dataset.version": self._version,
            "budget.granted": self._granted,
            "cap.set": self._cap,
            "policy.activated": self._activated,
            "node.policy": self._node_policy,
        }

    def _registered(self, body: dict[str, Any]) -> None:
        keys(body, _REGISTERED, frozenset({"budgets"}))
        name, state = text(body["dataset"]), self._state
        if name in state.datasets:
            raise Wrong("verify.registered_twice", f"{name!r} is registered twice")
        stated = filter_of(body["filter"])
        names = tuple(body.get("budgets", [name]))
        shared = [other for other in names if other != name]
        if len(set(names)) != len(names) or not names or ("budgets" in body) != bool(shared):
            raise Wrong("verify.budgets", f"{name!r} is charged to {list(names)}")
        self._take_version(body["version"])
        for other in shared:
            if other not in state.budgets:
                raise Wrong("verify.budgets", f"{name!r} shares the unknown budget {other!r}")
        if name in names:
            state.budgets[name] = BudgetState(stated, stated.zero, stated.zero)
        state.datasets[name] = DatasetState(body["version"], integer(body["population"], 1), names)
        if name in names and names[0] != name:
            raise Wrong("verify.budgets", f"{name!r} does not come first among its budgets")
        if stated != state.budgets[names[0]].filter:
            raise Wrong("verify.filter", f"the filter is not that of budget {names[0]!r}")
        if not capacity(stated)[0] > 0:
            raise Wrong("verify.filter", f"the filter of {name!r} admits nothing")

    def _version(self, body: dict[str, Any]) -> None:
        keys(body, _VERSION)
        dataset = self._dataset(body["dataset"])
        population = integer(body["population"], 1)
        previous, dataset.version = dataset.version, body["version"]
        dataset.population = population
        if body["previous"] != previous:
            raise Wrong("verify.version", "it does not follow the version before")
        self._take_version(body["version"])

    def _take_version(self, version: Any) -> None:
        if text(version) in self._state.versions:
            raise Wrong("verify.registered_twice", f"version {version} is registered twice")
        self._state.versions.add(version)

    def _granted(self, body: dict[str, Any]) -> None:
        keys(body, _GRANTED, frozenset({"budget"}))
        dataset = self._dataset(body["dataset"])
        if body.get("budget", body["dataset"]) != dataset.budgets[0]:
            raise Wrong("verify.grant", "the grant is to another budget than the dataset's first")
        budget = self._state.budgets[dataset.budgets[0]]
        amount = number(body["amount"])
        before, after = filter_of(body["before"]), filter_of(body["after"])
        granted = budget.filter._replace(epsilon=budget.filter.epsilon + amount)
        follows = before == budget.filter and after == granted and amount > 0
        budget.filter = granted
        if not follows:
            raise Wrong("verify.grant", "the grant does not add to the budget")

    def _cap(self, body: dict[str, Any]) -> None:
        keys(body, _CAP)
        budget = self._state.budgets.get(body["budget"])
        if budget is None:
            raise Wrong("verify.unknown_budget", f"there is no budget {body['budget']!r}")
        if body["scope"] not in ("researcher", "organization"):
            raise Wrong("verify.cap", f"{body['scope']!r} cannot be capped")
        share = (body["budget"], body["scope"], text(body["subject"]))
        previous = self._state.caps.pop(share, None)
        stated = None if body["previous"] is None else number(body["previous"])
        if body["epsilon"] is not None:
            epsilon = number(body["epsilon"])
            self._state.caps[share] = epsilon
            if not (epsilon > 0 and capacity(budget.filter._replace(epsilon=epsilon))[0] > 0):
                raise Wrong("verify.cap", "the cap admits nothing")
        elif previous is None:
            raise Wrong("verify.cap", "a cap is taken away that there is not")
        if stated != previous:
            raise Wrong("verify.cap", "the cap does not follow the one before")

    def _activated(self, body: dict[str, Any]) -> None:
        keys(body, _ACTIVATED)
        dataset = self._dataset(body["dataset"])
        previous, dataset.bundle = dataset.bundle, digest(body["bundle"])
        if body["previous"] != previous:
            raise Wrong("verify.activation", "it does not follow the active policy")

    def _node_policy(self, body: dict[str, Any]) -> None:
        keys(body, frozenset({"bundle", "previous"}))
        previous, self._state.node_bundle = self._state.node_bundle, digest(body["bundle"])
        if body["previous"] != previous or body["bundle"] == previous:
            raise Wrong("verify.activation", "it does not follow the operator's policy")

    def _dataset(self, name: Any) -> DatasetState:
        dataset = self._state.datasets.get(name)
        if dataset is None:
            raise Wrong("verify.unknown_dataset", f"there is no dataset {name!r}")
        return dataset
