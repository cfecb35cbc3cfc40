"""The auditor's selections, tables and report, over a ledger with everything in it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sytff_policy.cli.app import run as sytff
from sytff_policy.errors import InvalidInput
from sytff_policy.home import Home
from sytff_policy.ledger import Ledger
from sytff_policy.ledger.verify import Report, verify_entries
from sytff_policy.privacy import RunMechanism, make_filter
from sytff_policy.report import Facts, Row, Selection, gather, instant, render, rows_of, write_rows
from sytff_policy.report.charts import _thin, _ticks, _times, course
from sytff_policy.report.facts import Point
from tests.ledger.helpers import finish, reserve
from tests.support import ALICE, BOB, GUEST, ask, make_home

HOSTILE = "<script>alert(1)</script>"
DAY = 86_400 * 10**9


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Two datasets, three researchers, failures, releases, a grant, an open run."""
    made = Ledger.create(tmp_path_factory.mktemp("ledger") / "ledger.db", "node-test")
    for name, kind, parameters in (
        ("registry", "rdp", {"order": 4}),
        ("clinic", "sum", {"requests": 5}),
    ):
        made.register(
            name=name,
            version=name,
            population=1000,
            owner="owner",
            description={"features": []},
            privacy_filter=make_filter(kind, Decimal(80), Decimal("1e-5"), **parameters),
            bundle="sha256:" + "0" * 64,
        )
    for number, who in enumerate(["alice", "bob", "alice", HOSTILE, "=cmd()"]):
        run = RunMechanism(20, 50 + 10 * (number % 2), 1000, Decimal(1), Decimal(5))
        made_run = reserve(made, run, researcher=who)
        finish(made, made_run, status="failed" if who == "bob" else "completed")
        if who != "bob":
            made.release(made_run, {"weights.safetensors": "sha256:" + "1" * 64})
    finish(made, reserve(made, dataset="clinic"))
    made.grant("registry", Decimal(10), by="owner")
    reserve(made, researcher="bob")
    yield made
    made.close()


@pytest.fixture(scope="module")
def pairs(ledger: Ledger) -> list[tuple[str, str]]:
    return [(entry.hash, entry.leaf) for entry in ledger.entries()]


@pytest.fixture(scope="module")
def rows(pairs: list[tuple[str, str]]) -> list[Row]:
    return list(rows_of(pairs))


@pytest.fixture(scope="module")
def facts(rows: list[Row]) -> Facts:
    return gather(rows)


# --- Rows and selections ------------------------------------------------------------------------


def test_every_entry_is_a_row_with_what_its_run_says(ledger: Ledger, rows: list[Row]) -> None:
    entries = list(ledger.entries())
    assert [(row.seq, row.kind, row.hash, row.body) for row in rows] == [
        (entry.seq, entry.kind, entry.hash, entry.body) for entry in entries
    ]
    settled = [row for row in rows if row.kind in ("settlement", "progress", "release")]
    assert all(row.researcher and row.decision_id and row.dataset for row in settled)


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(dataset="clinic"), lambda row: row.dataset == "clinic"),
        (Selection(researcher="alice"), lambda row: row.researcher == "alice"),
        (Selection(kind="release"), lambda row: row.kind == "release"),
        (Selection(decision="allow"), lambda row: row.decision == "allow"),
        (
            Selection(dataset="registry", researcher="bob", kind="settlement"),
            lambda row: (
                (row.dataset, row.researcher, row.kind) == ("registry", "bob", "settlement")
            ),
        ),
    ],
)
def test_a_selection_is_what_it_says(
    rows: list[Row], selection: Selection, meant: Callable[[Row], bool]
) -> None:
    chosen = [row for row in rows if selection.matches(row)]
    assert chosen == [row for row in rows if meant(row)]
    assert 0 < len(chosen) < len(rows)


def test_a_selection_of_time_begins_with_its_first_moment_and_ends_before_its_last(
    rows: list[Row],
) -> None:
    first, last = rows[5].time_ns, rows[9].time_ns
    chosen = [row.time_ns for row in rows if Selection(since=first, until=last).matches(row)]
    assert chosen == [row.time_ns for row in rows if first <= row.time_ns < last]


@pytest.mark.parametrize("decision", ["denied", "", "ALLOW"])
def test_an_unknown_decision_is_refused(decision: str) -> None:
    with pytest.raises(InvalidInput):
        Selection(decision=decision)


@pytest.mark.parametrize(
    ("text", "end", "meant"),
    [
        ("1970-01-02", False, DAY),
        ("1970-01-02", True, 2 * DAY),
        ("1970-01-02T00:00:01Z", True, DAY + 10**9),
        ("1970-01-02T01:00:00+01:00", False, DAY),
        ("1970-01-01T00:00:00.000001", False, 1000),
    ],
)
def test_a_time_is_read(text: str, end: bool, meant: int) -> None:
    assert instant("--since", text, end=end) == meant


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-01-01T25:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="--since"):
        instant("--since", text)


def test_a_time_span_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Selection(since=2, until=2)


@pytest.mark.parametrize("leaf", ["", "{}", "[]", '{"kind":"decision","body":{}}', "null"])
def test_rows_of_a_garbled_log_are_an_error(leaf: str) -> None:
    with pytest.raises(ValueError, match="entry 0"):
        list(rows_of([("sha256:", leaf)]))


# --- Tables -------------------------------------------------------------------------------------


def test_the_three_formats_say_the_same(rows: list[Row]) -> None:
    streams = {form: io.BytesIO() for form in ("csv", "jsonl", "parquet")}
    for form, stream in streams.items():
        assert write_rows(rows, stream, form) == len(rows)
    as_csv = list(csv.DictReader(io.StringIO(streams["csv"].getvalue().decode())))
    as_json = [json.loads(line) for line in streams["jsonl"].getvalue().splitlines()]
    as_parquet = pq.read_table(io.BytesIO(streams["parquet"].getvalue())).to_pylist()
    for row, first, second, third in zip(rows, as_csv, as_json, as_parquet, strict=True):
        assert int(first["seq"]) == second["seq"] == third["seq"] == row.seq
        assert json.loads(first["body"]) == second["body"] == json.loads(third["body"]) == row.body
        assert first["time"] == second["time"]
        assert third["time"] == row.time
        assert second["researcher"] == third["researcher"] == row.researcher
        assert first["charge"].split() == second["charge"] == third["charge"]


def test_a_spreadsheet_runs_nothing(rows: list[Row]) -> None:
    stream = io.BytesIO()
    write_rows(rows, stream, "csv")
    cells = [cell for line in csv.reader(io.StringIO(stream.getvalue().decode())) for cell in line]
    assert "'=cmd()" in cells
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)


# --- Facts --------------------------------------------------------------------------------------


def test_what_researchers_and_mechanisms_used_is_what_is_spent(
    ledger: Ledger, facts: Facts
) -> None:
    for record in ledger.budgets():
        budget = facts.budgets[record.name]
        assert budget.spent == record.spent
        assert budget.reserved == record.reserved
        for uses in (budget.researchers, budget.mechanisms):
            total = budget.filter.zero
            for use in uses.values():
                assert use.loss is not None
                total += use.loss
            assert total == record.spent


def test_the_course_ends_at_the_budget_of_the_book(ledger: Ledger, facts: Facts) -> None:
    budget = ledger.dataset("registry").budget()
    last = facts.budgets["registry"].points[-1]
    assert (last.budget, last.spent) == (budget.epsilon, budget.spent)
    assert last.used == budget.spent + budget.reserved
    spent = [point.spent for point in facts.budgets["registry"].points]
    assert spent == sorted(spent)


def test_counts_and_lists_are_of_the_selection_and_budgets_of_the_whole(
    rows: list[Row], facts: Facts
) -> None:
    chosen = gather(rows, Selection(researcher="alice"))
    assert chosen.decisions == {"allow": 3}
    assert len(chosen.releases) == 2
    assert {item.row.researcher for item in chosen.releases} == {"alice"}
    assert chosen.budgets["registry"].points == facts.budgets["registry"].points
    assert set(chosen.budgets["registry"].researchers) == {"alice"}


def test_an_open_run_is_counted_as_such(facts: Facts) -> None:
    assert len(facts.open_runs) == 1


# --- The page -----------------------------------------------------------------------------------


class Page(HTMLParser):
    """What is on a page: tags that must be closed, what it would load, and its words."""

    VOID = frozenset({"meta", "br", "wbr", "link", "img", "hr", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.words = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words += data


def made(
    pairs: list[tuple[str, str]],
    *,
    selection: Selection | None = None,
    verification: Report | None = None,
    trusted: bool = False,
) -> str:
    chosen = selection or Selection()
    return render(
        gather(rows_of(pairs), chosen),
        verification or verify_entries(pairs),
        selection=chosen,
        trusted=trusted,
        made_ns=1_780_000_000 * 10**9,
    )


def test_the_page_is_whole_and_loads_nothing(pairs: list[tuple[str, str]]) -> None:
    text = made(pairs)
    page = Page(text)
    assert page.open == []
    assert page.loads == []
    assert "url(" not in text
    assert "@import" not in text
    assert {"script", "link", "img", "iframe"} & page.tags == set()


def test_the_page_has_everything(pairs: list[tuple[str, str]], facts: Facts) -> None:
    words = Page(made(pairs)).words
    for title in (
        "Verified",
        "Spending over time",
        "By researcher",
        "By mechanism",
        "Decisions",
        "Releases",
        "How to check this report",
    ):
        assert title in words
    for name in (*facts.budgets, "alice", "bob", "50 of 1000 a round, noise 1; metrics 5"):
        assert name in words
    for item in facts.releases:
        assert item.row.run_id in words


def test_the_page_shows_hostile_names_as_text(pairs: list[tuple[str, str]]) -> None:
    text = made(pairs)
    assert HOSTILE not in text
    assert HOSTILE in Page(text).words


def test_the_page_of_a_ledger_that_does_not_verify_says_so_first(
    pairs: list[tuple[str, str]],
) -> None:
    forged = list(pairs)
    place = next(i for i, (_, leaf) in enumerate(pairs) if '"kind":"settlement"' in leaf)
    forged[place] = (forged[place][0], forged[place][1].replace('"charge":["', '"charge":["0'))
    words = Page(made(forged)).words
    assert "Not verified" in words
    assert "verify.hash" in words
    assert "Every hash, link, state" not in words


def test_a_page_is_made_of_a_ledger_that_cannot_be_read_to_its_end(
    pairs: list[tuple[str, str]],
) -> None:
    forged = [*pairs[:12], ("sha256:" + "0" * 64, "{}"), *pairs[13:]]
    words = Page(made(forged)).words
    assert "Not verified" in words
    assert "figures end at entry 12" in words


def test_the_page_says_what_was_selected(pairs: list[tuple[str, str]]) -> None:
    words = Page(made(pairs, selection=Selection(researcher="alice"))).words
    assert "of a selection: researcher alice" in words
    assert HOSTILE not in words


def test_a_page_of_an_empty_selection_says_that_there_is_nothing(
    pairs: list[tuple[str, str]],
) -> None:
    words = Page(made(pairs, selection=Selection(researcher="nobody"))).words
    assert "Nothing was released in this selection" in words


def test_a_page_of_a_new_node(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", "node-new")
    page = Page(made([(entry.hash, entry.leaf) for entry in ledger.entries()]))
    assert "No request was decided" in page.words
    ledger.close()


# --- Charts -------------------------------------------------------------------------------------


@given(st.floats(1e-9, 1e9))
def test_ticks_are_few_and_reach_the_top(top: float) -> None:
    ticks = _ticks(top)
    assert ticks[0] == 0
    assert ticks[-1] >= top * (1 - 1e-6)
    assert 3 <= len(ticks) <= 7


@given(st.integers(0, 4 * 10**18), st.integers(60 * 10**9, 10**18))
def test_times_are_few_and_inside(begin: int, span: int) -> None:
    marks = _times(begin, begin + span)
    assert len(marks) <= 7 or span > 6 * 1825 * DAY
    assert all(begin <= second * 10**9 <= begin + span for second, _ in marks)


def test_a_long_course_is_thinned_and_keeps_its_ends() -> None:
    points = [Point(n * 10**9, Decimal(n), Decimal(n), Decimal(10**5)) for n in range(10**5)]
    thin = _thin(points, points[0].time_ns, points[-1].time_ns)
    assert len(thin) < 400
    assert (thin[0], thin[-1]) == (points[0], points[-1])
    assert len(course(points, title="long")) < 40_000


def test_a_course_of_one_moment_is_drawn() -> None:
    assert "budget 8" in course([Point(0, Decimal(0), Decimal(0), Decimal(8))], title="new")


# --- The command line ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with make_home(tmp_path_factory.mktemp("node")) as home:
        home.gate.admit(ask(home, rounds=10**6), "registry", ALICE)
        home.gate.admit(ask(home), "registry", GUEST)
        allowed = home.gate.admit(ask(home), "registry", BOB)
        assert allowed.run_id is not None
        finish(home.ledger, allowed.run_id, rounds=10)
        home.ledger.release(allowed.run_id, {"weights.safetensors": "sha256:" + "1" * 64})
        return home.folder


class Command:
    """`sytff` with --home, and what it printed."""

    def __init__(self, node: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._node, self._capsys = node, capsys

    def __call__(self, *arguments: object, home: bool = True) -> tuple[int, str]:
        texts = [str(item) for item in arguments]
        code = sytff([*texts, "--home", str(self._node)] if home else texts)
        printed = self._capsys.readouterr()
        return code, printed.out + printed.err

    def json(self, *arguments: object) -> Any:
        code, printed = self(*arguments, "--json")
        assert code == 0
        return json.loads(printed)


@pytest.fixture
def command(node: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(node, capsys)


def test_list_takes_every_filter(command: Command) -> None:
    def found(*options: str) -> list[str]:
        entries = command.json("ledger", "list", *options)["entries"]
        return [entry["leaf"]["body"]["decision_id"] for entry in entries]

    denied = found("--decision", "deny")
    assert len(denied) == 2
    assert found("--decision", "deny", "--researcher", "alice") == denied[:1]
    assert found("--code", "accountant.budget_exceeded") == denied[:1]
    assert found("--code", "accountant.") == denied[:1]
    assert found("--decision", "deny", "--until", "2020-01-01") == []
    assert found("--decision", "deny", "--since", "2020-01-01", "--limit", "1") == denied[1:]
    assert command("ledger", "list", "--since", "nonsense")[0] == 2


def test_an_export_verifies_with_the_key_and_the_checkpoint_alone(
    command: Command, tmp_path: Path
) -> None:
    (key,) = command.json("keys", "show")["keys"]
    note = command.json("ledger", "checkpoint")["checkpoint"]
    (tmp_path / "note").write_text(note)
    (tmp_path / "key").write_text(key + "\n")
    export = tmp_path / "export.jsonl"
    assert command("ledger", "export", export)[0] == 0
    for given_key in (key, tmp_path / "key"):
        code, printed = command(
            "ledger", "verify", export, "--key", given_key, "--checkpoint", tmp_path / "note",
            home=False,
        )  # fmt: skip
        assert (code, key in printed) == (0, True)
    lines = export.read_bytes().splitlines(keepends=True)
    export.write_bytes(b"".join(lines[:-3]))
    code, printed = command("ledger", "verify", export, "--key", key, home=False)
    assert code == 5
    assert "verify.unsigned" in printed


def test_the_nodes_own_ledger_verifies(command: Command) -> None:
    report = command.json("ledger", "verify")
    assert report["verified"]
    assert report["signed"] == report["entries"]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet", "-"])
def test_a_selection_is_exported_as_a_table(command: Command, tmp_path: Path, name: str) -> None:
    where = name if name == "-" else tmp_path / name
    arguments = ["ledger", "export", where, "--decision", "deny"]
    if name == "-":
        arguments += ["--format", "csv"]
    code, printed = command(*arguments)
    assert code == 0
    if name == "table.parquet":
        assert pq.read_table(tmp_path / name).num_rows == 2
    else:
        text = printed if name == "-" else (tmp_path / name).read_text()
        assert len(list(csv.DictReader(io.StringIO(text)))) == 2


def test_a_receipt_is_made_and_verified_offline(command: Command, tmp_path: Path) -> None:
    (key,) = command.json("keys", "show")["keys"]
    entry = command.json("ledger", "list", "--decision", "allow")["entries"][0]
    decision = entry["leaf"]["body"]["decision_id"]
    file = tmp_path / "receipt.json"
    assert command("ledger", "receipt", decision, "--file", file)[0] == 0
    code, printed = command("ledger", "verify-receipt", file, "--key", key, home=False)
    assert code == 0
    assert "release" in printed
    file.write_text(file.read_text().replace('"status":"completed"', '"status":"cancelled"'))
    assert command("ledger", "verify-receipt", file, "--key", key, home=False)[0] == 5
    assert command("ledger", "verify-receipt", file, home=False)[0] == 2
    assert command("ledger", "receipt", "dec-unknown")[0] == 2


def test_a_report_is_written_of_the_node_and_of_an_export(command: Command, tmp_path: Path) -> None:
    (key,) = command.json("keys", "show")["keys"]
    export = tmp_path / "export.jsonl"
    command("ledger", "export", export)
    assert command("ledger", "report", tmp_path / "own.html")[0] == 0
    arguments = ["ledger", "report", tmp_path / "theirs.html", "--export", export, "--key", key]
    assert command(*arguments, home=False)[0] == 0
    words = Page((tmp_path / "theirs.html").read_text()).words
    assert "under a public key that" in words
    assert "accountant.budget_exceeded" in words
    assert "sytff-policy/node-" in words
    assert command("ledger", "report", tmp_path / "own.html")[0] == 2


def test_a_report_of_an_altered_export_is_written_and_fails(
    command: Command, tmp_path: Path
) -> None:
    export = tmp_path / "export.jsonl"
    command("ledger", "export", export)
    export.write_bytes(export.read_bytes().replace(b'"bob"', b'"eve"'))
    arguments = ["ledger", "report", tmp_path / "page.html", "--export", export]
    assert command(*arguments, home=False)[0] == 5
    assert "Not verified" in (tmp_path / "page.html").read_text()


def test_reading_writes_nothing(command: Command, node: Path, tmp_path: Path) -> None:
    with Home.view(node) as view:
        before = view.size()
    for arguments in (
        ("list",),
        ("verify",),
        ("export", tmp_path / "e.jsonl"),
        ("report", tmp_path / "r.html"),
    ):
        assert command("ledger", *arguments)[0] == 0
    with Home.view(node) as view:
        assert view.size() == before


def test_a_rolled_back_node_exits_with_five(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with make_home(tmp_path) as home:
        folder = home.folder
    copy = (folder / "ledger.db").read_bytes()
    own = Command(folder, capsys)
    assert own("budget", "grant", "registry", "--epsilon", "1")[0] == 0
    for path in folder.glob("ledger.db-*"):
        path.unlink()
    (folder / "ledger.db").write_bytes(copy)
    code, printed = own("budget", "show", "registry")
    assert code == 5
    assert "older than its last checkpoint" in printed
    assert "To go on" in printed


def test_a_node_is_made_with_a_witness_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "other-disk" / "checkpoint"
    assert sytff(["init", str(tmp_path / "node"), "--witness-file", str(place)]) == 0
    assert place.is_file()
    assert "Its ledger is signed by" in capsys.readouterr().out
    assert sytff(["init", str(tmp_path / "two"), "--witness", "https://w.example"]) == 2


def test_a_key_is_rotated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_home(tmp_path).close()
    own = Command(tmp_path / "node", capsys)
    assert own("keys", "rotate")[0] == 0
    assert len(own.json("keys", "show")["keys"]) == 2
    assert own("ledger", "checkpoint", "--record")[0] == 0
    assert own.json("ledger", "verify")["verified"]
