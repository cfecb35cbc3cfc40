"""Datasets: declared, checked, encoded, stored by unit."""

from sytff_policy.datasets.flags import schema_from_flags
from sytff_policy.datasets.schema import (
    ArrayFeature,
    CategoricalFeature,
    ClassLabel,
    DatasetSchema,
    DerivedLabel,
    NumericFeature,
    ValueLabel,
)
from sytff_policy.datasets.store import (
    Cohort,
    DatasetDamaged,
    DatasetStore,
    Manifest,
    StoredDataset,
)

__all__ = [
    "ArrayFeature",
    "CategoricalFeature",
    "ClassLabel",
    "Cohort",
    "DatasetDamaged",
    "DatasetSchema",
    "DatasetStore",
    "DerivedLabel",
    "Manifest",
    "NumericFeature",
    "StoredDataset",
    "ValueLabel",
    "schema_from_flags",
]
