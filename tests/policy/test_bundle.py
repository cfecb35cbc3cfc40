"""Bundles: what they take, what they hash, and that they survive the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sytff_policy.errors import InvalidInput
from sytff_policy.policy import BundleRejected, load_bundle, make_bundle, template
from sytff_policy.policy.bundle import MAX_BUNDLE_BYTES, MAX_FILES, MAX_MODULE_BYTES, with_data

RULE = b'package sytff.dataset\n\ndeny contains {"code": "a.b", "message": "c"} if false\n'
TEST = b"package sytff.dataset_test\n\ntest_x if count(data.sytff.dataset.deny) == 0\n"
DATA = b'{"sytff": {"parameters": {"dataset": {"max": 5}}}}\n'
FILES = {"policy.rego": RULE, "policy_test.rego": TEST, "data.json": DATA}
GOLDEN = "sha256:6430573e7fcb1890fd8a1009a540a2a7326d222dfb3c45b786d33b52e1deb07a"


def problems(files: dict[str, bytes]) -> list[tuple[str, str]]:
    with pytest.raises(BundleRejected) as caught:
        make_bundle("sytff.dataset", files)
    return [(item.field, item.code) for item in caught.value.errors]


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def test_the_digest_of_known_files_never_changes() -> None:
    assert make_bundle("sytff.dataset", FILES).digest == GOLDEN


def test_the_digest_does_not_depend_on_the_order_of_files() -> None:
    backwards = dict(reversed(FILES.items()))
    assert list(backwards) != list(FILES)
    assert make_bundle("sytff.dataset", backwards).digest == GOLDEN


def test_the_digest_does_not_depend_on_the_folder_or_its_other_files(tmp_path: Path) -> None:
    other = {"README.md": b"hello", "notes.txt": b"", "a/picture.png": b"\x89"}
    for name in ("one", "two"):
        assert load_bundle(write(tmp_path / name, FILES | other)).digest == GOLDEN


def test_the_digest_depends_on_the_package() -> None:
    rules = {"policy.rego": RULE}
    digests = {make_bundle(f"sytff.{name}", rules).digest for name in ("node", "dataset")}
    assert len(digests) == 2


@pytest.mark.parametrize("path", FILES)
def test_the_digest_depends_on_every_byte(path: str) -> None:
    text = FILES[path]
    seen = {GOLDEN}
    # A space is a change that no parser sees.
    changed = [text[:place] + b" " + text[place:] for place in (0, len(text) - 1, len(text))]
    for content in changed:
        seen.add(make_bundle("sytff.dataset", FILES | {path: content}).digest)
    assert len(seen) == len(changed) + 1


@pytest.mark.parametrize("path", FILES)
def test_the_digest_depends_on_every_path(path: str) -> None:
    files = FILES | {"data.json": b"{}"}
    moved = {("sytff/" + name if name == path else name): text for name, text in files.items()}
    before, after = (make_bundle("sytff.dataset", which) for which in (files, moved))
    assert before.digest != after.digest


def test_the_digest_depends_on_which_files_there_are() -> None:
    without = {path: text for path, text in FILES.items() if path != "data.json"}
    emptied = without | {"data.json": b"{}"}
    digests = {make_bundle("sytff.dataset", files).digest for files in (FILES, without, emptied)}
    assert len(digests) == 3


def test_the_digest_depends_on_where_one_file_ends_and_another_begins() -> None:
    one = make_bundle("sytff.dataset", {"a.rego": RULE + TEST, "b.rego": b""})
    two = make_bundle("sytff.dataset", {"a.rego": RULE, "b.rego": TEST})
    assert one.digest != two.digest


NAMES = st.from_regex(r"[a-z][a-z_]{0,8}(/[a-z]{1,8})?\.rego", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary(max_size=40).filter(lambda b: b.isascii()), min_size=1))
def test_what_is_written_is_loaded_again(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folders = {path.partition("/")[0] for path in files if "/" in path}
    assume(not folders & set(files))  # one name cannot be a file and a folder
    bundle = make_bundle("sytff.dataset", files)
    folder = tmp_path_factory.mktemp("bundle")
    bundle.write(folder)
    again = load_bundle(folder)
    assert dict(again.files) == files
    assert again.digest == bundle.digest


def test_a_template_survives_the_disk(tmp_path: Path) -> None:
    starter = template("starter")
    starter.write(tmp_path)
    assert load_bundle(tmp_path) == starter


def test_modules_tests_and_data_are_told_apart() -> None:
    bundle = make_bundle("sytff.dataset", FILES | {"sub/more.rego": RULE, ".manifest": b"{}"})
    assert sorted(bundle.modules) == ["policy.rego", "sub/more.rego"]
    assert sorted(bundle.tests) == ["policy_test.rego"]
    assert bundle.data == {"sytff": {"parameters": {"dataset": {"max": 5}}}}


def test_a_manifest_is_kept_and_counts_for_the_digest(tmp_path: Path) -> None:
    loaded = load_bundle(write(tmp_path, FILES | {".manifest": b'{"revision": "7"}'}))
    assert loaded.files[".manifest"] == b'{"revision": "7"}'
    assert loaded.digest != GOLDEN


def test_what_a_bundle_holds_cannot_be_changed() -> None:
    files = dict(FILES)
    bundle = make_bundle("sytff.dataset", files)
    files["policy.rego"] = b""
    assert bundle.files["policy.rego"] == RULE
    with pytest.raises(TypeError):
        bundle.files["policy.rego"] = b""  # type: ignore[index]


def test_data_is_mounted_at_its_folder_and_merged() -> None:
    nested = {
        "data.json": b'{"sytff": {"parameters": {"dataset": {"a": 1}}}}',
        "sytff/parameters/data.json": b'{"dataset": {"b": 2}}',
        "sytff/parameters/dataset/data.json": b'{"c": 3}',
    }
    bundle = make_bundle("sytff.dataset", FILES | nested)
    assert bundle.data["sytff"]["parameters"]["dataset"] == {"a": 1, "b": 2, "c": 3}


def test_two_values_of_one_parameter_are_refused() -> None:
    second = {"sytff/parameters/dataset/data.json": b'{"max": 7}'}
    (place,) = second
    assert problems(FILES | second) == [(place, "policy.data")]
    same = {"sytff/parameters/dataset/data.json": b'{"max": 5}'}
    assert problems(FILES | same) == [(place, "policy.data")]


@pytest.mark.parametrize(
    ("path", "content", "code"),
    [
        ("data.json", '{"sytff": {"dataset": {"deny": []}}}', "policy.data_shadows_rule"),
        ("data.json", '{"sytff": {"dataset": {}}}', "policy.data_shadows_rule"),
        ("data.json", '{"sytff": {"node": {"deny": []}}}', "policy.data_shadows_rule"),
        ("data.json", '{"sytff": {"lib": {}}}', "policy.data_shadows_rule"),
        (
            "data.json",
            '{"sytff": {"parameters": {"node": {"max_rounds": 1}}}}',
            "policy.data_shadows_rule",
        ),
        ("data.json", '{"other": 1}', "policy.data_shadows_rule"),
        ("data.json", '{"": 1}', "policy.data_shadows_rule"),
        ("sytff/data.json", '{"dataset": {"deny": []}}', "policy.data_shadows_rule"),
        ("sytff/dataset/data.json", '{"deny": []}', "policy.data_shadows_rule"),
        ("sytff/dataset/deny/data.json", "{}", "policy.data_shadows_rule"),
        ("sytff/parameters/data.json", '{"node": {}}', "policy.data_shadows_rule"),
        ("a/b/data.json", '{"x": 1}', "policy.data_shadows_rule"),
        ("data.json", '{"sytff": 1}', "policy.data"),
        ("data.json", '{"sytff": {"parameters": []}}', "policy.data"),
        ("data.json", '{"sytff": {"parameters": {"dataset": null}}}', "policy.data"),
    ],
)
def test_data_that_could_shadow_a_rule_is_refused(path: str, content: str, code: str) -> None:
    files = {name: text for name, text in FILES.items() if name != "data.json"}
    assert problems(files | {path: content.encode()}) == [(path, code)]


def test_with_data_replaces_all_data() -> None:
    nested = make_bundle("sytff.dataset", FILES | {"sytff/parameters/dataset/data.json": b"{}"})
    changed = with_data(nested, {"sytff": {"parameters": {"dataset": {"max": 6}}}})
    assert changed.data == {"sytff": {"parameters": {"dataset": {"max": 6}}}}
    assert changed.modules == nested.modules


@pytest.mark.parametrize(
    "path",
    [
        "../policy.rego",
        "a/../../policy.rego",
        "a/../policy.rego",
        "/policy.rego",
        "//policy.rego",
        "./policy.rego",
        "a//policy.rego",
        "a/./policy.rego",
        "a\\policy.rego",
        "a\x00.rego",
        "a\n.rego",
        "a\x1b[31m.rego",
        "\ud800.rego",
        "x" * 300 + ".rego",
        "..",
        ".",
        "",
    ],
)
def test_a_path_that_is_not_plainly_inside_is_refused(path: str) -> None:
    ((place, code),) = problems(FILES | {path: RULE})
    assert code == "policy.path"
    place.encode()
    assert "\x1b" not in place


@pytest.mark.parametrize("path", ["notes.txt", "data.yaml", "data.yml", "x/.manifest", "a.json"])
def test_a_file_that_decides_nothing_is_refused(path: str) -> None:
    assert problems(FILES | {path: b"{}"}) == [(path, "policy.unknown_file")]


@pytest.mark.parametrize("name", ["data.yaml", "data.yml"])
def test_data_that_would_be_left_out_in_silence_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, FILES | {name: b"sytff: {}\n"})
    with pytest.raises(BundleRejected, match=r"data\.json"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"package x\n\xff", 2),
        (b"package x\n\n\xc3(", 3),
        (b"\xed\xa0\x80", 1),  # half a surrogate pair
        (b"\xef\xbb\xbfpackage x", 1),  # a byte order mark
        ("package x".encode("utf-16"), 1),
    ],
)
def test_a_module_that_is_not_plain_utf8_is_refused_with_its_line(
    content: bytes, line: int
) -> None:
    assert problems({"policy.rego": content}) == [(f"policy.rego:{line}", "policy.syntax")]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"", "data.json:1"),
        (b"{", "data.json:1"),
        (b'{\n"a": 1\n"b": 2}', "data.json:3"),
        (b"[1]", "data.json"),
        (b"null", "data.json"),
        (b'{"a": NaN}', "data.json"),
        (b'{"a": -Infinity}', "data.json"),
        (b'{"a": 1e999}', "data.json"),
        (b'{"a": ' + 5000 * b"9" + b"}", "data.json"),
        (b'{"a": 1, "a": 2}', "data.json"),
        (b'{"x": {"a": 1, "a": 1}}', "data.json"),
        (b'{"a": "\\ud800"}', "data.json"),
        (b'{"\\udc00": 1}', "data.json"),
        (b'{"a": ' + 100 * b"[" + 100 * b"]" + b"}", "data.json"),
        (b'{"a": ' + 100_000 * b"[", "data.json"),
        (b'\xef\xbb\xbf{"a": 1}', "data.json:1"),
        ('{"a": 1}'.encode("utf-16"), "data.json:1"),
        (b'{"a": "\xff"}', "data.json:1"),
        (b"// a comment\n{}", "data.json:1"),
    ],
    ids=range(19),
)
def test_data_that_is_not_one_plain_json_object_is_refused(content: bytes, place: str) -> None:
    assert problems(FILES | {"data.json": content}) == [(place, "policy.data")]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"rego_version": 0}'])
def test_a_manifest_that_is_not_for_this_is_refused(content: bytes) -> None:
    ((place, code),) = problems(FILES | {".manifest": content})
    assert (place.partition(":")[0], code) == (".manifest", "policy.manifest")


def test_a_bundle_without_rego_is_refused() -> None:
    for files in ({}, {"data.json": b"{}"}):
        assert problems(files) == [("bundle", "policy.empty")]


def test_a_file_that_is_too_large_is_refused() -> None:
    largest = RULE + b"#" * (MAX_MODULE_BYTES - len(RULE))
    make_bundle("sytff.dataset", {"policy.rego": largest})
    assert problems({"policy.rego": largest + b"#"}) == [("policy.rego", "policy.too_large")]


def test_a_bundle_that_is_too_large_is_refused() -> None:
    part = b"#" * MAX_MODULE_BYTES
    files = {f"{number}.rego": part for number in range(MAX_BUNDLE_BYTES // len(part))}
    make_bundle("sytff.dataset", files)
    assert problems(files | {"more.rego": b"#"}) == [("bundle", "policy.too_large")]


def test_a_bundle_of_too_many_files_is_refused() -> None:
    files = {f"{number}.rego": b"" for number in range(MAX_FILES)}
    make_bundle("sytff.dataset", files)
    assert problems(files | {"more.rego": b""}) == [("bundle", "policy.too_large")]


def test_a_folder_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    with (tmp_path / "huge.rego").open("wb") as file:
        file.truncate(2**40)  # sparse; nobody could read it
    with pytest.raises(BundleRejected) as caught:
        load_bundle(tmp_path)
    assert [item.code for item in caught.value.errors] == ["policy.too_large"]


def test_every_problem_of_the_files_is_named_at_once() -> None:
    files = {"a.rego": b"\xff", "b/data.json": b"{", "../c.rego": RULE}
    assert problems(files) == [
        ("../c.rego", "policy.path"),
        ("a.rego:1", "policy.syntax"),
        ("b/data.json:1", "policy.data"),
    ]


@pytest.mark.parametrize("name", ["link.rego", "README.md", "sub", ".manifest"])
def test_a_link_is_refused_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    outside = write(tmp_path / "outside", FILES)
    folder = write(tmp_path / "policy", FILES)
    target = outside if name == "sub" else outside / "policy.rego"
    (folder / name).symlink_to(target)
    with pytest.raises(BundleRejected) as caught:
        load_bundle(folder)
    assert [(item.field, item.code) for item in caught.value.errors] == [(name, "policy.link")]


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "data.json").unlink()
    (tmp_path / "data.json").symlink_to("nowhere")
    with pytest.raises(BundleRejected, match="is a link"):
        load_bundle(tmp_path)


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    os.mkfifo(tmp_path / "pipe.rego")
    assert load_bundle(tmp_path).digest == GOLDEN


def test_no_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="absent"):
        load_bundle(tmp_path / "absent")


def test_a_file_in_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "policy.rego").write_bytes(RULE)
    with pytest.raises(InvalidInput, match="no such folder"):
        load_bundle(tmp_path / "policy.rego")
