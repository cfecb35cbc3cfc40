"""`sytff` as a process of its own: pipes, signals, closed streams, and what it loads."""

from __future__ import annotations

import array
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import REQUEST, write_request
from tests.runs.processes import alive, runners, wait_until, workers_of

SYTFF = [sys.executable, "-m", "sytff_policy.cli"]
# What runs in the background, as CI does, was told to ignore these, and its children with it.
STOPPABLE = ["env", "--default-signal=INT,TERM,HUP", *SYTFF]
HEAVY = {"jax", "keras", "scipy", "tensorflow", "tensorflow_federated", "tensorflow_privacy"}

LOADED = """
import json, os, sys
from sytff_policy.cli.app import run

codes = [run(arguments) for arguments in json.load(open(sys.argv[1]))]
json.dump({"codes": codes, "modules": sorted(sys.modules)}, open(sys.argv[2], "w"))
"""


def finished(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*SYTFF, *arguments], stderr=subprocess.PIPE, check=False, timeout=120, **options
    )


def modules_after(place: Path, command_lines: list[list[str]], codes: list[int]) -> set[str]:
    """Top-level modules that a process holds after these commands."""
    (place / "commands.json").write_text(json.dumps(command_lines))
    subprocess.run(
        [sys.executable, "-c", LOADED, "commands.json", "loaded.json"],
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )
    loaded = json.loads((place / "loaded.json").read_text())
    assert loaded["codes"] == codes
    return {name.split(".")[0] for name in loaded["modules"]}


def test_light_commands_load_nothing_heavy(place: Path, node: Path) -> None:
    write_request(place / "request.json")
    write_request(place / "denied.json", rounds=9000)
    (place / "people.csv").write_text("person,age,ill\nann,30,1\nbob,40,0\n")
    plan = ["--epsilon", "8", "--delta", "1e-5"]
    command_lines = [
        ["init", "new"],
        ["dataset", "list"],
        ["dataset", "show", "registry"],
        [
            *("dataset", "register", "people", "--data", "people.csv", "--unit", "person"),
            *("--features", "age", "--label", "ill", *plan),
        ],
        ["budget", "show", "registry"],
        ["budget", "plan", "--population", "1000", *plan],
        ["budget", "grant", "registry", "--epsilon", "1"],
        ["policy", "templates"],
        ["policy", "new", "mine"],
        ["policy", "check", "mine"],
        ["policy", "activate", "registry", "mine"],
        ["ledger", "list"],
        ["ledger", "show", "1"],
        ["ledger", "verify"],
        ["ledger", "export", "export.jsonl"],
        ["ledger", "verify", "export.jsonl"],
    ]
    loaded = modules_after(place, command_lines, [0] * len(command_lines))
    assert loaded & (HEAVY | {"dp_accounting"}) == set()


def test_checking_a_request_loads_an_accountant_and_no_tensorflow(place: Path, node: Path) -> None:
    write_request(place / "request.json")
    write_request(place / "denied.json", rounds=9000)
    command_lines = [["request", "check", "request.json"], ["request", "check", "denied.json"]]
    assert modules_after(place, command_lines, [0, 3]) & (HEAVY - {"scipy"}) == set()


def test_help_and_mistakes_load_no_accountant(place: Path) -> None:
    command_lines = [["--help"], ["train", "--help"], ["nonsense"], ["dataset", "list"]]
    loaded = modules_after(place, command_lines, [0, 0, 2, 2])
    assert loaded & (HEAVY | {"dp_accounting"}) == set()


def test_the_module_is_the_command(place: Path) -> None:
    done = finished("--version", stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"sytff ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["ledger", "export"],
        ["ledger", "list", "--json"],
        ["dataset", "list"],
        ["--help"],
        ["dataset", "show", "nope", "--json"],
    ],
    ids=" ".join,
)
def test_a_reader_that_has_gone_is_no_traceback(arguments: list[str], node: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = finished(*arguments, stdout=write_end)
    finally:
        os.close(write_end)
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert done.returncode in (1, 2)


def test_a_full_disk_is_said(node: Path) -> None:
    with open("/dev/full", "wb") as full:
        for arguments in (["dataset", "list", "--json"], ["ledger", "export"], ["--help"]):
            done = finished(*arguments, stdout=full)
            assert done.returncode == 1
            assert b"No space left on device" in done.stderr
            assert b"Traceback" not in done.stderr
            assert b"Exception ignored" not in done.stderr


@pytest.mark.slow
def test_closed_streams_are_no_traceback(node: Path) -> None:
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        for words in ("dataset list", "dataset show nope --json", "request check -"):
            line = f'"{sys.executable}" -m sytff_policy.cli {words} {closed}'
            done = subprocess.run(
                ["bash", "-c", line], capture_output=True, check=False, timeout=60
            )
            assert b"Traceback" not in done.stderr
            assert done.returncode == (0 if words == "dataset list" else 2)


def test_names_that_the_output_cannot_encode(place: Path, node: Path) -> None:
    (place / "people.csv").write_text("naïve,größe,ill\nann,30,1\nbob,40,0\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    register = [
        *("dataset", "register", "people", "--data", "people.csv", "--unit", "naïve"),
        *("--features", "größe", "--label", "ill", "--epsilon", "8", "--delta", "1e-5"),
    ]
    done = finished(*register, stdout=subprocess.PIPE, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"gr\\xf6\\xdfe" in done.stderr
    done = finished("dataset", "show", "people", "--json", stdout=subprocess.PIPE, env=environment)
    assert json.loads(done.stdout)["schema"]["unit"] == "naïve"
    assert done.stdout.isascii()


def test_arguments_that_are_no_text(node: Path) -> None:
    done = finished("dataset", "show", b"caf\xe9", stdout=subprocess.PIPE)  # type: ignore[arg-type]
    assert done.returncode == 2
    assert b"are not UTF-8" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_stopped_says_so(number: signal.Signals, place: Path, node: Path) -> None:
    os.mkfifo("request.fifo")
    process = subprocess.Popen(
        [*STOPPABLE, "request", "check", "request.fifo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    # Opening waits for the reader. Once it has taken the byte and sleeps, it waits for more.
    writer = os.open("request.fifo", os.O_WRONLY)
    os.write(writer, b" ")
    wait_until(lambda: unread(writer) == 0 and state_of(process.pid) == "S")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    os.close(writer)
    assert (process.returncode, out, err) == (1, b"", b"interrupted\n")


def unread(pipe: int) -> int:
    """Bytes that wait in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def state_of(pid: int) -> str:
    """A process's state letter; S is asleep."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


LONG = {"rounds": 2000, "clients_per_round": 20, "noise_multiplier": 6.0}


@pytest.mark.tff
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_is_settled_and_leaves_no_process(
    number: signal.Signals, place: Path, node: Path
) -> None:
    from sytff_policy.home import Home

    (place / "request.json").write_text(json.dumps({**REQUEST, **LONG}))
    command_line = [*STOPPABLE, "train", "request.json", "--out", "out", "--json"]
    with open("out.log", "wb") as out, open("err.log", "wb") as err:
        process = subprocess.Popen(command_line, stdout=out, stderr=err)
    with Home(node) as home:
        wait_until(lambda: any(home.ledger.entries(kind="progress")))
        [runner] = runners(node.resolve())
        workers = workers_of(runner)
        assert workers
        process.send_signal(number)
        process.wait(timeout=60)
        wait_until(lambda: not any(alive(pid) for pid in (runner, *workers)))
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 1
        assert json.loads(Path("out.log").read_text())["error"] == "interrupted"
        said = Path("err.log").read_text()
        assert "rounds may have drawn noise and stay charged; the rest is refunded" in said
        assert said.endswith("interrupted\n")
        assert not Path("out").exists()
    with Home(node) as home:
        [settled] = home.ledger.entries(kind="settlement")
        stopped = "failed" if number == signal.SIGKILL else "cancelled"
        assert settled.body["status"] == stopped
        budget = home.ledger.dataset("registry").budget()
        assert budget.reserved == 0
        assert 0 < budget.spent < 8
        assert home.ledger.verify().ok
