"""A node on disk, in one folder: what `sytff init` makes and everything else opens.

HOME/
  node.json     format, id, the operator's settings
  ledger.db     the ledger, unless node.json names a PostgreSQL database as `ledger`
  datasets/     stored versions
  bundles/      policies, by digest
  runs/         one folder per run: job, log, results
  secrets/      the key of dataset digests and hold-outs, the key that signs the log
  witness/      the last checkpoint of the log, unless node.json says another place
  ledger.keys   the public keys of the log
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from sytff_policy._model import parse
from sytff_policy.datasets import DatasetSchema, DatasetStore
from sytff_policy.errors import InvalidInput, NotFound, SytffError
from sytff_policy.fitting import check_fit, effective_loss
from sytff_policy.gate import Gate, new_run_id
from sytff_policy.ledger import DatasetRecord, Ledger
from sytff_policy.ledger.custody import Custody
from sytff_policy.ledger.view import LedgerView
from sytff_policy.policy import (
    Bundle,
    EmbeddedEngine,
    admit,
    load_bundle,
    node_bundle,
)
from sytff_policy.policy.bundle import DATASET_PACKAGE
from sytff_policy.privacy import PrivacyFilter
from sytff_policy.request import Researcher, TrainRequest
from sytff_policy.runs.job import TrainingJob
from sytff_policy.runs.pool import RunnerPool
from sytff_policy.runs.supervisor import (
    Limits,
    OnProgress,
    RunResult,
    claimed,
    recover,
    require_runtime,
    resume,
    supervise,
)
from sytff_policy.settings import FORMAT, HomeError, ledger_of, read_settings

DEFAULT_TIMEOUT_S = 5000.0
CHECKPOINT_SECONDS = 10.0
_PARTIAL = ".partial-"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")


class RequestDenied(SytffError):
    """A request that was denied, or waits for review. Nothing was trained or spent.

    Attributes:
      decision: The whole decision.
    """

    code = "request.denied"

    def __init__(self, decision: Any) -> None:
        from sytff_policy.rendering import decision_text

        self.decision = decision
        super().__init__(decision_text(decision))

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = self.decision.to_json()
        return document


@dataclass(frozen=True)
class Asset:
    """A dataset's feature or label asset.

    Attributes:
      name: Its name in the dataset.
      id: What requests call it.
      role: `features` or `label`.
    """

    name: str
    id: str
    role: str


class Home:
    """An opened node.

    Args:
      folder: Its folder.
      keep_runs: Runs whose owner is gone and that are to be resumed; all others are settled.
    """

    def __init__(self, folder: Path, *, keep_runs: frozenset[str] = frozenset()) -> None:
        settings = read_settings(folder)
        self.folder = folder
        self.node_id: str = settings["node_id"]
        self.custody = Custody.of(folder, settings)
        ledger = Ledger.open(ledger_of(folder, settings))
        try:
            # Before anything relies on the database: it must be the one that was witnessed.
            self.ledger, self.checkpoints = self.custody.open(ledger)
        except SytffError:
            ledger.close()
            raise
        self._node_parameters: dict[str, Any] = settings.get("node_policy", {})
        self.engine = EmbeddedEngine()
        self._bundles: dict[str, tuple[tuple[Any, ...], Bundle]] = {}
        try:
            recover(self.ledger, self.runs_dir, keep=keep_runs)
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, folder: Path, custody: dict[str, Any] | None = None) -> Home:
        """Makes a new node in `folder`, which must be empty or absent.

        Args:
          folder: Its folder.
          custody: `signer`, `witness` and `ledger` (a database's URL) as in node.json; what is
            not named lies in the folder.

        Raises:
          InvalidInput: If something is there already.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidInput(
                "DIR", "is not an empty folder", value=str(folder), remedy="Choose another."
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("datasets", "bundles", "runs", "secrets"):
            (folder / name).mkdir(mode=0o700)
        key = folder / "secrets" / "dataset.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(32))
        node_id = f"node-{uuid.uuid4()}"
        settings = {"format": FORMAT, "node_id": node_id, "node_policy": {}, **(custody or {})}
        held = Custody.of(folder, settings)
        held.make_key()
        Ledger.create(ledger_of(folder, settings), node_id).close()
        settings |= held.settings()
        # Last, so that a folder with settings is a whole node.
        (folder / "node.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return cls(folder)

    @staticmethod
    def view(folder: Path) -> LedgerView:
        """A node's ledger for reading alone: nothing is checked, settled or signed."""
        settings = read_settings(folder)
        return LedgerView(ledger_of(folder, settings), Custody.of(folder, settings))

    @staticmethod
    def upgrade(folder: Path) -> None:
        """Brings a node's ledger to the schema of this release; there is no way back."""
        settings = read_settings(folder)
        Ledger.create(ledger_of(folder, settings), settings["node_id"]).close()

    @property
    def runs_dir(self) -> Path:
        return self.folder / "runs"

    @cached_property
    def store(self) -> DatasetStore:
        """The stored datasets."""
        key = (self.folder / "secrets" / "dataset.key").read_bytes()
        return DatasetStore(self.folder / "datasets", key)

    @cached_property
    def node_bundle(self) -> Bundle:
        """The operator's policies, with this node's parameters."""
        return node_bundle(self._node_parameters)

    @cached_property
    def gate(self) -> Gate:
        """The gate of this node."""
        return Gate(self.ledger, self.engine, self.node_bundle, self.bundle)

    def close(self) -> None:
        """Ends the policy engine and closes the ledger."""
        self.engine.close()
        self.ledger.close()

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def bundle(self, digest: str) -> Bundle:
        """A stored bundle; refused if it is not what its digest says."""
        folder = self.folder / "bundles" / digest.removeprefix("sha256:")
        seen = _fingerprint(folder)
        kept = self._bundles.get(digest)
        if kept is not None and kept[0] == seen:
            return kept[1]
        bundle = load_bundle(folder, DATASET_PACKAGE)
        if bundle.digest != digest:
            raise HomeError(f"the stored bundle {digest} was altered; every request is refused")
        self._bundles[digest] = (seen, bundle)
        return bundle

    def admit_bundle(self, bundle: Bundle) -> str:
        """Admits a bundle and stores it; returns its digest.

        Raises:
          BundleRejected: If it does not pass admission. Nothing is stored.
        """
        admit(bundle, self.engine, self.node_bundle)
        with self._as_owner():
            target = self.folder / "bundles" / bundle.digest.removeprefix("sha256:")
            if not target.is_dir():
                partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=_PARTIAL))
                bundle.write(partial)
                partial.rename(target)
        return bundle.digest

    def register(
        self,
        name: str,
        data: Path,
        schema: DatasetSchema,
        make_filter: Any,
        *,
        policy: Bundle | None,
        owner: str,
        share_with: Sequence[str] = (),
    ) -> DatasetRecord:
        """Registers a dataset: policy, data and budget, all or nothing.

        Args:
          name: Name of the dataset.
          data: CSV, Parquet or npz file.
          schema: Its declaration.
          make_filter: Called with the population; returns the privacy filter, or None if the
            dataset has no budget of its own.
          policy: The owner's policy; without one every request is denied.
          owner: Who registers.
          share_with: Datasets over the same people, whose budgets are charged for this one too.
        """
        _checked_name(name)
        bundle = self.admit_bundle(policy) if policy is not None else None
        with self._as_owner():
            if any(record.name == name for record in self.ledger.datasets()):
                raise InvalidInput(
                    "NAME", "a dataset of this name exists", value=name, code="dataset.exists"
                )
            manifest = self.store.add(data, schema)
            privacy_filter: PrivacyFilter | None = make_filter(manifest.population)
            self.ledger.register(
                name=name,
                version=manifest.version,
                population=manifest.population,
                owner=owner,
                description=schema.public_description(),
                privacy_filter=privacy_filter,
                bundle=bundle,
                share_with=share_with,
            )
        return self.ledger.dataset(name)

    def update(self, name: str, data: Path, schema: DatasetSchema, *, by: str) -> DatasetRecord:
        """Replaces a dataset's rows by a new version; its people keep what they have spent.

        Raises:
          InvalidInput: If these rows were registered before, as any dataset.
        """
        self.ledger.dataset(name)
        with self._as_owner():
            manifest = self.store.add(data, schema)
            self.ledger.new_version(
                name,
                version=manifest.version,
                population=manifest.population,
                description=schema.public_description(),
                by=by,
            )
        return self.ledger.dataset(name)

    @contextlib.contextmanager
    def _as_owner(self) -> Iterator[None]:
        """One change of datasets and bundles at a time.

        Rows that no entry of the ledger names are of a registration that failed or was killed;
        they are removed when the change fails, and before the next one.
        """
        descriptor = os.open(self.folder / ".owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._remove_unregistered()
            try:
                yield
            except BaseException:
                self._remove_unregistered()
                raise
        finally:
            os.close(descriptor)

    def _remove_unregistered(self) -> None:
        registered = self.ledger.versions()
        for version in self.store.versions():
            if version not in registered:
                self.store.discard(version)
        for leftover in (self.folder / "bundles").glob(f"{_PARTIAL}*"):
            shutil.rmtree(leftover)

    def activate(self, name: str, policy: Bundle, *, by: str) -> str:
        """Admits a bundle and makes it the dataset's policy."""
        digest = self.admit_bundle(policy)
        self.ledger.activate(name, digest, revision="", by=by)
        return digest

    def grant(self, name: str, amount: Decimal, *, by: str) -> None:
        """Adds to a dataset's budget."""
        if not (amount.is_finite() and amount > 0):
            raise InvalidInput("--epsilon", "must be above 0", value=amount)
        self.ledger.grant(name, amount, by=by)

    def assets(self, record: DatasetRecord) -> tuple[Asset, Asset]:
        """The feature asset and the label asset."""
        description = record.description
        return (
            _asset(record, description["feature_asset"], "features"),
            _asset(record, description["label_asset"], "label"),
        )

    def resolve(self, request: TrainRequest) -> DatasetRecord:
        """The dataset that a request names, after checking that the request fits it.

        Raises:
          NotFound: If no dataset has these assets.
          InvalidInput: If model, loss and dataset do not fit together.
        """
        for record in self.ledger.datasets():
            features, label = self.assets(record)
            if request.train_data_id == features.id:
                if request.label_data_id != label.id:
                    raise InvalidInput(
                        "label_data_id",
                        f"is not the label of dataset {record.name!r}",
                        value=request.label_data_id,
                        limit=label.id,
                    )
                check_fit(request, record)
                return record
        raise NotFound("asset", request.train_data_id)

    def submit(
        self,
        request: TrainRequest,
        researcher: Researcher,
        *,
        timeout: float = DEFAULT_TIMEOUT_S,
        memory_limit: int | None = None,
        attempts: int = 1,
        pool: RunnerPool | None = None,
        on_progress: OnProgress | None = None,
        on_decision: Any = None,
    ) -> RunResult:
        """Decides a request and, if it is allowed, trains.

        Args:
          request: The request.
          researcher: Who asks, as authenticated.
          timeout: Seconds for the run.
          memory_limit: Bytes for the run's processes together; None: no limit.
          attempts: Runner processes for the run; see `runs.supervisor.Limits`.
          pool: Warm runners to use.
          on_progress: Called after every round.
          on_decision: Called with the decision.

        Raises:
          RequestDenied: If it is denied or waits for review.
          RunFailed: If training ends without a result.
        """
        if request.model is None:
            raise InvalidInput("model", "is needed to train", remedy="Give a model_fn.")
        if not timeout > 0:
            raise InvalidInput("timeout", "must be above 0 seconds", value=timeout)
        require_runtime()
        record = self.resolve(request)
        # The rows stay closed until the reservation stands. If they cannot be read, the runner
        # finds out before any round starts, and the settlement costs nothing.
        run_id = new_run_id()
        # Claimed before the reservation can be seen, so that whoever looks for runs without an
        # owner never takes this one for abandoned.
        with claimed(self.runs_dir.resolve(), run_id) as folder:
            admission = self.gate.admit(request, record.name, researcher, run_id=run_id)
            if on_decision is not None:
                on_decision(admission.decision)
            if admission.run_id is None:
                raise RequestDenied(admission.decision)
            job = self._job(run_id, request, record)
            return supervise(
                self.ledger,
                job,
                folder,
                limits=Limits(timeout, memory_limit, attempts),
                on_progress=on_progress,
                pool=pool,
            )

    def resume(
        self,
        run_id: str,
        *,
        timeout: float = DEFAULT_TIMEOUT_S,
        on_progress: OnProgress | None = None,
        pool: RunnerPool | None = None,
    ) -> RunResult:
        """Goes on with a run that `keep_runs` kept; see `runs.supervisor.resume`."""
        require_runtime()
        return resume(
            self.ledger,
            self.runs_dir.resolve(),
            run_id,
            limits=Limits(timeout),
            on_progress=on_progress,
            pool=pool,
        )

    def _job(self, run_id: str, request: TrainRequest, record: DatasetRecord) -> TrainingJob:
        if request.model is None:
            raise AssertionError("admitted to train without a model")
        return TrainingJob(
            run_id=run_id,
            dataset_path=str(self.store.folder(record.version).resolve()),
            dataset_version=record.version,
            population=record.population,
            rounds=request.rounds,
            clients_per_round=request.clients_per_round,
            noise_multiplier=request.noise_multiplier,
            clipping=request.clipping,
            client_optimizer=request.client_optimizer,
            server_optimizer=request.server_optimizer,
            batch_size=request.batch_size,
            local_epochs=request.local_epochs,
            loss=effective_loss(request, record),
            model=request.model,
            evaluation=request.evaluation,
            checkpoint_seconds=CHECKPOINT_SECONDS,
        )


def parse_request(home: Home, document: Any, *, where: str = "") -> TrainRequest:
    """A request from decoded JSON; `dataset: NAME` may stand for the two asset ids."""
    if not isinstance(document, dict):
        raise InvalidInput(where or "request", "is not a JSON object")
    document = dict(document)
    if "dataset" in document:
        name = document.pop("dataset")
        if not isinstance(name, str):
            raise InvalidInput("dataset", "is not a dataset's name", value=name)
        features, label = home.assets(home.ledger.dataset(name))
        for field, asset in (("train_data_id", features), ("label_data_id", label)):
            if document.setdefault(field, asset.id) != asset.id:
                raise InvalidInput(
                    field,
                    f"is not of dataset {name!r}",
                    value=document[field],
                    limit=asset.id,
                    remedy="Give the dataset's name, or the two ids, not both.",
                )
    return parse(TrainRequest, document, where=where)


def bundle_from(folder: Path) -> Bundle:
    """An owner's bundle from a folder."""
    return load_bundle(folder, DATASET_PACKAGE)


def _fingerprint(folder: Path) -> tuple[Any, ...]:
    """Changes when a file below `folder` does; a bundle's content is then read and hashed again.

    What is kept in memory is always the content that the digest names, so a change that hides
    from this is not enforced and not noticed, rather than enforced.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found.append((str(path), status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _checked_name(name: str) -> None:
    if not _NAME.match(name):
        raise InvalidInput(
            "NAME",
            "is not a dataset name",
            value=name,
            limit="1 to 100 letters, digits, '.', '_' and '-', starting with a letter or digit",
        )


def _asset(record: DatasetRecord, name: str, role: str) -> Asset:
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"sytff:{record.version}:{role}")
    return Asset(name, identity.hex, role)


__all__ = [
    "DEFAULT_TIMEOUT_S",
    "Asset",
    "Home",
    "HomeError",
    "RequestDenied",
    "bundle_from",
    "effective_loss",
    "parse_request",
]
