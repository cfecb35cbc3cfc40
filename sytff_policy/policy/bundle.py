"""Bundles: policies, their data and their tests, addressed by digest."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from sytff_policy.canonical import canonical_bytes, digest, digest_bytes
from sytff_policy.errors import InvalidInput, InvalidInputs
from sytff_policy.policy import _json

NODE_PACKAGE = "sytff.node"
DATASET_PACKAGE = "sytff.dataset"
LIBRARY_PACKAGE = "sytff.lib"

MAX_MODULE_BYTES = 256 * 2**10
MAX_BUNDLE_BYTES = 2**20
MAX_FILES = 500
MAX_PATH = 200

_PATH = re.compile(r"[^\x00-\x1f\x7f\\\ud800-\udfff]+")
_BOM = b"\xef\xbb\xbf"


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
      digest: Digest over the package and every path and content.
    """

    package: str
    files: Mapping[str, bytes]
    digest: str

    @property
    def modules(self) -> dict[str, str]:
        """Rego modules without tests, by path."""
        return {p: text for p, text in self._rego() if not p.endswith("_test.rego")}

    @property
    def tests(self) -> dict[str, str]:
        """Test modules, by path."""
        return {p: text for p, text in self._rego() if p.endswith("_test.rego")}

    @property
    def documents(self) -> dict[str, Any]:
        """The base documents by path, each below its folder's keys."""
        return {p: _json.loads(text) for p, text in _mounted(self.files)}

    @property
    def data(self) -> dict[str, Any]:
        """The base document: all base documents together."""
        merged: dict[str, Any] = {}
        for document in self.documents.values():
            _merge(merged, document)
        return merged

    @property
    def data_texts(self) -> list[str]:
        """The base documents as JSON texts, in which numbers are still as they were written."""
        return [text for _, text in _mounted(self.files)]

    def _rego(self) -> list[tuple[str, str]]:
        return [(p, c.decode()) for p, c in sorted(self.files.items()) if p.endswith(".rego")]

    def write(self, folder: Path) -> None:
        """Writes the files below `folder`."""
        for path, content in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def make_bundle(package: str, files: Mapping[str, bytes]) -> Bundle:
    """A bundle of in-memory files.

    Raises:
      BundleRejected: For names, sizes, encodings and data that cannot be a bundle's.
    """
    problems = [
        *_size_problems(len(files), sum(map(len, files.values()))),
        *(problem for path in sorted(files) for problem in _file_problems(path, files[path])),
    ]
    if not any(path.endswith(".rego") for path in files):
        problems.append(
            rejection(
                "bundle",
                "holds no Rego file",
                code="policy.empty",
                remedy="Copy a template from policies/templates to start from.",
            )
        )
    if not problems:
        problems += [*_overlaps(files), *_strangers(package, files)]
    if problems:
        raise BundleRejected(problems)
    hashes = {path: digest_bytes(content) for path, content in files.items()}
    frozen = MappingProxyType(dict(files))
    return Bundle(package, frozen, digest({"package": package, "files": hashes}))


def load_bundle(folder: Path, package: str = DATASET_PACKAGE) -> Bundle:
    """Reads the bundle in a folder: `*.rego`, `data.json` and `.manifest` files.

    Raises:
      BundleRejected: If there is none, or it holds links or too much.
    """
    if not folder.is_dir():
        raise InvalidInput("--policy", "no such folder", value=str(folder))
    found: dict[str, Path] = {}
    size = 0
    for path in _walk(folder):
        relative = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise BundleRejected(
                [rejection(relative, "is a link", code="policy.link", remedy="Copy the file.")]
            )
        if path.is_file() and _belongs(path.name):
            found[relative] = path
            size += path.stat().st_size
            # Before anything is read: the sizes of a stranger's folder are a stranger's choice.
            problems = list(_size_problems(len(found), size))
            if problems:
                raise BundleRejected(problems)
    return make_bundle(package, {relative: _read(path) for relative, path in found.items()})


def _walk(folder: Path) -> Iterator[Path]:
    """Everything below a folder, links not followed."""

    def refuse(error: OSError) -> None:
        # Passed over in silence, its rules would be missing.
        raise _unreadable(Path(error.filename), error)

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders.sort()
        for name in sorted([*folders, *files]):
            yield Path(parent) / name


def with_data(bundle: Bundle, data: Mapping[str, Any]) -> Bundle:
    """The bundle with another base document."""
    files = {path: c for path, c in bundle.files.items() if not _is_data(path)}
    return make_bundle(bundle.package, {**files, "data.json": canonical_bytes(dict(data))})


def _belongs(name: str) -> bool:
    # YAML data is taken along to be refused: left out in silence, a limit would be missing.
    return name.endswith(".rego") or name in ("data.json", "data.yaml", "data.yml", ".manifest")


def _is_data(path: str) -> bool:
    return PurePosixPath(path).name == "data.json"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> BundleRejected:
    problem = f"cannot be read: {error.strerror}"
    remedy = "Check its permissions."
    return BundleRejected([rejection(path.name, problem, code="policy.unreadable", remedy=remedy)])


def _size_problems(count: int, size: int) -> Iterator[InvalidInput]:
    if count > MAX_FILES or size > MAX_BUNDLE_BYTES:
        yield rejection(
            "bundle",
            f"is larger than {MAX_FILES} files or {MAX_BUNDLE_BYTES} bytes",
            code="policy.too_large",
            remedy="A policy decides by rules and a few parameters; keep other files elsewhere.",
        )


def _file_problems(path: str, content: bytes) -> Iterator[InvalidInput]:
    if not _is_inside(path):
        yield rejection(
            repr(path)[1:-1][:MAX_PATH],
            "is not a path inside the bundle",
            code="policy.path",
            remedy="Use relative paths of printable characters, without `.` and `..`.",
        )
    elif len(content) > MAX_MODULE_BYTES:
        yield rejection(
            path,
            f"is larger than {MAX_MODULE_BYTES} bytes",
            code="policy.too_large",
            remedy="Split it.",
        )
    elif path.endswith(".rego"):
        yield from _text_problems(path, content, "policy.syntax")
    elif PurePosixPath(path).name == "data.json":
        yield from _json_problems(path, content, "policy.data")
    elif path == ".manifest":
        yield from _json_problems(path, content, "policy.manifest")
    else:
        yield rejection(
            path,
            "does not belong in a bundle",
            code="policy.unknown_file",
            remedy="A bundle has *.rego files, data.json files and one .manifest at its top.",
        )


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    plain = str(PurePosixPath(path)) == path and ".." not in parts and path != "."
    return bool(
        plain and not path.startswith("/") and len(path) <= MAX_PATH and _PATH.fullmatch(path)
    )


def _text_problems(path: str, content: bytes, code: str) -> Iterator[InvalidInput]:
    if content.startswith(_BOM):
        yield rejection(
            path,
            "starts with a byte order mark",
            code=code,
            line=1,
            remedy="Save it as UTF-8 without one.",
        )
        return
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        yield rejection(path, "is not UTF-8", code=code, line=line, remedy="Save it as UTF-8.")


def _json_problems(path: str, content: bytes, code: str) -> Iterator[InvalidInput]:
    problems = list(_text_problems(path, content, code))
    if problems:
        yield from problems
        return
    try:
        document = _json.loads(content.decode())
    except _json.NotJson as error:
        yield rejection(path, f"is not JSON: {error}", code=code, line=error.line)
        return
    if not isinstance(document, dict):
        yield rejection(
            path, "is not a JSON object", code=code, remedy='Begin with `{"sytff": ...`.'
        )
    elif path == ".manifest" and document.get("rego_version", 1) != 1:
        yield rejection(
            path,
            f"asks for Rego version {document['rego_version']}",
            code=code,
            remedy="Write the policy in Rego v1.",
        )


def _mounted(files: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """Path and text of each base document, wrapped in the keys that its folder stands for."""
    for path, content in sorted(files.items()):
        if _is_data(path):
            folders = PurePosixPath(path).parent.parts
            opening = "".join(f"{{{_json.dumps(folder)}:" for folder in folders)
            yield path, f"{opening}{content.decode()}{'}' * len(folders)}"


def _overlaps(files: Mapping[str, bytes]) -> list[InvalidInput]:
    merged: dict[str, Any] = {}
    found = []
    for path, text in _mounted(files):
        try:
            _merge(merged, _json.loads(text))
        except _Overlap as overlap:
            found.append(
                rejection(
                    path,
                    f"gives data.{overlap} a second value",
                    code="policy.data",
                    remedy="Write each parameter in one place.",
                )
            )
    return found


def _strangers(package: str, files: Mapping[str, bytes]) -> Iterator[InvalidInput]:
    """Data beside the bundle's parameters: base data at a rule's path hides the rule."""
    wanted = ["sytff", "parameters", package.rpartition(".")[2]]
    for path, text in _mounted(files):
        level = _json.loads(text)
        for depth, part in enumerate(wanted):
            for key in sorted(level.keys() - {part}):
                yield rejection(
                    path,
                    f"holds data.{'.'.join([*wanted[:depth], key])}, which can shadow a rule",
                    code="policy.data_shadows_rule",
                    remedy=f"Put parameters under {'.'.join(wanted)}.",
                )
            level = level.get(part, {})
            if not isinstance(level, dict):
                yield rejection(
                    path,
                    f"{'.'.join(wanted[: depth + 1])} is not an object",
                    code="policy.data",
                    remedy=f"Put parameters under {'.'.join(wanted)}.",
                )
                break


class _Overlap(ValueError):
    """A key that two base documents give a value."""


def _merge(target: dict[str, Any], value: dict[str, Any]) -> None:
    for key, item in value.items():
        if key not in target:
            target[key] = item
        elif isinstance(item, dict) and isinstance(target[key], dict):
            try:
                _merge(target[key], item)
            except _Overlap as overlap:
                raise _Overlap(f"{key}.{overlap}") from None
        else:
            raise _Overlap(key)
