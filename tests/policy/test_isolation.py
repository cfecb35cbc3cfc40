"""The evaluating process: however it ends, the answer is a denial or the right one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sytff_policy.policy import EmbeddedEngine, Verdict, _isolation
from sytff_policy.policy._isolation import EngineDied, EngineTimeout, RegoError, Worker
from tests.policy.samples import ALWAYS, NODE, PACKAGE, QUIET, bundle, codes, deciding, verdict_of

ENDLESS = deciding(
    "deny contains 1 if {\n\tsome i in numbers.range(1, 3000)\n\tsome j in numbers.range(1, 3000)\n"
    "\tsome k in numbers.range(1, 3000)\n\ti * j * k < 0\n}\n"
)
GREEDY = deciding("deny contains 1 if count(numbers.range(1, 1000000000)) < 0\n")
ECHO = deciding(
    'deny contains {"code": "test.echo", "message": sprintf("%v", [input.request.rounds])}\n'
)


@pytest.fixture
def patient() -> Iterator[EmbeddedEngine]:
    """An engine that outlasts every test: what ends in these, the test ended."""
    with EmbeddedEngine(time_limit=120.0) as made:
        yield made


def wait_until(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    while not condition():
        tick.wait(0.01)


def gone(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def evaluating(engine: EmbeddedEngine) -> int | None:
    """The worker's id once it computes; it is idle after the hello and while nothing is asked."""
    pid = engine.worker_pid
    if pid is None:
        return None
    used = _isolation._processor_time(pid)
    return pid if used is not None and used > 0.5 else None


def test_a_worker_that_was_killed_is_replaced(patient: EmbeddedEngine) -> None:
    assert codes(verdict_of(patient, ECHO)) == ["test.echo"]
    pid = patient.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gone(pid))
    assert codes(verdict_of(patient, ECHO)) == ["test.echo"]
    assert patient.worker_pid != pid


def test_a_worker_that_is_killed_while_it_computes_denies(patient: EmbeddedEngine) -> None:
    found: list[Verdict] = []
    thread = threading.Thread(target=lambda: found.append(verdict_of(patient, ENDLESS)))
    thread.start()
    killed = set()
    while thread.is_alive():
        pid = evaluating(patient)
        if pid is not None and pid not in killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        thread.join(0.01)
    assert codes(found[0]) == ["policy.engine_failed"]
    assert len(killed) == 2  # the second try was in a new process
    assert codes(verdict_of(patient, ECHO)) == ["test.echo"]


def test_an_evaluation_without_end_is_ended(impatient: EmbeddedEngine) -> None:
    verdict_of(impatient, ECHO)
    pid = impatient.worker_pid
    assert pid is not None
    assert codes(verdict_of(impatient, ENDLESS)) == ["policy.timeout"]
    assert gone(pid)
    assert codes(verdict_of(impatient, ECHO)) == ["test.echo"]


def test_a_worker_that_does_nothing_is_ended_by_the_clock() -> None:
    with EmbeddedEngine(time_limit=0.02) as engine:
        verdict_of(engine, ECHO)
        pid = engine.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        assert codes(verdict_of(engine, ECHO))[0] == "policy.timeout"
        assert gone(pid)


def test_an_evaluation_without_bounds_in_memory_is_ended(impatient: EmbeddedEngine) -> None:
    assert codes(verdict_of(impatient, GREEDY)) == ["policy.engine_failed"]
    assert codes(verdict_of(impatient, ECHO)) == ["test.echo"]


def test_the_kernel_holds_the_memory_limit() -> None:
    with EmbeddedEngine(memory_limit=150 * 2**20) as engine:
        verdict_of(engine, ECHO)
        limits = Path(f"/proc/{engine.worker_pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max data size")]
    assert line.split()[3:5] == [str(150 * 2**20)] * 2


def test_a_denied_death_names_the_package_that_caused_it(impatient: EmbeddedEngine) -> None:
    (reason,) = verdict_of(impatient, GREEDY).deny
    assert reason.source == "data.sytff.dataset"


def test_an_answer_that_is_too_large_denies(impatient: EmbeddedEngine) -> None:
    large = deciding(
        'deny contains {"code": "a.b", "message": sprintf("%d", [i])} if {\n'
        "\tsome i in numbers.range(1, 30000)\n}\n"
    )
    assert codes(verdict_of(impatient, large)) == ["policy.engine_failed"]
    assert codes(verdict_of(impatient, ECHO)) == ["test.echo"]


def test_a_worker_knows_nothing_of_its_parents_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SYTFF_TEST_SECRET", "hush")
    with EmbeddedEngine() as engine:
        verdict_of(engine, ECHO)
        environment = Path(f"/proc/{engine.worker_pid}/environ").read_bytes()
    names = {item.partition(b"=")[0] for item in environment.split(b"\0") if item}
    assert names <= {b"MIMALLOC_ARENA_RESERVE", b"LD_LIBRARY_PATH"}


def test_a_closed_engine_has_no_process_and_can_be_used_again() -> None:
    engine = EmbeddedEngine()
    engine.close()
    assert codes(verdict_of(engine, ECHO)) == ["test.echo"]
    pid = engine.worker_pid
    assert pid is not None
    engine.close()
    engine.close()
    assert engine.worker_pid is None
    assert gone(pid)
    assert codes(verdict_of(engine, ECHO)) == ["test.echo"]
    engine.close()


@pytest.mark.parametrize(
    ("time_limit", "memory_limit"), [(0.0, 1), (-1.0, 1), (float("nan"), 1), (1.0, 0), (1.0, -1)]
)
def test_limits_that_limit_nothing_are_refused(time_limit: float, memory_limit: int) -> None:
    with pytest.raises(ValueError, match="above 0"):
        EmbeddedEngine(time_limit=time_limit, memory_limit=memory_limit)


def ask_rounds(engine: EmbeddedEngine, rounds: int) -> list[str]:
    verdict = engine.evaluate([ECHO], {"request": {"rounds": rounds}})
    return [reason.message for reason in verdict.deny if reason.code == "test.echo"]


def test_every_thread_gets_the_answer_to_its_own_question(engine: EmbeddedEngine) -> None:
    answers: dict[int, list[str]] = {}

    def ask(first: int) -> None:
        for rounds in range(first, first + 25):
            answers[rounds] = ask_rounds(engine, rounds)

    threads = [threading.Thread(target=ask, args=(100 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8 * 25
    assert all(found == [str(rounds)] for rounds, found in answers.items())


def test_a_hostile_policy_in_another_thread_costs_nobody_an_answer(
    impatient: EmbeddedEngine,
) -> None:
    answers: dict[int, list[str]] = {}
    hostile: list[list[str]] = []

    def attack() -> None:
        for attacker in (GREEDY, ENDLESS, GREEDY):
            hostile.append(codes(verdict_of(impatient, attacker)))

    def ask(first: int) -> None:
        for rounds in range(first, first + 10):
            answers[rounds] = ask_rounds(impatient, rounds)

    threads = [threading.Thread(target=ask, args=(100 * number,)) for number in range(3)]
    threads.append(threading.Thread(target=attack))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hostile == [["policy.engine_failed"], ["policy.timeout"], ["policy.engine_failed"]]
    assert len(answers) == 30
    assert all(found == [str(rounds)] for rounds, found in answers.items())


def test_the_worker_outlives_the_thread_that_started_it() -> None:
    with EmbeddedEngine() as engine:
        thread = threading.Thread(target=lambda: verdict_of(engine, ECHO))
        thread.start()
        thread.join()
        pid = engine.worker_pid
        assert codes(verdict_of(engine, ECHO)) == ["test.echo"]
        assert engine.worker_pid == pid


def test_more_bundles_than_a_worker_holds_get_their_own_answers(engine: EmbeddedEngine) -> None:
    judged = [
        deciding(f'deny contains {{"code": "test.number", "message": "{number}"}}\n')
        for number in range(70)
    ]
    for _ in range(2):
        for number, each in enumerate(judged):
            verdict = engine.evaluate([each], {})
            messages = [r.message for r in verdict.deny if r.code == "test.number"]
            assert messages == [str(number)]


class Interrupted(Exception):
    """Stands for Ctrl-C."""


def test_an_interrupted_evaluation_leaves_no_answer_behind(patient: EmbeddedEngine) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    verdict_of(patient, ECHO)
    pid = patient.worker_pid
    assert pid is not None
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Interrupted):
            verdict_of(patient, ENDLESS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert gone(pid)
    assert ask_rounds(patient, 7) == ["7"]


FAULTY = {
    "is silent and ends": "",
    "answers no JSON": "read(); say('nonsense')",
    "answers half a line": "read(); sys.stdout.write('{'); sys.stdout.flush()",
    "answers another question": "read(); say(json.dumps({'id': 99, 'ok': True, 'value': 'ready'}))",
    "answers without a number": "read(); say(json.dumps({'ok': True, 'value': 'ready'}))",
    "answers a list": "read(); say('[1]')",
    "answers a bottomless list": "read(); say('[' * 900)",
    "says too much": "read(); say('x' * 2**21)",
    "fails while it starts": "raise SystemExit(3)",
}
PREFACE = """import json, sys
def read(): return json.loads(sys.stdin.readline())
def say(text): sys.stdout.write(text + "\\n"); sys.stdout.flush()
"""
GOOD_START = "q = read(); say(json.dumps({'id': q['id'], 'ok': True, 'value': 'ready'}))\n"


@pytest.fixture
def replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts another program in the worker's place."""

    def put(program: str) -> None:
        (tmp_path / "worker.py").write_text(PREFACE + program, encoding="utf-8")
        monkeypatch.setattr(_isolation, "_WORKER", tmp_path / "worker.py")

    return put


@pytest.mark.parametrize("fault", FAULTY)
def test_a_worker_that_does_not_start_well_denies(
    replaced: Callable[[str], None], fault: str
) -> None:
    replaced(FAULTY[fault])
    with EmbeddedEngine(time_limit=5.0) as engine:
        verdict = verdict_of(engine, bundle(QUIET))
        assert codes(verdict) == ["policy.engine_failed", "policy.engine_failed"]
        assert engine.worker_pid is None


@pytest.mark.parametrize("fault", FAULTY)
def test_a_worker_that_goes_wrong_denies(replaced: Callable[[str], None], fault: str) -> None:
    replaced(GOOD_START + FAULTY[fault])
    with EmbeddedEngine(time_limit=5.0) as engine:
        verdict = verdict_of(engine, bundle(QUIET))
        assert codes(verdict) == ["policy.engine_failed", "policy.engine_failed"]
        assert engine.worker_pid is None


@pytest.mark.parametrize(
    "value", ["null", "1", "[]", "{}", '{"deny": null}', '{"deny": 1}', '{"deny": "[]"}', '"x"']
)
def test_values_that_are_no_answer_deny(replaced: Callable[[str], None], value: str) -> None:
    answers = f"""
while True:
    q = read()
    value = {{"hello": "ready", "load": [q.get("key")]}}.get(q["op"], json.loads({value!r}))
    say(json.dumps({{"id": q["id"], "ok": True, "value": value}}))
"""
    replaced(answers)
    with EmbeddedEngine(time_limit=5.0) as engine:
        found = codes(verdict_of(engine, bundle(QUIET)))
        assert len(found) == 2
        assert set(found) <= {"policy.malformed", "policy.undefined"}


def test_an_interpreter_that_cannot_be_started_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with EmbeddedEngine() as engine:
        assert codes(verdict_of(engine, bundle(QUIET))) == ["policy.engine_failed"] * 2


@contextlib.contextmanager
def started() -> Iterator[Worker]:
    worker = Worker(256 * 2**20)
    try:
        yield worker
    finally:
        worker.end()


@pytest.mark.parametrize(
    "request_", [{}, {"op": None}, {"op": "no"}, {"op": "load"}, {"op": "eval", "key": "absent"}]
)
def test_a_worker_answers_a_wrong_question_with_an_error_and_lives(
    request_: dict[str, object],
) -> None:
    with started() as worker:
        with pytest.raises(RegoError):
            worker.ask(request_, 5.0, 10_000)
        assert worker.ask({"op": "hello"}, 5.0, 10_000) == "ready"


def test_a_worker_ends_when_its_parent_closes_the_pipe() -> None:
    with started() as worker:
        stdin = worker._process.stdin
        assert stdin is not None
        stdin.close()
        assert worker._process.wait() == 0


def test_the_alarm_ends_a_worker_that_nobody_else_ends() -> None:
    with started() as worker:
        text = "package a\n\np := " + 30 * "[" + 30 * "]"
        question = {"id": 1, "alarm": 0.2, "op": "ast", "path": "a", "text": text}
        assert worker._process.stdin is not None
        worker._process.stdin.write(json.dumps(question).encode() + b"\n")
        assert worker._process.wait() == -signal.SIGALRM


SCRIPT = """
import os, sys, threading
from sytff_policy.policy import EmbeddedEngine, make_bundle
engine = EmbeddedEngine(time_limit=120.0)
quiet = make_bundle("sytff.dataset", {"p.rego": sys.argv[1].encode()})
def answer(): return [reason.code for reason in engine.evaluate([quiet], {}).deny]
"""


def run_script(body: str, module: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT + body, module],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_forked_process_starts_a_worker_of_its_own() -> None:
    body = """
first, pid = answer(), engine.worker_pid
child = os.fork()
if child == 0:
    same = answer() == first and engine.worker_pid != pid
    engine.close()
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), answer() == first, engine.worker_pid == pid, first)
engine.close()
"""
    output, errors = run_script(body, ALWAYS).communicate()
    assert output == "0 True True ['policy.undefined', 'test.always']\n", errors


def test_no_worker_outlives_its_parent_idle() -> None:
    body = "answer()\nprint(engine.worker_pid, flush=True)\nsys.stdin.read()\n"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT + body, QUIET],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate()
    wait_until(lambda: gone(pid))


def test_timeouts_and_deaths_are_errors_of_their_own() -> None:
    text = "package a\n\np := " + 30 * "[" + 30 * "]"
    with started() as worker:
        with pytest.raises(EngineTimeout):
            worker.ask({"op": "ast", "path": "a", "text": text}, 0.05, 10_000)
        worker.end()
        with pytest.raises((EngineDied, ValueError)):
            worker.ask({"op": "hello"}, 5.0, 10_000)


def test_a_policy_cannot_see_what_an_earlier_one_left(engine: EmbeddedEngine) -> None:
    first = deciding('deny contains {"code": "a.b", "message": "c"}\n\nsecret := 1\n')
    second = bundle(f"{PACKAGE}deny contains {{'code': 1}} if secret\n".replace("'", '"'))
    assert codes(engine.evaluate([NODE, first], {}))[-1] == "a.b"
    assert codes(engine.evaluate([NODE, second], {}))[-1] == "policy.error"
