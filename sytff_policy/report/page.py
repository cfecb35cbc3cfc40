"""The report: one self-contained HTML page, made for printing."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import jinja2
from markupsafe import Markup

from sytff_policy import __version__
from sytff_policy.ledger.verify import Report
from sytff_policy.report.charts import Bar, bars, course
from sytff_policy.report.facts import BudgetFacts, Facts, Use
from sytff_policy.report.rows import UTC
from sytff_policy.report.selection import Selection

MAX_BARS = 15
MAX_FAULTS = 100
MAX_RELEASES = 2000


def render(
    facts: Facts,
    verification: Report,
    *,
    selection: Selection,
    trusted: bool,
    checkpoint: str = "",
    made_ns: int,
) -> str:
    """The page.

    Args:
      facts: What it shows.
      verification: Of the same entries.
      selection: What `facts` were selected by.
      trusted: Whether the verification used a public key that the reader brought.
      checkpoint: The signed checkpoint that the verification used, if any.
      made_ns: When the report is made, in nanoseconds of Unix time.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sytff_policy.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"when": _when, "epsilon": _epsilon, "digest": _digest}
    shown = verification.faults[:MAX_FAULTS]
    return environment.get_template("report.html.j2").render(
        facts=facts,
        report=verification,
        faults=shown,
        more_faults=len(verification.faults) - len(shown),
        selection="" if selection.everything else selection.describe(),
        trusted=trusted,
        checkpoint=checkpoint,
        made_ns=made_ns,
        version=__version__,
        decided=sum(facts.decisions.values()),
        budgets=[_budget(facts, budget) for _, budget in sorted(facts.budgets.items())],
        decisions=_counts(
            {
                name: facts.decisions[key]
                for key, name in (
                    ("allow", "allowed"),
                    ("review", "waiting for review"),
                    ("deny", "denied"),
                )
            },
            "Decisions by outcome",
            keep_order=True,
        ),
        codes=_counts(facts.codes, "Decisions by reason code"),
        failures=_counts(facts.faults, "Failures and faults by code"),
        releases=facts.releases[-MAX_RELEASES:],
        more_releases=max(0, len(facts.releases) - MAX_RELEASES),
    )


def _budget(facts: Facts, budget: BudgetFacts) -> dict[str, Any]:
    return {
        "name": budget.name,
        "facts": budget,
        "remaining": budget.filter.epsilon - budget.used_epsilon,
        "used_share": budget.share(budget.spent + budget.reserved),
        "parameters": ", ".join(f"{k} {v}" for k, v in budget.filter.parameters().items()),
        "datasets": [facts.datasets[name] for name in budget.datasets],
        "course": course(budget.points, title=f"Budget {budget.name} over time"),
        "researchers": _uses(budget, budget.researchers, "Spending by researcher"),
        "mechanisms": _uses(budget, budget.mechanisms, "Spending by mechanism"),
    }


def _uses(budget: BudgetFacts, uses: Mapping[str, Use], title: str) -> Markup | None:
    if not uses:
        return None
    ranked = sorted(uses.items(), key=lambda item: (-budget.share(item[1].loss), item[0]))
    items = [
        Bar(name, share, f"{_percent(share)} in {_number(use.runs, 'run')}")
        for name, use in ranked[:MAX_BARS]
        for share in (budget.share(use.loss),)
    ]
    rest = [use for _, use in ranked[MAX_BARS:]]
    if rest:
        share = sum(budget.share(use.loss) for use in rest)
        runs = sum(use.runs for use in rest)
        items.append(Bar(f"{len(rest)} others", share, f"{_percent(share)} in {runs} runs"))
    # Against the whole budget, so that a bar shows what it takes of it.
    return bars(items, title=title, longest=1.0)


def _counts(counts: Mapping[str, int], title: str, *, keep_order: bool = False) -> Markup | None:
    if not any(counts.values()):
        return None
    ranked = list(counts.items())
    if not keep_order:
        ranked.sort(key=lambda item: (-item[1], item[0]))
    return bars([Bar(name, count, f"{count:,}") for name, count in ranked], title=title)


def _percent(share: float) -> str:
    if 0 < share < 0.0005:
        return "<0.1%"
    return f"{share * 100:.1f}%"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _when(time_ns: int) -> str:
    if not time_ns:
        return "none"
    return f"{datetime.datetime.fromtimestamp(time_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}"


def _epsilon(value: Decimal) -> str:
    """To four decimals, rounded away from zero, as charges are."""
    text = f"{value.quantize(Decimal('0.0001'), rounding='ROUND_UP'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _digest(text: str) -> Markup:
    """A digest that may break at the end of a line."""
    return Markup("<wbr>").join(text[at : at + 16] for at in range(0, len(text), 16))
