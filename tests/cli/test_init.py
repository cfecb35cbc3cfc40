"""`sytff init`: a whole node, in a folder of its own."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.cli.command import Sytff


def test_a_new_node_says_what_comes_next(sytff: Sytff) -> None:
    result = sytff("init", "some/deep/folder")
    assert result.code == 0
    assert result.out.startswith("Made node-")
    assert "export SYTFF_HOME=some/deep/folder" in result.out
    assert sytff.json("dataset", "list", "--home", "some/deep/folder") == {"datasets": []}


def test_the_document_names_folder_and_node(sytff: Sytff) -> None:
    document = sytff.json("init", "node")
    assert set(document) == {"home", "node_id", "key"}
    assert sytff.json("keys", "show", "--home", "node") == {"keys": [document["key"]]}
    assert document["home"] == "node"
    genesis = sytff.json("ledger", "show", "0", "--home", "node")
    assert genesis["leaf"]["body"]["node_id"] == document["node_id"]


def test_the_folder_is_private(sytff: Sytff) -> None:
    sytff.json("init", "node")
    assert stat.S_IMODE(Path("node").stat().st_mode) == 0o700
    assert stat.S_IMODE(Path("node/secrets/dataset.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("by_option", [True, False])
def test_the_folder_may_come_from_home(
    by_option: bool, sytff: Sytff, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_option:
        assert sytff.json("init", "--home", "node")["home"] == "node"
    else:
        monkeypatch.setenv("SYTFF_HOME", "node")
        assert sytff.json("init")["home"] == "node"


def test_the_argument_wins_over_the_environment(
    sytff: Sytff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYTFF_HOME", "other")
    sytff.json("init", "node")
    assert not Path("other").exists()


def test_without_any_folder_it_asks_for_one(sytff: Sytff) -> None:
    assert "SYTFF_HOME" in sytff.refused("init")


def test_an_empty_folder_is_used(sytff: Sytff) -> None:
    Path("node").mkdir()
    assert sytff("init", "node").code == 0


def test_a_node_is_never_made_over_something(sytff: Sytff) -> None:
    sytff.json("init", "node")
    before = Path("node/node.json").read_bytes()
    assert "not an empty folder" in sytff.refused("init", "node")
    assert Path("node/node.json").read_bytes() == before
    Path("file").write_text("kept")
    assert "not an empty folder" in sytff.refused("init", "file")
    assert Path("file").read_text() == "kept"


@pytest.mark.parametrize("folder", ["file/node", "/proc/none/node", "n" * 300])
def test_a_folder_that_cannot_be_made(folder: str, sytff: Sytff) -> None:
    Path("file").write_text("")
    said = sytff.refused("init", folder)
    assert said.startswith("DIR: cannot be made: ")
    assert folder in said
