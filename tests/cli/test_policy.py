"""`sytff policy`: from a template to a policy in force."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import Sytff
from tests.cli.conftest import write_request


def tighten(folder: str, **limits: object) -> None:
    """Changes limits in a policy's data.json."""
    file = Path(folder, "data.json")
    document = json.loads(file.read_text())
    document["sytff"]["parameters"]["dataset"] |= limits
    file.write_text(json.dumps(document))


def test_templates_are_listed_with_their_places(sytff: Sytff) -> None:
    document = sytff.json("policy", "templates")
    assert document["templates"] == ["health_registry", "starter"]
    for name in document["templates"]:
        assert (Path(document["folder"]) / name / "policy.rego").is_file()


@pytest.mark.parametrize("template", ["starter", "health_registry"])
def test_a_new_policy_is_admissible_as_it_is(template: str, sytff: Sytff) -> None:
    made = sytff.json("policy", "new", "mine", "--template", template)
    assert {"mine/data.json", "mine/policy.rego", "mine/policy_test.rego"} <= set(made["files"])
    checked = sytff.json("policy", "check", "mine")
    assert checked["admitted"]
    assert checked["tests"] > 5
    assert checked["digest"].startswith("sha256:")


def test_a_new_policy_is_made_over_nothing(sytff: Sytff) -> None:
    assert "accepted: health_registry, starter" in sytff.refused(
        "policy", "new", "mine", "--template", "none"
    )
    assert not Path("mine").exists()
    Path("mine").mkdir()
    Path("mine/kept").write_text("kept")
    assert "DIR: is not an empty folder" in sytff.refused("policy", "new", "mine")
    assert [path.name for path in Path("mine").iterdir()] == ["kept"]


def test_a_tightened_policy_comes_into_force_at_once(sytff: Sytff, node: Path) -> None:
    write_request(Path("request.json"))
    assert sytff("request", "check", "request.json").code == 0
    sytff.json("policy", "new", "mine")
    tighten("mine", max_epsilon_per_request=2)
    document = sytff.json("policy", "activate", "registry", "mine")
    assert document["policy"] == sytff.json("dataset", "show", "registry")["policy"]
    refused = sytff("request", "check", "request.json", "--json")
    assert refused.code == 3
    assert [reason["code"] for reason in refused.document["reasons"]] == [
        "dataset.epsilon_per_request"
    ]
    last = sytff.json("ledger", "list", "--limit", "1")["entries"][0]["leaf"]
    assert (last["kind"], last["body"]["bundle"]) == ("policy.activated", document["policy"])
    assert sytff.json("ledger", "verify")["verified"]


def test_a_rule_that_its_tests_contradict_is_not_admitted(sytff: Sytff) -> None:
    sytff.json("policy", "new", "mine")
    rules = Path("mine/policy.rego")
    rules.write_text(rules.read_text().replace("lib.at_least(", "lib.at_most("))
    assert "test_" in sytff.refused("policy", "check", "mine")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("policy.rego", "package sytff.dataset\n\ndeny contains", "policy.rego:"),
        ("policy.rego", "package other\n", "policy.rego"),
        ("policy.rego", "\xff", "policy.rego"),
        ("data.json", "{", "data.json"),
        ("data.json", '{"sytff": {"dataset": {"deny": []}}}', "data.json"),
        ("policy_test.rego", "package sytff.dataset_test\n\ntest_no if 1 == 2\n", "test_no"),
    ],
)
def test_what_is_not_admitted_is_named(
    name: str, content: str, expected: str, sytff: Sytff, node: Path
) -> None:
    sytff.json("policy", "new", "mine")
    Path("mine", name).write_text(content, encoding="latin-1")
    before = sytff.json("dataset", "show", "registry")["policy"]
    for arguments in (("check", "mine"), ("activate", "registry", "mine")):
        assert expected in sytff.refused("policy", *arguments)
        assert sytff("policy", *arguments, "--json").document["error"] == "policy.rejected"
    assert sytff.json("dataset", "show", "registry")["policy"] == before
    assert sytff.json("ledger", "list", "--kind", "policy.activated")["entries"][1:] == []


def test_folders_and_datasets_that_do_not_exist(sytff: Sytff, node: Path) -> None:
    assert "nowhere" in sytff.refused("policy", "check", "nowhere")
    assert "nowhere" in sytff.refused("policy", "activate", "registry", "nowhere")
    Path("empty").mkdir()
    assert "no Rego file" in sytff.refused("policy", "check", "empty")
    sytff.json("policy", "new", "mine")
    tighten("mine", max_epsilon_per_request=0.25)
    stored = set((node / "bundles").iterdir())
    assert "there is: registry" in sytff.refused("policy", "activate", "nope", "mine")
    assert set((node / "bundles").iterdir()) == stored


def test_check_with_a_home_uses_that_node(sytff: Sytff, node: Path) -> None:
    sytff.json("policy", "new", "mine")
    assert sytff.json("policy", "check", "mine") == sytff.json(
        "policy", "check", "mine", "--home", node
    )
    assert sytff.refused("policy", "check", "mine", "--home", "nowhere").startswith("--home: ")
