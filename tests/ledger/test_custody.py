"""Rotation of a node's key, stopped at every moment; and who may sign afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.home import Home
from sytff_policy.ledger import custody as custody_module
from sytff_policy.ledger.checkpoints import Checkpoints
from sytff_policy.ledger.custody import Custody
from sytff_policy.ledger.keys import FileSigner, KeyUnavailable
from tests.support import make_home


class Stopped(BaseException):
    """The process ends here."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_home(tmp_path).close()
    return tmp_path / "node"


def settings(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "node.json").read_text())
    return document


def rotate(folder: Path, address: str | None = None) -> None:
    with Home(folder) as node:
        node.custody.rotate(node.checkpoints, address)


def works(folder: Path) -> list[str]:
    """Opens the node, writes, and verifies; returns its keys."""
    with Home(folder) as node:
        node.checkpoints.record()
        keys = [key.text for key in node.checkpoints.keys]
    with Home.view(folder) as view:
        assert view.verify().faults == []
        assert [key.text for key in view.public_keys()] == keys
    return keys


def test_a_rotation_makes_a_new_file_and_removes_the_old(folder: Path) -> None:
    before = works(folder)
    rotate(folder)
    after = works(folder)
    assert after[:-1] == before
    assert settings(folder)["signer"] == "file:secrets/ledger-2.key"
    assert sorted(path.name for path in (folder / "secrets").glob("ledger*")) == ["ledger-2.key"]
    rotate(folder)
    assert works(folder)[:-1] == after


def test_a_rotation_to_a_key_elsewhere(folder: Path, tmp_path: Path) -> None:
    origin = works(folder)[0].split("+")[0]
    key = FileSigner.generate(tmp_path / "token", origin)
    rotate(folder, f"file:{tmp_path / 'token'}")
    assert works(folder)[-1] == key.public_key.text


def test_a_key_of_another_log_does_not_follow(folder: Path, tmp_path: Path) -> None:
    FileSigner.generate(tmp_path / "token", "sytff-policy/node-other")
    before = settings(folder)
    with pytest.raises(KeyUnavailable):
        rotate(folder, f"file:{tmp_path / 'token'}")
    assert settings(folder) == before
    assert len(works(folder)) == 1


def _stop(*_: Any, **__: Any) -> None:
    raise Stopped


STOPS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the settings name the new key": lambda m: m.setattr(custody_module, "_rewrite", _stop),
    "before the log has the new key": lambda m: m.setattr(Checkpoints, "rotate", _stop),
    "before the public keys are written": lambda m: m.setattr(Custody, "_write_keys", _after_first),
    "before the settings leave the old key": lambda m: m.setattr(Custody, "_handed_over", _stop),
}


def _after_first(self: Custody, checkpoints: Checkpoints) -> None:
    # Opening the node writes them too, before the rotation begins.
    if len(checkpoints.keys) > 1:
        raise Stopped


@pytest.mark.parametrize("moment", STOPS)
def test_a_rotation_that_stops_leaves_a_node_that_works(
    folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with monkeypatch.context() as patch:
        STOPS[moment](patch)
        with pytest.raises(Stopped):
            rotate(folder)
    keys = works(folder)
    handed_over = moment.startswith(("before the public", "before the settings leave"))
    assert len(keys) == (2 if handed_over else 1)
    rotate(folder)
    assert len(works(folder)) == len(keys) + 1


def test_without_its_key_a_node_does_not_start(folder: Path) -> None:
    key = folder / "secrets" / "ledger.key"
    key.rename(folder / "elsewhere")
    with pytest.raises(KeyUnavailable, match="no signing key"):
        Home(folder)
    FileSigner.generate(key, f"sytff-policy/{settings(folder)['node_id']}")
    with pytest.raises(KeyUnavailable, match="the log's is"):
        Home(folder)
    key.unlink()
    (folder / "elsewhere").rename(key)
    works(folder)
