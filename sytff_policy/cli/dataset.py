"""`sytff dataset register|list|show`."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from sytff_policy._model import parse
from sytff_policy.cli.common import HomeOption, JsonOption, err, opened, read_json, show
from sytff_policy.cli.planning import decimal_option, expected_workloads, planned_filter
from sytff_policy.client.domain import login_name
from sytff_policy.datasets import DatasetSchema, NumericFeature, schema_from_flags
from sytff_policy.errors import InvalidInput
from sytff_policy.home import Home, bundle_from
from sytff_policy.ledger import BudgetRecord, DatasetRecord, Scope
from sytff_policy.policy import template
from sytff_policy.privacy import PrivacyFilter
from sytff_policy.rendering import budget_text

dataset_app = typer.Typer(help="Register datasets and look at them.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(dataset_app, name="dataset", rich_help_panel=None)


@dataset_app.command("register")
def register(
    name: Annotated[str, typer.Argument(help="What requests will call the dataset.")],
    data: Annotated[Path, typer.Option(help="CSV, Parquet or .npz file.")],
    epsilon: Annotated[str | None, typer.Option(help="Privacy budget: epsilon.")] = None,
    delta: Annotated[
        str | None, typer.Option(help="Privacy budget: delta, below 1 / people.")
    ] = None,
    share_budget_with: Annotated[
        list[str] | None,
        typer.Option(
            help="Dataset over the same people: requests on this one are charged to its budget. "
            "Repeatable; with --epsilon too, this one has a budget of its own besides."
        ),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="Column that says whose row it is: the privacy unit.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="Columns, with declared encodings: 'age:25..64,female,income~3.5/1.8,"
            "region:{north|south}'; for images 'images:[28x28]/255'."
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="What to predict: 'visited=docvis>0', 'digit:10', 'ill', 'cost:0..500'."),
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Schema as a JSON file, instead of the three flags.")
    ] = None,
    filter_kind: Annotated[
        str, typer.Option("--filter", help="How spending is added up: rdp, zcdp or sum.")
    ] = "rdp",
    order: Annotated[
        str | None, typer.Option(help="RDP order, such as 8 or 4.5; planned if not given.")
    ] = None,
    requests: Annotated[
        int, typer.Option(help="Requests that a sum filter shares delta over.")
    ] = 10,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            help="A workload you expect: rounds=100,clients_per_round=100,noise_multiplier=1. "
            "Repeatable. The filter is planned for it and fixed for good."
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="Folder of your Rego policy. Default: the starter policy."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a dataset with a privacy budget and a policy.

    Rows of one person (the privacy unit) are protected together. Encodings use what you declare
    here, never statistics of the rows. Budget, delta and filter are fixed: more can be granted,
    nothing taken back.
    """
    declared = _schema(schema, unit, features, label)
    shared = share_budget_with or []
    make = _maker(
        shared,
        filter_kind,
        epsilon,
        delta,
        order=order,
        requests=requests,
        expect=expect,
    )
    bundle = bundle_from(policy) if policy is not None else template("starter")
    with opened(home) as node:
        record = node.register(
            name,
            data,
            declared,
            make,
            policy=bundle,
            owner=login_name(),
            share_with=shared,
        )
        if policy is None:
            err.print("No --policy was given: the starter policy is active. See docs/policies.")
        for feature in declared.features:
            if isinstance(feature, NumericFeature) and feature.encoding.kind == "identity":
                err.print(
                    f"note: feature {feature.name} is used as it is; if its numbers are large, "
                    f"declare a range: {feature.name}:LOW..HIGH",
                    markup=False,
                )
        show(_document(node, record), as_json, _text(node, record))


@dataset_app.command("list")
def list_datasets(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the datasets and their budgets."""
    with opened(home) as node:
        records = node.ledger.datasets()
        text = "\n".join(
            f"{record.name}  {record.population} people\n  {budget_text(record.budget())}"
            for record in records
        )
        show(
            {"datasets": [_document(node, record) for record in records]},
            as_json,
            text or "no datasets; register one with `sytff dataset register`",
        )


@dataset_app.command("show")
def show_dataset(name: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what a researcher may know of a dataset, and its budget."""
    with opened(home) as node:
        record = node.ledger.dataset(name)
        show(_document(node, record), as_json, _text(node, record))


@dataset_app.command("update")
def update(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    data: Annotated[Path, typer.Option(help="CSV, Parquet or .npz file with the new rows.")],
    unit: Annotated[str | None, typer.Option(help="As in `register`.")] = None,
    features: Annotated[str | None, typer.Option(help="As in `register`.")] = None,
    label: Annotated[str | None, typer.Option(help="As in `register`.")] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Schema as a JSON file, instead of the three flags.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace a dataset's rows by a new version.

    The people keep what they have spent: budget, filter, caps and policy stay as they are.
    """
    declared = _schema(schema, unit, features, label)
    with opened(home) as node:
        record = node.update(name, data, declared, by=login_name())
        show(_document(node, record), as_json, _text(node, record))


@dataset_app.command("cap")
def cap(
    name: Annotated[str, typer.Argument(help="The dataset; its first budget is capped.")],
    epsilon: Annotated[
        str | None, typer.Option(help="The most that may be used, at the budget's delta.")
    ] = None,
    researcher: Annotated[
        str | None, typer.Option(help="Whom to cap; * caps everyone without a cap of their own.")
    ] = None,
    organization: Annotated[
        str | None, typer.Option(help="Which organization to cap, all its people together; or *.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the cap away.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cap what a researcher or an organization may use of a dataset's budget.

    What was used before counts. A cap gives nobody a right to that much: the budget may be used
    up by others before.
    """
    subjects = {"researcher": researcher, "organization": organization}
    chosen = [(scope, subject) for scope, subject in subjects.items() if subject]
    if len(chosen) != 1:
        raise InvalidInput("--researcher", "is needed, or --organization: one of both")
    if (epsilon is None) != remove:
        raise InvalidInput("--epsilon", "is needed, or --remove: one of both")
    amount = None if epsilon is None else decimal_option("--epsilon", epsilon)
    scope, subject = chosen[0]
    with opened(home) as node:
        node.ledger.cap(name, cast(Scope, scope), subject, amount, by=login_name())
        budget = node.ledger.dataset(name).budgets[0].name
        document = {"budget": budget, "scope": scope, "subject": subject, "epsilon": epsilon}
        what = "has no cap" if epsilon is None else f"may use epsilon {epsilon}"
        show(document, as_json, f"{scope} {subject} {what} of the budget of {budget}")


def _schema(
    file: Path | None, unit: str | None, features: str | None, label: str | None
) -> DatasetSchema:
    flags = {"--unit": unit, "--features": features, "--label": label}
    if file is not None:
        document = read_json(file)
        if isinstance(document, dict) and unit is not None:
            document.setdefault("unit", unit)
        if features is not None or label is not None:
            raise InvalidInput("--schema", "stands instead of --features and --label")
        return parse(DatasetSchema, document, where=str(file))
    missing = [flag for flag, value in flags.items() if value is None]
    if unit is None or features is None or label is None:
        raise InvalidInput(missing[0], "is needed", remedy="Or describe the columns by --schema.")
    return schema_from_flags(unit=unit, features=features, label=label)


def _maker(
    shared: list[str], kind: str, epsilon: str | None, delta: str | None, **options: Any
) -> Callable[[int], PrivacyFilter | None]:
    """Makes the dataset's own filter; None for one that only shares others' budgets."""
    if epsilon is None and delta is None and shared:
        return lambda population: None
    if epsilon is None or delta is None:
        raise InvalidInput(
            "--epsilon" if epsilon is None else "--delta",
            "is needed",
            remedy="Or give --share-budget-with NAME and neither of both.",
        )
    amount, chance = decimal_option("--epsilon", epsilon), decimal_option("--delta", delta)
    return _filter_maker(kind, amount, chance, **options)


def _filter_maker(
    kind: str,
    epsilon: Decimal,
    delta: Decimal,
    *,
    order: str | None,
    requests: int,
    expect: list[str] | None,
) -> Callable[[int], PrivacyFilter]:
    def make(population: int) -> PrivacyFilter:
        workloads = expected_workloads(expect, population)
        return planned_filter(kind, epsilon, delta, workloads, order=order, requests=requests)

    return make


def _document(node: Home, record: DatasetRecord) -> dict[str, Any]:
    features, label = node.assets(record)
    return {
        "name": record.name,
        "version": record.version,
        "population": record.population,
        "owner": record.owner,
        "schema": record.description,
        "assets": [
            {"name": asset.name, "role": asset.role, "id": asset.id} for asset in (features, label)
        ],
        "filter": record.filter.to_json(),
        "policy": record.bundle,
        "budget": record.budget().to_json(),
        "budgets": [
            {"name": budget.name, "filter": budget.filter.to_json(), **budget.view().to_json()}
            for budget in record.budgets
        ],
    }


def _text(node: Home, record: DatasetRecord) -> str:
    features, label = node.assets(record)
    parameters = "".join(f", {key} {value}" for key, value in record.filter.parameters().items())
    return "\n".join(
        [
            f"{record.name}: {record.population} people, version {record.version}",
            f"  {features.name} {record.description['feature_shape']}: train_data_id {features.id}",
            f"  {label.name}: label_data_id {label.id}",
            f"  filter {record.filter.kind}{parameters}; policy {record.bundle or 'none'}",
            *(_budget_line(record, budget) for budget in record.budgets),
        ]
    )


def _budget_line(record: DatasetRecord, budget: BudgetRecord) -> str:
    of = "" if budget.name == record.name else f" (budget of {budget.name})"
    return f"  {budget_text(budget.view())}{of}"
