"""A domain as a researcher sees it: datasets without their content, budgets, decisions."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sytff_policy._model import parse
from sytff_policy.decision import BudgetView, Decision
from sytff_policy.errors import NotFound
from sytff_policy.rendering import budget_text
from sytff_policy.request import Researcher, TrainRequest

if TYPE_CHECKING:
    from sytff_policy.home import Home
    from sytff_policy.ledger import DatasetRecord


@dataclass(frozen=True)
class AssetId:
    """An asset's id; `to_string()` is what requests carry."""

    value: str

    def to_string(self) -> str:
        return self.value

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, repr=False)
class AssetHandle:
    """A feature or label asset. It has a name, an id and a shape; it has no rows."""

    name: str
    id_at_location: AssetId
    description: dict[str, Any]

    def __repr__(self) -> str:
        return f"<Asset {self.name!r}: id {self.id_at_location}, {self.description}>"


class DatasetHandle:
    """A dataset: what its owner declared, its population and its budget.

    `dataset["images"]` is the asset of that name; `"features"` and `"labels"` always work.
    """

    def __init__(self, home: Home, name: str) -> None:
        self._home = home
        self.name = name

    @property
    def _record(self) -> DatasetRecord:
        return self._home.ledger.dataset(self.name)

    @property
    def population(self) -> int:
        """Number of people, N."""
        return self._record.population

    @property
    def version(self) -> str:
        return self._record.version

    @property
    def schema(self) -> dict[str, Any]:
        """The owner's declaration: features, encodings, label."""
        return dict(self._record.description)

    @property
    def budget(self) -> BudgetView:
        """The budget now."""
        return self._record.budget()

    @property
    def assets(self) -> tuple[AssetHandle, AssetHandle]:
        """The feature asset and the label asset."""
        record = self._record
        description = record.description
        features, label = self._home.assets(record)
        return (
            AssetHandle(
                features.name, AssetId(features.id), {"shape": description["feature_shape"]}
            ),
            AssetHandle(label.name, AssetId(label.id), description["label"]),
        )

    def __getitem__(self, name: str | int) -> AssetHandle:
        features, label = self.assets
        if isinstance(name, int):
            return (features, label)[name]
        known = {"features": features, "labels": label, "label": label}
        known |= {features.name: features, label.name: label}
        if name not in known:
            raise NotFound("asset", str(name), [features.name, label.name])
        return known[name]

    def __iter__(self) -> Iterator[AssetHandle]:
        return iter(self.assets)

    def __len__(self) -> int:
        return len(self.assets)

    def __repr__(self) -> str:
        features, label = self.assets
        return (
            f"<Dataset {self.name!r}: {self.population} people, assets {features.name!r} "
            f"{features.description['shape']} and {label.name!r}>\n  {budget_text(self.budget)}"
        )


class Datasets(Sequence[DatasetHandle]):
    """All datasets of a domain, by position or by name."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def _names(self) -> list[str]:
        return [record.name for record in self._home.ledger.datasets()]

    def __len__(self) -> int:
        return len(self._names())

    def __getitem__(self, key: Any) -> Any:
        names = self._names()
        if isinstance(key, slice):
            return [DatasetHandle(self._home, name) for name in names[key]]
        if isinstance(key, str):
            if key not in names:
                raise NotFound("dataset", key, names)
            return DatasetHandle(self._home, key)
        try:
            return DatasetHandle(self._home, names[key])
        except IndexError:
            raise IndexError(f"no dataset {key}: the domain has {len(names)}") from None

    def __contains__(self, key: object) -> bool:
        return key in self._names()

    def __iter__(self) -> Iterator[DatasetHandle]:
        return (DatasetHandle(self._home, name) for name in self._names())

    def __repr__(self) -> str:
        return "\n".join(repr(dataset) for dataset in self) or "<no datasets>"


class Domain:
    """An opened domain.

    Args:
      home: The node.
      researcher: Who asks. On one machine that is the operating-system user.
    """

    def __init__(self, home: Home, researcher: Researcher) -> None:
        self.home = home
        self.researcher = researcher

    @property
    def datasets(self) -> Datasets:
        """The domain's datasets."""
        return Datasets(self.home)

    dataset = datasets

    def check(self, request: TrainRequest) -> Decision:
        """What the answer to a request would be now; nothing is spent or recorded."""
        record = self.home.resolve(request)
        return self.home.gate.check(request, record.name, self.researcher)

    def close(self) -> None:
        """Closes the domain."""
        self.home.close()

    def __enter__(self) -> Domain:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Domain {self.home.folder} as {self.researcher.id!r}>\n{self.datasets!r}"


def open_domain(
    folder: str | os.PathLike[str], *, researcher: Researcher | str | None = None
) -> Domain:
    """Opens the node in a local folder.

    Args:
      folder: What `sytff init` made.
      researcher: Who asks; a name, or a `Researcher` with roles. Default: the user's login name.

    Raises:
      HomeError: If there is no node.
      InvalidInputs: If the name cannot be one.
    """
    from sytff_policy.home import Home

    if not isinstance(researcher, Researcher):
        name = login_name() if researcher is None else researcher
        researcher = parse(Researcher, {"id": name}, where="researcher")
    return Domain(Home(Path(folder)), researcher)


def login_name() -> str:
    """The operating-system user's name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"
