"""The author's guide: every policy in it is admitted, every table is what the code does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.policy import (
    DATASET_PACKAGE,
    EmbeddedEngine,
    admit,
    make_bundle,
    node_bundle,
    template,
    template_names,
)
from sytff_policy.policy import bundle as bundle_module
from sytff_policy.policy import embedded as embedded_module
from sytff_policy.policy.example import example_input
from sytff_policy.policy.verdict import MAX_TEXT, parse_package
from tests.policy import input_table
from tests.policy.samples import NODE, codes, document, verdict_of
from tests.policy.test_library import EMITTED

DOCS = Path(__file__).parents[2] / "docs" / "policies"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
SOURCES = sorted(Path(embedded_module.__file__).parent.glob("*.py"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RAISED = re.compile(r'"(policy\.[a-z_]+)"')


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page(name)) if kind == language]


def table(name: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its first two rows."""
    below = page(name).partition(f"{heading}\n")[2]
    lines = [line for line in below.partition("\n#")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def whole_modules(name: str) -> list[tuple[str, str]]:
    """Policies of a page with the tests that follow them."""
    found = [text for text in blocks(name, "rego") if text.startswith("package")]
    return list(zip(found[::2], found[1::2], strict=True))


def fragments() -> list[str]:
    return [text for text in blocks("writing.md", "rego") if not text.startswith("package")]


def test_the_guide_is_there() -> None:
    assert PAGES == ["index.md", "input.md", "rules.md", "writing.md"]


@pytest.mark.parametrize("name", PAGES)
def test_every_whole_policy_is_admitted_with_its_tests(engine: EmbeddedEngine, name: str) -> None:
    for module, test in whole_modules(name):
        files = {"policy.rego": module.encode(), "policy_test.rego": test.encode()}
        admit(make_bundle(DATASET_PACKAGE, files), engine, NODE)


def test_the_first_policy_does_what_the_page_says(engine: EmbeddedEngine) -> None:
    ((module, test),) = whole_modules("index.md")
    files = {"policy.rego": module.encode(), "policy_test.rego": test.encode()}
    first = make_bundle(DATASET_PACKAGE, files)
    assert codes(verdict_of(engine, first, document({"request.rounds": 100}))) == []
    assert codes(verdict_of(engine, first, document({"request.rounds": 101}))) == ["dataset.rounds"]


def test_every_rule_of_the_writers_page_fits_into_the_starter_template(
    engine: EmbeddedEngine,
) -> None:
    files = dict(template("starter").files)
    added = 0
    for text in fragments():
        if text.encode() in files["policy.rego"]:
            continue  # a rule of the template, quoted
        place = "policy_test.rego" if text.startswith("test_") else "policy.rego"
        files[place] += b"\n" + text.encode()
        added += 1
    assert added == 10
    (data,) = blocks("writing.md", "json")
    files["data.json"] = data.encode()
    extended = make_bundle(DATASET_PACKAGE, files)
    report = admit(extended, engine, NODE)
    assert len(report.tests) > 30
    sunday = document({"time.weekday": "sunday", "usage.today.requests": 3})
    found = codes(verdict_of(engine, extended, sunday))
    assert {"dataset.working_days", "dataset.requests_a_day"} <= set(found)
    assert "dataset.parameters" not in found


def test_the_quoted_rule_is_the_templates() -> None:
    assert fragments()[0].encode() in template("starter").files["policy.rego"]


def test_what_the_warning_says_of_null_is_so(engine: EmbeddedEngine) -> None:
    trap = make_bundle(
        DATASET_PACKAGE,
        {
            "policy.rego": b'package sytff.dataset\n\ndeny contains {"code": "a.b", "message": "c"}'
            b" if {\n\tinput.cost.epsilon > 2\n}\n"
        },
    )
    assert codes(verdict_of(engine, trap, document({"cost.epsilon": 3}))) == ["a.b"]
    assert codes(verdict_of(engine, trap, document({"cost.epsilon": None}))) == []


def test_the_input_page_has_every_field_with_its_type_and_range() -> None:
    written = {cells[0]: cells[1] for cells in table("input.md", "# The input") if len(cells) == 3}
    expected = {
        cells[0]: cells[1]
        for row in input_table.rows().values()
        if (cells := [cell.strip() for cell in row.strip("|").split("|")])
    }
    assert written == expected, input_table.table()
    assert all(cells[2] for cells in table("input.md", "# The input"))


def test_the_example_of_the_input_page_is_the_example() -> None:
    (example,) = blocks("input.md", "json")
    assert json.loads(example) == example_input()


def test_the_schema_is_printed_as_the_input_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = blocks("input.md", "python")
    exec(compile(program, "input.md", "exec"), {})
    assert json.loads(capsys.readouterr().out)["properties"]


def row_codes(name: str, heading: str) -> dict[str, list[str]]:
    return {cells[0].strip("`"): cells for cells in table(name, heading)}


def test_the_rules_page_has_every_rule_of_the_node_with_its_default() -> None:
    rows = row_codes("rules.md", "## The node's rules")
    emitted = {code for text in NODE.modules.values() for code in EMITTED.findall(text)}
    assert set(rows) == emitted - {"node.no_model"}
    assert "`node.no_model`" in page("rules.md")
    defaults = {
        cells[2].strip("`"): json.loads(cells[3].strip("`")) for cells in rows.values() if cells[2]
    }
    assert defaults == node_bundle().data["sytff"]["parameters"]["node"]


@pytest.mark.parametrize("name", template_names())
def test_the_rules_page_has_every_rule_of_the_templates_with_its_default(name: str) -> None:
    heading = "## The templates' rules"
    rows = row_codes("rules.md", heading)
    emitted = {c for text in template(name).modules.values() for c in EMITTED.findall(text)}
    assert set(rows) == emitted - {"dataset.review_epsilon"}
    titles = page("rules.md").partition(heading)[2].partition("| code")[2].splitlines()[0]
    column = 1 + [cell.strip() for cell in titles.split("|")[1:]].index(name)
    defaults = {
        cells[2].strip("`"): json.loads(cells[column].strip("`"))
        for cells in rows.values()
        if cells[2]
    }
    parameters = dict(template(name).data["sytff"]["parameters"]["dataset"])
    review = parameters.pop("review_above_epsilon", None)
    if review is not None:
        assert f"`review_above_epsilon` (default `{review}`)" in page("rules.md")
    assert defaults == parameters


def test_every_code_of_the_engine_and_of_admission_is_explained() -> None:
    raised = {c for path in SOURCES for c in RAISED.findall(path.read_text(encoding="utf-8"))}
    raised.remove("policy.rejected")  # the refusal as a whole
    denied = set(row_codes_of_last_cell("index.md", "## In doubt: denied"))
    refused = set(row_codes("writing.md", "## What check refuses"))
    assert raised <= denied | refused
    assert refused <= raised
    assert denied - raised == {"policy.bundle_unusable"}  # the gate's


def row_codes_of_last_cell(name: str, heading: str) -> list[str]:
    return [cells[-1].strip("`") for cells in table(name, heading)]


def test_the_bounds_of_the_first_page_are_bounds() -> None:
    (bounds,) = blocks("index.md", "json")
    verdict = parse_package("data.x", {"deny": [], "bounds": json.loads(bounds)})
    assert verdict.deny == ()
    assert set(verdict.bounds) == {"rounds", "noise_multiplier", "purpose"}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (("500 files", bundle_module.MAX_FILES), 500),
        (("500 files and 1 MiB", bundle_module.MAX_BUNDLE_BYTES), 2**20),
        (("a file 256 KiB", bundle_module.MAX_MODULE_BYTES), 256 * 2**10),
        (("at most 2000 characters", MAX_TEXT), 2000),
        (("more than a second of processor time", embedded_module.DEFAULT_TIME_LIMIT_S), 1.0),
        (("more than 512 MiB", embedded_module.DEFAULT_MEMORY_LIMIT), 512 * 2**20),
        (("larger than 1 MiB", embedded_module.MAX_ANSWER_BYTES), 2**20),
    ],
)
def test_the_limits_of_the_first_page_are_the_limits(said: tuple[str, Any], meant: Any) -> None:
    words, limit = said
    assert words in " ".join(page("index.md").split())
    assert limit == meant


def test_the_commands_of_the_writers_page_work(tmp_path: Path) -> None:
    commands = blocks("writing.md", "sh")[0].splitlines()
    assert [command.split()[:3] for command in commands] == [
        ["sytff", "policy", name] for name in ("templates", "new", "check")
    ]
    for command in commands:
        run = subprocess.run(
            [sys.executable, "-m", "sytff_policy.cli", *command.split()[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in (tmp_path / "my-policy").iterdir()) == [
        "README.md",
        "data.json",
        "policy.rego",
        "policy_test.rego",
    ]
