"""`sytff dataset register|list|show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sytff_policy._model import parse
from sytff_policy.cli.common import (
    DatasetArgument,
    HomeOption,
    JsonOption,
    err,
    example,
    opened,
    plain,
    show,
)
from sytff_policy.cli.files import read_json
from sytff_policy.cli.planning import (
    Workload,
    check_filter_options,
    decimal_option,
    expected_workloads,
    filter_text,
    parse_workload,
    planned_filter,
    runs_that_fit,
    workload_text,
)
from sytff_policy.client.domain import login_name
from sytff_policy.datasets import DatasetSchema, NumericFeature, schema_from_flags
from sytff_policy.errors import InvalidInput
from sytff_policy.home import Home, bundle_from
from sytff_policy.ledger import DatasetRecord
from sytff_policy.policy import template
from sytff_policy.privacy import PrivacyFilter
from sytff_policy.rendering import budget_text

dataset_app = typer.Typer(help="Register datasets and look at them.")


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(dataset_app, name="dataset")


@dataset_app.command(
    "register",
    epilog=example(
        "sytff dataset register registry --data registry.csv --unit id \\",
        "  --features 'age:25..64,female,hhninc:0..10' --label 'visited=docvis>0' \\",
        "  --epsilon 8 --delta 1e-5 \\",
        "  --expect rounds=100,clients_per_round=1000,noise_multiplier=2",
    ),
)
def register(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What requests will call the dataset.")
    ],
    data: Annotated[Path, typer.Option(metavar="FILE", help="CSV, Parquet or .npz file.")],
    epsilon: Annotated[str, typer.Option(metavar="E", help="Privacy budget: epsilon.")],
    delta: Annotated[
        str, typer.Option(metavar="D", help="Privacy budget: delta, below 1 / people.")
    ],
    unit: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column that says whose row it is: the privacy unit."),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="Columns, with declared encodings: 'age:25..64,female,income~3.5/1.8,"
            "region:{north|south}'; for images 'images:[28x28]/255'.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL",
            help="What to predict: 'visited=docvis>0', 'digit:10', 'ill', 'cost:0..500'.",
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Schema as a JSON file (- reads standard input), instead of --features and "
            "--label.",
        ),
    ] = None,
    filter_kind: Annotated[
        str,
        typer.Option(
            "--filter", metavar="KIND", help="How spending is added up: rdp, zcdp or sum."
        ),
    ] = "rdp",
    order: Annotated[
        int | None, typer.Option(metavar="N", help="RDP order; planned from --expect if not given.")
    ] = None,
    requests: Annotated[
        int, typer.Option(metavar="N", help="Requests that a sum filter shares delta over.")
    ] = 10,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="A run you expect: rounds=100,clients_per_round=100,noise_multiplier=1, and "
            "evaluation_noise=5 if it is evaluated. Repeatable. The filter is planned for it and "
            "fixed for good.",
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of your Rego policy. Default: the starter policy."
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a dataset with a privacy budget and a policy.

    Rows of one person (the privacy unit) are protected together. Encodings use what you declare
    here, never statistics of the rows. Data, delta and filter are fixed: budget can be granted
    later, and never taken back.
    """
    declared = _schema(schema, unit, features, label)
    budget = decimal_option("--epsilon", epsilon), decimal_option("--delta", delta)
    check_filter_options(filter_kind, *budget, order=order, requests=requests)
    workloads = [parse_workload(text) for text in expect or []]
    bundle = bundle_from(policy) if policy is not None else template("starter")

    def make_filter(population: int) -> PrivacyFilter:
        return planned_filter(
            filter_kind,
            *budget,
            expected_workloads(workloads, population),
            order=order,
            requests=requests,
        )

    with opened(home) as node:
        record = node.register(name, data, declared, make_filter, policy=bundle, owner=login_name())
        for note in _notes(declared, starter=policy is None):
            err.print(plain(f"note: {note}"), markup=False)
        expected = _expected(record, workloads)
        document = {**_document(node, record), "expected": expected}
        show(document, as_json, "\n".join([_text(node, record), *map(_expected_text, expected)]))


@dataset_app.command("list", epilog=example("sytff dataset list --home node"))
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


@dataset_app.command("show", epilog=example("sytff dataset show registry --json"))
def show_dataset(
    name: DatasetArgument, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Show what a researcher may know of a dataset, and its budget."""
    with opened(home) as node:
        record = node.ledger.dataset(name)
        show(_document(node, record), as_json, _text(node, record))


def _schema(
    file: Path | None, unit: str | None, features: str | None, label: str | None
) -> DatasetSchema:
    if file is not None:
        return _schema_from_file(file, unit, features, label)
    for flag, value in (("--unit", unit), ("--features", features), ("--label", label)):
        if value is None:
            raise InvalidInput(flag, "is needed", remedy="Or describe the columns by --schema.")
    return schema_from_flags(unit=unit or "", features=features or "", label=label or "")


def _schema_from_file(
    file: Path, unit: str | None, features: str | None, label: str | None
) -> DatasetSchema:
    """The schema in a file. Flags beside it may repeat it, and must not contradict it."""
    document = read_json(file, "--schema")
    if isinstance(document, dict) and unit is not None:
        document.setdefault("unit", unit)
    schema = parse(DatasetSchema, document, where=str(file))
    stated = {
        "--unit": (unit, schema.unit),
        "--features": (features, ",".join(feature.name for feature in schema.features)),
        "--label": (label, schema.label.column),
    }
    for flag, (given, column) in stated.items():
        if given is not None and given != column:
            raise InvalidInput(
                flag,
                "is another than the schema's",
                value=given,
                limit=column,
                remedy="Beside --schema, name the same columns or leave it out.",
            )
    return schema


def _notes(declared: DatasetSchema, *, starter: bool) -> list[str]:
    notes = []
    if starter:
        notes.append(
            "no --policy was given, so the starter policy is in force; `sytff policy new DIR` "
            "makes one to tighten"
        )
    raw = [
        feature.name
        for feature in declared.features
        if isinstance(feature, NumericFeature) and feature.encoding.kind == "identity"
    ]
    if raw:
        notes.append(
            f"used as they are: {', '.join(raw)}; where numbers are large, declare their range "
            "as NAME:LOW..HIGH"
        )
    return notes


def _expected(record: DatasetRecord, workloads: list[Workload]) -> list[dict[str, Any]]:
    mechanisms = [workload.on(record.population) for workload in workloads]
    return [
        {"run": workload_text(mechanism), "admitted": runs_that_fit(record.filter, mechanism)}
        for mechanism in mechanisms
    ]


def _expected_text(item: dict[str, Any]) -> str:
    if not item["admitted"]:
        return f"  warning: not one run of {item['run']} fits this budget"
    runs = "1 run" if item["admitted"] == 1 else f"{item['admitted']} runs"
    return f"  holds {runs} of {item['run']}"


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
    return "\n".join(
        [
            f"{record.name}: {record.population} people, version {record.version}",
            f"  {features.name} {record.description['feature_shape']}: train_data_id {features.id}",
            f"  {label.name}: label_data_id {label.id}",
            f"  filter {filter_text(record.filter)}; policy {record.bundle or 'none'}",
            f"  {budget_text(record.budget())}",
        ]
    )
