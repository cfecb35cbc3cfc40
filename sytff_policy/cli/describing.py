"""A dataset as a JSON document and as text: what a researcher may know of it, and its budgets."""

from __future__ import annotations

from typing import Any

from sytff_policy.home import Home
from sytff_policy.ledger import BudgetRecord, DatasetRecord
from sytff_policy.privacy import filter_name
from sytff_policy.rendering import budget_text


def dataset_document(node: Home, record: DatasetRecord) -> dict[str, Any]:
    """A dataset as JSON."""
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


def dataset_text(node: Home, record: DatasetRecord) -> str:
    """A dataset in a few lines."""
    features, label = node.assets(record)
    return "\n".join(
        [
            f"{record.name}: {record.population} people, version {record.version}",
            f"  {features.name} {record.description['feature_shape']}: train_data_id {features.id}",
            f"  {label.name}: label_data_id {label.id}",
            f"  filter {filter_name(record.filter)}; policy {record.bundle or 'none'}",
            *(_budget_line(record, budget) for budget in record.budgets),
        ]
    )


def _budget_line(record: DatasetRecord, budget: BudgetRecord) -> str:
    of = "" if budget.name == record.name else f" (budget of {budget.name})"
    return f"  {budget_text(budget.view())}{of}"
