"""Bundles: policies, their data and their tests, addressed by digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sytff_policy.canonical import canonical_bytes, digest, digest_bytes
from sytff_policy.errors import InvalidInput, InvalidInputs

NODE_PACKAGE = "sytff.node"
DATASET_PACKAGE = "sytff.dataset"
LIBRARY_PACKAGE = "sytff.lib"

MAX_MODULE_BYTES = 2**20
MAX_BUNDLE_BYTES = 5 * 2**20
MAX_FILES = 500


class BundleRejected(InvalidInputs):
    """A bundle that cannot be admitted; every failure with its file, line and remedy."""

    code = "policy.rejected"


def rejection(
    file: str, problem: str, *, code: str, line: int = 0, remedy: str = ""
) -> InvalidInput:
    """One failure of admission."""
    place = f"{file}:{line}" if line else file
    return InvalidInput(place, problem, remedy=remedy, code=code)


@dataclass(frozen=True)
class Bundle:
    """An immutable set of policy files.

    Attributes:
      package: `sytff.node` or `sytff.dataset`.
      files: Content by relative POSIX path.
      digest: Digest over every path and content.
    """

    package: str
    files: Mapping[str, bytes]
    digest: str

    @property
    def modules(self) -> dict[str, str]:
        """Rego modules without tests, by path."""
        return self._texts(lambda path: not path.endswith("_test.rego"))

    @property
    def tests(self) -> dict[str, str]:
        """Test modules, by path."""
        return self._texts(lambda path: path.endswith("_test.rego"))

    @property
    def data(self) -> dict[str, Any]:
        """The base document: all `data.json` files, each mounted at its folder's path."""
        merged: dict[str, Any] = {}
        for path, content in sorted(self.files.items()):
            if Path(path).name == "data.json":
                _mount(merged, list(Path(path).parent.parts), json.loads(content))
        return merged

    def _texts(self, wanted: Any) -> dict[str, str]:
        return {
            path: content.decode()
            for path, content in sorted(self.files.items())
            if path.endswith(".rego") and wanted(path)
        }

    def write(self, folder: Path) -> None:
        """Writes the files below `folder`."""
        for path, content in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def make_bundle(package: str, files: Mapping[str, bytes]) -> Bundle:
    """A bundle of in-memory files.

    Raises:
      BundleRejected: For sizes, encodings and data that cannot be a bundle's.
    """
    problems = []
    if len(files) > MAX_FILES or sum(map(len, files.values())) > MAX_BUNDLE_BYTES:
        problems.append(
            rejection(
                "bundle",
                f"is larger than {MAX_FILES} files or {MAX_BUNDLE_BYTES} bytes",
                code="policy.too_large",
            )
        )
    for path, content in files.items():
        problems += _check_file(path, content)
    if not any(path.endswith(".rego") for path in files):
        problems.append(
            rejection(
                "bundle",
                "holds no Rego file",
                code="policy.empty",
                remedy="Copy a template from policies/templates to start from.",
            )
        )
    if problems:
        raise BundleRejected(problems)
    hashes = {path: digest_bytes(content) for path, content in files.items()}
    return Bundle(package, dict(files), digest({"package": package, "files": hashes}))


def load_bundle(folder: Path, package: str = DATASET_PACKAGE) -> Bundle:
    """Reads the bundle in a folder: `*.rego`, `data.json` and `.manifest` files.

    Raises:
      BundleRejected: If there is none, or it holds links or too much.
    """
    if not folder.is_dir():
        raise InvalidInput("--policy", "no such folder", value=str(folder))
    files: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise BundleRejected(
                [rejection(relative, "is a link", code="policy.link", remedy="Copy the file.")]
            )
        if path.is_file() and (path.suffix == ".rego" or path.name in ("data.json", ".manifest")):
            files[relative] = path.read_bytes()
    return make_bundle(package, files)


def with_data(bundle: Bundle, data: Mapping[str, Any]) -> Bundle:
    """The bundle with another base document."""
    files = {path: c for path, c in bundle.files.items() if Path(path).name != "data.json"}
    return make_bundle(bundle.package, {**files, "data.json": canonical_bytes(dict(data))})


def _check_file(path: str, content: bytes) -> list[InvalidInput]:
    if len(content) > MAX_MODULE_BYTES:
        limit = f"is larger than {MAX_MODULE_BYTES} bytes"
        return [rejection(path, limit, code="policy.too_large")]
    if ".." in Path(path).parts or path.startswith("/"):
        return [rejection(path, "is not a path inside the bundle", code="policy.path")]
    if path.endswith(".rego"):
        try:
            content.decode()
        except UnicodeDecodeError:
            return [rejection(path, "is not UTF-8", code="policy.syntax")]
    if Path(path).name == "data.json":
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            return [rejection(path, "is not JSON", code="policy.data")]
        if not isinstance(document, dict):
            return [rejection(path, "is not a JSON object", code="policy.data")]
    return []


def _mount(target: dict[str, Any], path: list[str], value: dict[str, Any]) -> None:
    for part in path:
        target = target.setdefault(part, {})
    for key, item in value.items():
        if isinstance(item, dict) and isinstance(target.get(key), dict):
            _mount(target, [key], item)
        else:
            target[key] = item
