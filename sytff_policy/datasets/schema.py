"""What a data owner declares about a dataset: unit, features, label, and their encodings.

Encodings are functions of the declaration alone. A mean or a range that scaling needs is public
because the owner writes it down; it is never computed from the rows, which would release a
statistic outside the accounting.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sytff_policy._model import Document

ColumnName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Finite = Annotated[float, Field(ge=-1e30, le=1e30)]
CategoryText = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$")]
"""Cells are compared without surrounding space, and an empty cell is a missing value."""
CategoryValue = CategoryText | int

STANDARDIZED_BOUND = 10.0


class Identity(Document):
    """The number as it is."""

    kind: Literal["identity"] = "identity"


class Range(Document):
    """Scaled from [low, high] to [-1, 1], and clipped to it."""

    kind: Literal["range"] = "range"
    low: Finite
    high: Finite

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self


class Standardize(Document):
    """(x - mean) / stddev, clipped to +-10; both numbers declared, not computed."""

    kind: Literal["standardize"] = "standardize"
    mean: Finite
    stddev: float = Field(gt=0.0, le=1e30)


class NumericFeature(Document):
    """A numeric column; width 1."""

    kind: Literal["numeric"] = "numeric"
    name: ColumnName
    encoding: Annotated[Identity | Range | Standardize, Field(discriminator="kind")] = Identity()

    @property
    def width(self) -> int:
        return 1


class CategoricalFeature(Document):
    """A column of declared values, one-hot encoded; width is the number of values."""

    kind: Literal["categorical"] = "categorical"
    name: ColumnName
    values: tuple[CategoryValue, ...] = Field(min_length=2, max_length=10_000)
    unknown: Literal["error", "zero"] = "error"

    @model_validator(mode="after")
    def _values_differ(self) -> CategoricalFeature:
        if len({str(value) for value in self.values}) != len(self.values):
            raise ValueError(f"the values of {self.name!r} are not distinct")
        return self

    @property
    def width(self) -> int:
        return len(self.values)


class ArrayFeature(Document):
    """An array per row, such as an image: value * scale, in its declared shape."""

    kind: Literal["array"] = "array"
    name: ColumnName
    shape: tuple[Annotated[int, Field(ge=1, le=100_000)], ...] = Field(min_length=1, max_length=4)
    scale: float = Field(default=1.0, gt=0.0, le=1e9)

    @property
    def width(self) -> int:
        return math.prod(self.shape)


Feature = Annotated[NumericFeature | CategoricalFeature | ArrayFeature, Field(discriminator="kind")]


class ClassLabel(Document):
    """One of `classes` classes: integers 0..classes-1, or the declared values in order."""

    kind: Literal["class"] = "class"
    column: ColumnName
    name: ColumnName
    classes: int = Field(ge=2, le=100_000)
    values: tuple[CategoryValue, ...] | None = None

    @model_validator(mode="after")
    def _one_value_per_class(self) -> ClassLabel:
        if self.values is None:
            return self
        if not len({str(v) for v in self.values}) == len(self.values) == self.classes:
            raise ValueError(f"{self.classes} classes need {self.classes} distinct values")
        return self


class DerivedLabel(Document):
    """1 where the numeric column compares true with the threshold, else 0."""

    kind: Literal["derived"] = "derived"
    column: ColumnName
    name: ColumnName
    comparison: Literal[">", ">=", "<", "<=", "=="]
    threshold: Finite

    @property
    def classes(self) -> int:
        return 2


class ValueLabel(Document):
    """A number to predict, clipped to the declared [low, high]."""

    kind: Literal["value"] = "value"
    column: ColumnName
    name: ColumnName
    low: Finite
    high: Finite

    @model_validator(mode="after")
    def _is_a_range(self) -> ValueLabel:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self

    @property
    def classes(self) -> int:
        return 0


Label = Annotated[ClassLabel | DerivedLabel | ValueLabel, Field(discriminator="kind")]


class DatasetSchema(Document):
    """The declaration of a dataset.

    Attributes:
      unit: Column of the privacy-unit id: the person whose rows are protected together.
      features: Inputs of a model, in order. Arrays stand alone.
      label: What is to be predicted.
      tags: Free words for policies, such as `health`.
    """

    unit: ColumnName
    features: tuple[Feature, ...] = Field(max_length=10_000)
    label: Label
    tags: tuple[ColumnName, ...] = ()

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> DatasetSchema:
        if not self.features:
            raise ValueError("features: at least one feature is needed")
        names = [feature.name for feature in self.features]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"feature {twice[0]!r} is declared twice")
        if self.unit in names:
            raise ValueError(
                f"the unit column {self.unit!r} cannot be a feature: it is an identity"
            )
        if self.label.column in names:
            raise ValueError(f"the label column {self.label.column!r} cannot be a feature too")
        if self.label.column == self.unit:
            raise ValueError(f"the unit column {self.unit!r} cannot be the label")
        arrays = [feature.name for feature in self.features if isinstance(feature, ArrayFeature)]
        if arrays and len(self.features) > 1:
            raise ValueError(f"array feature {arrays[0]!r} must be the only feature")
        if self.label_asset in (self.feature_asset, "features"):
            raise ValueError(f"label name {self.label_asset!r} is the feature asset's: rename it")
        if self.feature_asset == "labels":
            raise ValueError("array feature 'labels' has the name of the label asset: rename it")
        return self

    @property
    def feature_asset(self) -> str:
        """Name of the feature asset: the array's, or `features`."""
        first = self.features[0]
        return first.name if isinstance(first, ArrayFeature) else "features"

    @property
    def label_asset(self) -> str:
        """Name of the label asset."""
        return self.label.name

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of one encoded example."""
        first = self.features[0]
        if isinstance(first, ArrayFeature):
            return first.shape
        return (sum(feature.width for feature in self.features),)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        return (self.unit, *(feature.name for feature in self.features), self.label.column)

    def public_description(self) -> dict[str, Any]:
        """What a researcher may see: the declaration, and nothing that was read."""
        return {
            "features": [feature.model_dump(mode="json") for feature in self.features],
            "label": self.label.model_dump(mode="json"),
            "feature_asset": self.feature_asset,
            "label_asset": self.label_asset,
            "feature_shape": list(self.feature_shape),
            "classes": self.label.classes,
            "unit": self.unit,
            "tags": list(self.tags),
        }
