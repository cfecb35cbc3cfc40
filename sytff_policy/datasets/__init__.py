"""Datasets: declared, checked, encoded, stored by unit."""

from sytff_policy.datasets.columnar import DatasetDamaged
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
from sytff_policy.datasets.store import DatasetStore
from sytff_policy.datasets.stored import Cohort, Manifest, StoredDataset

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
