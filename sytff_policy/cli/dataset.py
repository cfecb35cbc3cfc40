"""`sytff dataset register|list|show`."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from sytff_policy._model import parse
from sytff_policy.cli.common import HomeOption, JsonOption, err, opened, read_json, show
from sytff_policy.cli.planning import decimal_option, expected_workloads, planned_filter
from sytff_policy.client.domain import login_name
from sytff_policy.datasets import DatasetSchema, NumericFeature, schema_from_flags
from sytff_policy.errors import InvalidInput
from sytff_policy.home import Home, bundle_from
from sytff_policy.ledger import DatasetRecord
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
    epsilon: Annotated[str, typer.Option(help="Privacy budget: epsilon.")],
    delta: Annotated[str, typer.Option(help="Privacy budget: delta, below 1 / people.")],
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
        int | None, typer.Option(help="RDP order; planned from --expect if not given.")
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
    budget = decimal_option("--epsilon", epsilon), decimal_option("--delta", delta)
    bundle = bundle_from(policy) if policy is not None else template("starter")
    with opened(home) as node:
        record = node.register(
            name,
            data,
            declared,
            _filter_maker(filter_kind, *budget, order=order, requests=requests, expect=expect),
            policy=bundle,
            owner=login_name(),
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


def _filter_maker(
    kind: str,
    epsilon: Decimal,
    delta: Decimal,
    *,
    order: int | None,
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
            f"  {budget_text(record.budget())}",
        ]
    )
