"""`swarm-brain batch` as a command: killed, interrupted, resumed, limited, and large."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import DEFAULTS
from tests.integration.processes import until
from tests.integration.user import User

SIX = [f"What does subject number {n} mean?" for n in range(6)]
LOW = ("--effort", "low")
MEASURED = 100_000  # rows


def written(user: User, rows: list[Any], name: str = "q.jsonl") -> Path:
    path = user.folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answers(user: User, name: str = "q.answers.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (user.folder / name).read_text().splitlines()]


def finished(user: User) -> int:
    """How many rows stand in the journal."""
    path = user.folder / "q.answers.jsonl.journal"
    return path.read_bytes().count(b"\n") - 1 if path.exists() else 0


def synthesised(user: User) -> Counter[int]:
    """How often the answer to each row was written."""
    found: Counter[int] = Counter()
    for request in user.served.script.of("synthesis"):
        found[int(re.search(r"subject number (\d+)", request["user"])[1])] += 1
    return found


@contextmanager
def held_after(user: User, first: int):
    """Rows from this one on wait for their drafts until the block ends."""
    released = threading.Event()

    def draft(request: dict[str, Any]) -> str:
        if int(re.search(r"subject number (\d+)", request["user"])[1]) >= first:
            released.wait(30)
        return DEFAULTS["reasoning"]

    user.served.script.says["reasoning"] = draft
    try:
        yield
    finally:
        released.set()


def test_answers_come_in_order_each_with_what_it_took(user):
    rows = [
        {"question": SIX[0], "id": "first", "metadata": {"k": 1}},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "user", "content": SIX[1]}]},
        {"question": SIX[2], "settings": {"effort": "high"}},
        SIX[3],
    ]
    written(user, rows)
    done = user.run("batch", "q.jsonl", *user.here, *LOW)
    assert done.returncode == 0, done.stderr
    assert "4 answered, 0 failed, 0 not sent" in done.stderr
    found = answers(user)
    assert [row["line"] for row in found] == [1, 2, 3, 4]
    assert (found[0]["id"], found[0]["metadata"]) == ("first", {"k": 1})
    assert {row["final_output"] for row in found} == {DEFAULTS["synthesis"]}
    assert {(row["status"], row["provenance"]) for row in found} == {("answered", "full")}
    assert [len(row["experts"]) for row in found] == [3, 3, 8, 3]
    assert all(row["usage"]["input_tokens"] > 0 and row["duration_s"] > 0 for row in found)
    assert {path.name for path in user.folder.glob("q.*")} == {"q.jsonl", "q.answers.jsonl"}
    assert not (user.folder / "data" / "threads.sqlite").exists()


@pytest.mark.slow
def test_a_killed_batch_goes_on_and_asks_nothing_twice(user):
    written(user, SIX)
    words = ("batch", "q.jsonl", *user.here, *LOW, "--concurrency", "1")
    with held_after(user, 2), user.started(*words) as child:
        until(lambda: finished(user) == 2 and user.asked()["reasoning"] == 3, 60, child)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
    kept = finished(user)
    assert kept == 2
    assert not (user.folder / "q.answers.jsonl").exists()
    before = synthesised(user)
    refused = user.run(*words)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    done = user.run(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert synthesised(user) - before == Counter(range(kept, 6))
    assert all(synthesised(user)[n] == 1 for n in range(kept))
    assert [row["line"] for row in answers(user)] == [1, 2, 3, 4, 5, 6]
    assert {row["status"] for row in answers(user)} == {"answered"}


@pytest.mark.slow
def test_ctrl_c_ends_at_once_keeps_what_is_done_and_says_how_to_go_on(user):
    written(user, SIX)
    words = ("batch", "q.jsonl", *user.here, *LOW, "--concurrency", "2")
    with held_after(user, 2), user.started(*words) as child:
        until(lambda: finished(user) == 2 and user.asked()["reasoning"] == 4, 60, child)
        started = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=10)
        spent = time.monotonic() - started
    assert child.returncode == 1
    assert spent < 2  # one second, and another for a busy machine
    assert "rows are answered and saved in q.answers.jsonl.journal" in told
    assert "--resume" in told
    assert "Traceback" not in told
    changed = user.run(*words, "--resume", "--setting", "temperature=0.1")
    assert changed.returncode == 2
    assert "settings.temperature was None, is 0.1" in changed.stderr
    written(user, [*SIX, "One more?"])
    changed = user.run(*words, "--resume")
    assert changed.returncode == 2
    assert "questions was" in changed.stderr
    written(user, SIX)
    assert user.run(*words, "--resume").returncode == 0
    assert len(answers(user)) == 6


def test_failures_stand_in_their_place_and_can_be_asked_again(user):
    broken = user.folder / "q.jsonl"
    broken.write_text(json.dumps(SIX[0]) + "\nnot json\n" + json.dumps(SIX[2]) + "\n")

    def fails(request: dict[str, Any]) -> Any:
        if "number 2" in request["user"]:
            return (401, {"Content-Type": "application/json"}, '{"error": {"message": "no"}}')
        return DEFAULTS[request["expert"]]

    for name in DEFAULTS:
        user.served.script.says[name] = fails
    words = ("batch", "q.jsonl", *user.here, *LOW, "--setting", "on_error=raise")
    done = user.run(*words)
    assert done.returncode == 1
    assert "1 of 3 rows cannot be asked: line 2: not JSON" in done.stderr
    first, bad, failed = answers(user)
    assert (first["status"], first["error"]) == ("answered", None)
    assert (bad["status"], bad["line"]) == ("failed", 2)
    assert failed["status"] == "failed"
    assert "401" in failed["error"]
    for name in DEFAULTS:
        user.served.script.says[name] = DEFAULTS[name]
    before = synthesised(user)
    done = user.run(*words, "--retry-failed")
    assert done.returncode == 1  # the row that is no JSON stays one
    assert synthesised(user) - before == Counter([2])
    assert [row["status"] for row in answers(user)] == ["answered", "failed", "answered"]


def test_a_budget_ends_the_batch_and_a_larger_one_goes_on(user):
    written(user, SIX)
    words = ("batch", "q.jsonl", *user.here, *LOW, "--max-tokens", "64")
    done = user.run(*words, "--budget-tokens", "2500")
    assert done.returncode == 4, done.stderr
    assert "next row may take" in done.stderr
    found = answers(user)
    sent = [row for row in found if row["status"] == "answered"]
    assert 0 < len(sent) < 6
    assert {row["error"] for row in found[len(sent) :]} == {"not sent: budget"}
    assert {row["provenance"] for row in sent} == {"full"}
    spent = sum(row["usage"]["input_tokens"] + row["usage"]["output_tokens"] for row in sent)
    assert spent <= 2500
    usage = user.run(*words, "--resume", "--output", "-")
    assert (usage.returncode, "--output" in usage.stderr) == (2, True)
    done = user.run(*words, "--budget-tokens", "60000", "--resume")
    assert done.returncode == 0, done.stderr
    assert synthesised(user) == Counter(range(6))
    refused = user.run(*words, "--budget-usd", "1", "--output", "other.jsonl")
    assert refused.returncode == 2
    assert "price" in refused.stderr
    assert not (user.folder / "other.jsonl").exists()


def test_standard_input_and_output(user):
    rows = "".join(json.dumps(question) + "\n" for question in SIX[:3])
    done = user.alone("batch", "-", *user.here, *LOW, stdin=rows)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["line"] for line in done.stdout.splitlines()] == [1, 2, 3]
    assert {path.name for path in user.folder.iterdir()} <= {"data", "config"}


@pytest.mark.slow
def test_two_processes_do_not_write_the_same_answers(user):
    written(user, SIX)
    words = ("batch", "q.jsonl", *user.here, *LOW)
    with user.started(*words) as child:
        with held_after(user, 0):
            until(lambda: user.asked()["reasoning"] > 0, 60, child)
            done = user.run(*words, "--resume")
            assert done.returncode == 2
            assert "Another process" in done.stderr
        assert child.wait(30) == 0


@pytest.mark.slow
def test_a_large_file_starts_soon_and_takes_no_memory(user):
    with (user.folder / "q.jsonl").open("w") as file:
        for n in range(MEASURED):
            file.write(json.dumps({"question": f"What is {n} plus {n}? {'x' * 100}"}) + "\n")
    with user.started("batch", "q.jsonl", "--model", "simulation:", *LOW) as child:
        started = time.monotonic()
        until(lambda: finished(user) > 0, 30, child)
        assert time.monotonic() - started < 15  # alone on two cores: 2
        until(lambda: finished(user) > 50, 60, child)
        if sys.platform == "linux":
            status = Path(f"/proc/{child.pid}/status").read_text()
            assert int(re.search(r"VmHWM:\s+(\d+)", status)[1]) < 160_000  # kB; measured: 93,000
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 1
