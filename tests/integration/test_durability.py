"""Runs that survive being killed: real processes and HTTP, SIGKILL, and the endpoint's own log."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import DEFAULTS, Endpoint, Script, endpoint
from tests.integration.processes import plain_environment, process, until

pytestmark = [pytest.mark.integration, pytest.mark.parallel]

COMMAND = Path(sys.executable).with_name("swarm-brain")
HARD = "Why is the subject what it is?"
EIGHT = ["perception", "attention", "memory", "reasoning", "creative", "analytical", "synthesis",
         "meta_cognitive"]  # fmt: skip
WAVES = [
    ("memory", {"perception", "attention"}),
    ("analytical", {"perception", "attention", "memory", "reasoning", "creative"}),
    ("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"}),
    ("meta_cognitive", {*EIGHT} - {"meta_cognitive"}),
]
LONG = 30.0  # seconds that the slow expert's reply takes until it is released


class Slow:
    """Lets one expert's replies wait until they are released."""

    def __init__(self, script: Script) -> None:
        self.script, self.held, self.seconds = script, "", LONG
        for name in EIGHT:
            script.says[name] = self._says(name)

    def _says(self, name: str):
        def say(request: dict[str, Any]) -> Any:
            end = time.monotonic() + self.seconds
            while self.held == name and time.monotonic() < end:
                time.sleep(0.02)
            return DEFAULTS[name]

        return say


@dataclass
class Place:
    """A user's folder, and the endpoint that is asked from there."""

    folder: Path
    served: Endpoint
    slow: Slow

    @property
    def here(self) -> tuple[str, ...]:
        return ("--model", "openai-compatible:m", "--base-url", self.served.url)

    @property
    def environment(self) -> dict[str, str]:
        data = {"SWARM_BRAIN_DATA_DIR": str(self.folder / "data")}
        key = {"OPENAI_COMPATIBLE_API_KEY": "k"}
        return plain_environment(self.folder, **data, **key)

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([COMMAND, *words], cwd=self.folder, text=True, capture_output=True,
                              timeout=60, env=self.environment | more)  # fmt: skip

    def json(self, *words: str, **more: str) -> Any:
        done = self.run(*words, "--json", **more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def started(self, *words: str):
        return process(COMMAND, *words, cwd=self.folder, env=self.environment,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    def written(self) -> int:
        """How many experts' signals have reached the checkpointer."""
        path = self.folder / "data" / "threads.sqlite"
        if not path.exists():
            return 0
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            try:
                sql = "SELECT COUNT(DISTINCT task_id) FROM writes WHERE channel = 'signals'"
                return int(connection.execute(sql).fetchone()[0])
            except sqlite3.OperationalError:
                return 0

    def asked(self) -> Counter[str]:
        return Counter(self.served.script.askers)

    def kill_in(self, expert: str, finished: set[str], *words: str) -> None:
        """Ask, and kill the process when all of `finished` are saved and `expert` is asked.

        `begin` writes an (empty) list of signals, too.
        """
        self.slow.held = expert
        with self.started("ask", HARD, *self.here, "--thread", "t", *words) as child:
            until(lambda: self.written() == len(finished) + 1 and self.asked()[expert] == 1,
                  20, child)  # fmt: skip
            os.kill(child.pid, signal.SIGKILL)
            child.wait(10)
        self.slow.held = ""


@pytest.fixture
def place(tmp_path: Path):
    script = Script()
    slow = Slow(script)
    with endpoint(script) as served:
        yield Place(tmp_path, served, slow)
        slow.held = ""


@pytest.mark.parametrize(("expert", "finished"), WAVES, ids=[wave[0] for wave in WAVES])
def test_a_killed_run_goes_on_and_repeats_no_finished_call(place, expert, finished):
    place.kill_in(expert, finished, "--budget-tokens", "40000")
    assert place.asked() == Counter(finished) + Counter([expert])
    result = place.json("threads", "resume", "t")

    expected = Counter(EIGHT) + Counter([expert])
    assert place.asked() == expected
    assert result["provenance"] == "full"
    assert result["final_output"] == DEFAULTS["synthesis"]
    assert result["thread_id"] == "t"
    assert result["usage"]["calls"] == 9
    reports = {entry["name"]: entry for entry in result["experts"]}
    assert [name for name, entry in reports.items() if entry["estimated"]] == [expert]
    assert reports[expert]["attempts"] == 2
    others = [entry for name, entry in reports.items() if name != expert]
    assert {entry["attempts"] for entry in others} == {1}
    # What was in flight is charged at its reservation: its bound, and the longest reply.
    reply = len(DEFAULTS[expert].split())
    assert reports[expert]["output_tokens"] >= reply + 256
    assert result["usage"]["output_tokens"] == sum(e["output_tokens"] for e in reports.values())
    assert [item["text"] for item in place.json("memory", "list")] == [HARD]


def test_a_budget_covers_what_was_spent_before_the_crash(place):
    """Two siblings had finished in the wave of the crash: their state does not show it yet."""
    place.kill_in("memory", {"perception", "attention"}, "--budget-tokens", "40000")
    first = place.run("threads", "resume", "t", "--json", "--budget-tokens", "1500")
    result = json.loads(first.stdout)
    assert result["stop_reason"] == "budget"
    usage = result["usage"]
    spent = usage["input_tokens"] + usage["output_tokens"]
    assert spent <= 1500
    assert result["provenance"] in ("degraded", "simulated")


def test_a_run_killed_twice_counts_every_request(place):
    place.kill_in("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"})
    place.slow.held = "synthesis"
    with place.started("threads", "resume", "t") as child:
        until(lambda: place.asked()["synthesis"] == 2, 20, child)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
    place.slow.held = ""
    result = place.json("threads", "resume", "t")
    (synthesis,) = [entry for entry in result["experts"] if entry["name"] == "synthesis"]
    assert (synthesis["attempts"], synthesis["estimated"]) == (3, True)
    assert result["usage"]["calls"] == 10
    assert place.asked() == Counter(EIGHT) + Counter({"synthesis": 2})


def test_an_unfinished_thread_is_refused_with_the_command_that_resumes_it(place):
    place.kill_in("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"})
    refused = place.run("ask", "Something else?", *place.here, "--thread", "t")
    assert refused.returncode == 1
    assert "swarm-brain threads resume t" in refused.stderr
    (row,) = place.json("threads", "list")
    assert (row["thread"], row["state"]) == ("t", "unfinished")
    (run,) = place.json("threads", "show", "t")
    assert run["result"] is None
    assert run["next"] == ["synthesis"]
    assert [step["step"] for step in run["steps"]] == [1, 2]


def test_a_resumed_run_keeps_its_own_settings(place):
    place.kill_in("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"},
                  "--temperature", "0.31", "--max-tokens", "77", "--max-steps", "3")  # fmt: skip
    place.json("threads", "resume", "t", SWARM_BRAIN_MODEL="simulation:")
    body = place.served.bodies[-1]
    assert (body["model"], body["temperature"]) == ("m", 0.31)
    assert body.get("max_tokens", body.get("max_completion_tokens")) == 77
    assert place.asked()["meta_cognitive"] == 0


def test_a_changed_topology_is_refused_by_name(place):
    topology = place.folder / "mine.yaml"
    topology.write_text("extends: eight\nexperts:\n  creative: {temperature: 0.9}\n")
    place.kill_in("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"},
                  "--topology", str(topology))  # fmt: skip
    topology.write_text("extends: eight\nexperts:\n  creative: {temperature: 0.8}\n")
    refused = place.run("threads", "resume", "t")
    assert refused.returncode == 1
    assert "mine.yaml" in refused.stderr
    assert "changed" in refused.stderr
    topology.write_text("extends: eight\nexperts:\n  creative: {temperature: 0.9}\n")
    assert place.json("threads", "resume", "t")["provenance"] == "full"


def test_one_thread_runs_in_one_process(place):
    place.slow.held = "synthesis"
    with place.started("ask", HARD, *place.here, "--thread", "t") as child:
        until(lambda: place.asked()["synthesis"] == 1, 20, child)
        for words in (("ask", "And?", *place.here, "--thread", "t"), ("threads", "resume", "t")):
            refused = place.run(*words)
            assert refused.returncode == 1
            assert "running in another process" in refused.stderr
        place.slow.held = ""
        child.wait(20)
        assert child.returncode == 0
    assert place.asked() == Counter(EIGHT)


KILLED_WHILE_REMEMBERING = """
import asyncio, os, signal, sys
from swarm_brain.memory import store
from swarm_brain.cli import main
where = sys.argv.pop(1)
real = store.SqlStore._put
def put(self, execute, item, vector):
    episode = item.value and item.value.get("kind") == "episode"
    if episode and where == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, execute, item, vector)
    if episode and where == "within":
        os.kill(os.getpid(), signal.SIGKILL)
store.SqlStore._put = put
batch = store.SqlStore.batch
def after(self, ops):
    ops = list(ops)
    done = batch(self, ops)
    if where == "after" and any(getattr(op, "value", None) and op.value.get("kind") == "episode" for op in ops):
        os.kill(os.getpid(), signal.SIGKILL)
    return done
store.SqlStore.batch = after
main()
"""  # noqa: E501


@pytest.mark.parametrize("where", ["before", "within", "after"])
def test_killed_while_it_remembers(place, where):
    command = [sys.executable, "-c", KILLED_WHILE_REMEMBERING, where]
    words = ["ask", HARD, *place.here, "--thread", "t"]
    done = subprocess.run([*command, *words], cwd=place.folder, env=place.environment,
                          capture_output=True, timeout=60)  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    remembered = place.json("memory", "list")
    assert len(remembered) == (where == "after")
    assert place.json("memory", "stats")["unconsolidated"] == len(remembered)
    result = place.json("threads", "resume", "t")
    assert result["provenance"] == "full"
    assert place.asked() == Counter(EIGHT)
    (episode,) = place.json("memory", "list")
    assert episode["answer"] == DEFAULTS["synthesis"]
    (found,) = place.json("memory", "search", HARD)
    assert found["score"] == pytest.approx(1, abs=1e-3)


def test_a_folder_that_cannot_be_written_costs_no_answer(place):
    blocked = place.folder / "file"
    blocked.write_text("a file where a folder should be")
    done = place.run("ask", HARD, *place.here, SWARM_BRAIN_DATA_DIR=str(blocked / "data"))
    assert done.returncode == 0
    assert done.stdout.strip() == DEFAULTS["synthesis"]
    assert "cannot be used" in done.stderr
    assert str(blocked) in done.stderr
    assert "Traceback" not in done.stderr
    refused = place.run("threads", "list", SWARM_BRAIN_DATA_DIR=str(blocked / "data"))
    assert refused.returncode == 1
    assert str(blocked) in refused.stderr


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from swarm_brain.cli import main
main()
"""


@pytest.mark.parametrize("limit", [16_384, 40_960, 65_536])
def test_a_full_disk_costs_no_answer(place, limit):
    """No file may grow beyond the limit: SQLite sees what it sees on a full disk."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(limit), "ask", HARD, *place.here, "--thread", "t"],
        cwd=place.folder, env=place.environment, capture_output=True, timeout=60, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == DEFAULTS["synthesis"]
    assert "cannot be" in done.stderr or "not saved" in done.stderr
    assert "Traceback" not in done.stderr
