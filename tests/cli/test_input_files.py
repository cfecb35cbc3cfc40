"""JSON that people and programs send: read strictly, refused with a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sytff_policy.cli.files import MAX_BYTES, MAX_DEPTH, new_folder, read_json, write_json
from sytff_policy.errors import InvalidInput
from tests.cli.command import Sytff
from tests.cli.conftest import REQUEST

GOOD = json.dumps(REQUEST).encode()
CHECK = ("request", "check", "request.json")


def test_a_request_may_come_from_standard_input(sytff: Sytff, node: Path) -> None:
    assert sytff("request", "check", "-", stdin=GOOD).code == 0


def test_a_byte_order_mark_is_skipped(sytff: Sytff, node: Path) -> None:
    assert sytff("request", "check", "-", stdin=b"\xef\xbb\xbf" + GOOD).code == 0


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is not JSON: Expecting value at line 1, column 1"),
        (b"{", "is not JSON"),
        (GOOD + b"{}", "is not JSON: Extra data"),
        (GOOD[:-1] + b",}", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b'"registry"', "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b"5", "is not a JSON object"),
        (GOOD.replace(b"1.0", b"NaN"), "NaN is not a number that JSON has"),
        (GOOD.replace(b"1.0", b"Infinity"), "Infinity is not a number that JSON has"),
        (GOOD.replace(b"1.0", b"-Infinity"), "-Infinity is not a number that JSON has"),
        (GOOD.replace(b"1.0", b"1e999"), "should be a finite number"),
        (GOOD.replace(b"10", b"9" * 101), "a number has more than 100 digits"),
        (GOOD.replace(b"10", b"9" * 100_000), "a number has more than 100 digits"),
        (GOOD.replace(b"1.0", b"9" * 99), "noise_multiplier"),
        (b'{"rounds": 1, "rounds": 2}', "the field 'rounds' stands twice in one object"),
        (b'{"rounds": 1, "rounds": 1}', "the field 'rounds' stands twice in one object"),
        (b'{"clipping": {"norm": 1, "norm": 2}}', "the field 'norm' stands twice"),
        (b'{"rounds": 1, "\\u0072ounds": 2}', "the field 'rounds' stands twice"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"a":' * 1000 + b"1" + b"}" * 1000, "is nested too deeply"),
        (b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH, "is nested too deeply"),
        (b"\xff\xfe{\x00}\x00", "is not UTF-8"),
        (GOOD.replace(b"registry", b"caf\xe9"), "is not UTF-8"),
        (GOOD[:-1] + b', "purpose": "\\ud800"}', "text that is not Unicode"),
        (GOOD[:-1] + b', "\\udfff": 1}', "text that is not Unicode"),
        (GOOD[:-1] + b', "purpose": "\x00"}', "is not JSON"),
        (b" " * (MAX_BYTES + 1), f"is too large (got 'request.json'); accepted: {MAX_BYTES} bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_strict_json_is_refused(
    content: bytes, expected: str, sytff: Sytff, node: Path
) -> None:
    Path("request.json").write_bytes(content)
    said = sytff.refused(*CHECK)
    assert expected in said
    assert "request.json" in said
    assert len(said) < 500
    assert "standard input" in sytff.refused("request", "check", "-", stdin=content)


def test_files_that_cannot_be_read(sytff: Sytff, node: Path) -> None:
    assert "FILE: no such file (got 'nowhere')" in sytff.refused("request", "check", "nowhere")
    assert "FILE: cannot be read: Is a directory" in sytff.refused("request", "check", ".")
    said = sytff.refused("request", "check", "registry.csv/request.json")
    assert "FILE: cannot be read: Not a directory" in said
    os.symlink("loop", "loop")
    assert "FILE: cannot be read" in sytff.refused("request", "check", "loop")
    assert "is too large" in sytff.refused("request", "check", "/dev/zero")
    assert "FILE" in sytff.refused("request", "check", "n" * 300)


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**50), 10**50)
    | st.floats(allow_nan=False).filter(lambda value: abs(value) < 1e300)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=documents)
def test_what_is_written_is_read_back(document: object, tmp_path: Path) -> None:
    file = tmp_path / "document.json"
    write_json(file, document)
    assert read_json(file) == document


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text('{}[]":,0123456789.eE-aN \n\\u').map(str.encode))
def test_no_bytes_escape_the_reader(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "document.json"
    file.write_bytes(content)
    try:
        document = read_json(file)
    except InvalidInput:
        return
    assert json.loads(json.dumps(document)) == document


def test_a_new_folder_leaves_no_trace_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "a" / "b", "--out"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(RuntimeError), new_folder(tmp_path / "mine", "--out"):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
