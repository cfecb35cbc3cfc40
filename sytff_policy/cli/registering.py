"""`sytff dataset register|update`: the commands that read rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from sytff_policy.cli.describing import dataset_document, dataset_text
from sytff_policy.cli.files import read_json
from sytff_policy.cli.planning import (
    Workload,
    check_filter_options,
    decimal_option,
    expected_workloads,
    order_option,
    parse_workload,
    planned_filter,
    workload_text,
)
from sytff_policy.client.domain import login_name
from sytff_policy.datasets import DatasetSchema, NumericFeature, schema_from_flags
from sytff_policy.errors import InvalidInput
from sytff_policy.home import bundle_from
from sytff_policy.ledger import DatasetRecord
from sytff_policy.policy import template
from sytff_policy.privacy import PrivacyFilter, runs_that_fit

MakeFilter = Callable[[int], PrivacyFilter | None]
"""A dataset's own filter from its population; None for one that only shares others' budgets."""

UnitOption = Annotated[
    str | None,
    typer.Option(
        "--unit", metavar="COLUMN", help="Column that says whose row it is: the privacy unit."
    ),
]
FeaturesOption = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="COLUMNS",
        help="Columns, with declared encodings: 'age:25..64,female,income~3.5/1.8,"
        "region:{north|south}'; for images 'images:[28x28]/255'.",
    ),
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        "--label",
        metavar="LABEL",
        help="What to predict: 'visited=docvis>0', 'digit:10', 'ill', 'cost:0..500'.",
    ),
]
SchemaOption = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        metavar="FILE",
        help="Schema as a JSON file (- reads standard input), instead of --features and --label.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(
        "register",
        epilog=example(
            "sytff dataset register registry --data registry.csv --unit id \\",
            "  --features 'age:25..64,female,hhninc:0..10' --label 'visited=docvis>0' \\",
            "  --epsilon 8 --delta 1e-5 \\",
            "  --expect rounds=100,clients_per_round=1000,noise_multiplier=2",
        ),
    )(register)
    app.command(
        "update",
        epilog=example(
            "sytff dataset update registry --data registry-2027.csv --unit id \\",
            "  --features 'age:25..64,female,hhninc:0..10' --label 'visited=docvis>0'",
        ),
    )(update)


def register(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What requests will call the dataset.")
    ],
    data: Annotated[Path, typer.Option(metavar="FILE", help="CSV, Parquet or .npz file.")],
    epsilon: Annotated[
        str | None, typer.Option(metavar="E", help="Privacy budget: epsilon.")
    ] = None,
    delta: Annotated[
        str | None, typer.Option(metavar="D", help="Privacy budget: delta, below 1 / people.")
    ] = None,
    share_budget_with: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Dataset over the same people: requests on this one are charged to its budget. "
            "Repeatable; with --epsilon too, this one has a budget of its own besides.",
        ),
    ] = None,
    unit: UnitOption = None,
    features: FeaturesOption = None,
    label: LabelOption = None,
    schema: SchemaOption = None,
    filter_kind: Annotated[
        str,
        typer.Option(
            "--filter", metavar="KIND", help="How spending is added up: rdp, zcdp or sum."
        ),
    ] = "rdp",
    order: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="RDP order, such as 8 or 4.5; planned from --expect if not given."
        ),
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
    shared = share_budget_with or []
    workloads = [parse_workload(text) for text in expect or []]
    make_filter = _filter_maker(
        filter_kind,
        epsilon,
        delta,
        workloads,
        order=order,
        requests=requests,
        sharing=bool(shared),
    )
    bundle = bundle_from(policy) if policy is not None else template("starter")
    with opened(home) as node:
        record = node.register(
            name,
            data,
            declared,
            make_filter,
            policy=bundle,
            owner=login_name(),
            share_with=shared,
        )
        for note in _notes(declared, starter=policy is None):
            err.print(plain(f"note: {note}"), markup=False)
        expected = _expected(record, workloads)
        document = {**dataset_document(node, record), "expected": expected}
        lines = [dataset_text(node, record), *map(_expected_text, expected)]
        show(document, as_json, "\n".join(lines))


def update(
    name: DatasetArgument,
    data: Annotated[
        Path, typer.Option(metavar="FILE", help="CSV, Parquet or .npz file with the new rows.")
    ],
    unit: UnitOption = None,
    features: FeaturesOption = None,
    label: LabelOption = None,
    schema: SchemaOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace a dataset's rows by a new version.

    The people keep what they have spent: budget, filter, caps and policy stay as they are.
    """
    declared = _schema(schema, unit, features, label)
    with opened(home) as node:
        record = node.update(name, data, declared, by=login_name())
        show(dataset_document(node, record), as_json, dataset_text(node, record))


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


def _filter_maker(
    kind: str,
    epsilon: str | None,
    delta: str | None,
    workloads: Sequence[Workload],
    *,
    order: str | None,
    requests: int,
    sharing: bool,
) -> MakeFilter:
    """Checks the options before any data is read."""
    if epsilon is None and delta is None and sharing:
        return lambda population: None
    if epsilon is None or delta is None:
        raise InvalidInput(
            "--epsilon" if epsilon is None else "--delta",
            "is needed",
            remedy="Or give --share-budget-with NAME and neither of both.",
        )
    budget = decimal_option("--epsilon", epsilon), decimal_option("--delta", delta)
    exact_order = order_option(order)
    check_filter_options(kind, *budget, order=exact_order, requests=requests)

    def make(population: int) -> PrivacyFilter:
        expected = expected_workloads(workloads, population)
        return planned_filter(kind, *budget, expected, order=exact_order, requests=requests)

    return make


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


def _expected(record: DatasetRecord, workloads: Sequence[Workload]) -> list[dict[str, Any]]:
    """How many of each expected run fit every budget that is charged for them."""
    mechanisms = [workload.on(record.population) for workload in workloads]
    return [
        {
            "run": workload_text(mechanism),
            "admitted": min(runs_that_fit(budget.filter, mechanism) for budget in record.budgets),
        }
        for mechanism in mechanisms
    ]


def _expected_text(item: dict[str, Any]) -> str:
    if not item["admitted"]:
        return f"  warning: not one run of {item['run']} fits this budget"
    runs = "1 run" if item["admitted"] == 1 else f"{item['admitted']} runs"
    return f"  holds {runs} of {item['run']}"
