"""Runs that survive being killed: real processes and HTTP, SIGKILL, and the endpoint's own log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from tests.fakes import DEFAULTS
from tests.integration.processes import until
from tests.integration.user import EIGHT, HARD

WAVES = [
    ("memory", {"perception", "attention"}),
    ("analytical", {"perception", "attention", "memory", "reasoning", "creative"}),
    ("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"}),
    ("meta_cognitive", {*EIGHT} - {"meta_cognitive"}),
]


@pytest.mark.parametrize(("expert", "finished"), WAVES, ids=[wave[0] for wave in WAVES])
def test_a_killed_run_goes_on_and_repeats_no_finished_call(user, expert, finished):
    user.kill_in(expert, finished, "--budget-tokens", "40000")
    assert user.asked() == Counter(finished) + Counter([expert])
    result = user.json("threads", "resume", "t")

    expected = Counter(EIGHT) + Counter([expert])
    assert user.asked() == expected
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
    assert [item["text"] for item in user.json("memory", "list")] == [HARD]


@pytest.mark.slow
def test_a_budget_covers_what_was_spent_before_the_crash(user):
    """Two siblings had finished in the wave of the crash: their state does not show it yet."""
    user.kill_in("memory", {"perception", "attention"}, "--budget-tokens", "40000")
    first = user.run("threads", "resume", "t", "--json", "--budget-tokens", "1500")
    result = json.loads(first.stdout)
    assert result["stop_reason"] == "budget"
    usage = result["usage"]
    spent = usage["input_tokens"] + usage["output_tokens"]
    assert spent <= 1500
    assert result["provenance"] in ("degraded", "simulated")


@pytest.mark.slow
def test_a_run_killed_twice_counts_every_request(user):
    user.kill_in("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"})
    user.slow.held = "synthesis"
    with user.started("threads", "resume", "t") as child:
        until(lambda: user.asked()["synthesis"] == 2, 60, child)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
    user.slow.held = ""
    result = user.json("threads", "resume", "t")
    (synthesis,) = [entry for entry in result["experts"] if entry["name"] == "synthesis"]
    assert (synthesis["attempts"], synthesis["estimated"]) == (3, True)
    assert result["usage"]["calls"] == 10
    assert user.asked() == Counter(EIGHT) + Counter({"synthesis": 2})


@pytest.mark.slow
def test_an_unfinished_thread_is_refused_with_the_command_that_resumes_it(user):
    user.kill_in("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"})
    refused = user.run("ask", "Something else?", *user.here, "--thread", "t")
    assert refused.returncode == 1
    assert "swarm-brain threads resume t" in refused.stderr
    (row,) = user.json("threads", "list")
    assert (row["thread"], row["state"]) == ("t", "unfinished")
    (run,) = user.json("threads", "show", "t")
    assert run["result"] is None
    assert run["next"] == ["synthesis"]
    assert [step["step"] for step in run["steps"]] == [1, 2]


@pytest.mark.slow
def test_a_resumed_run_keeps_its_own_settings(user):
    user.kill_in("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"},
                  "--temperature", "0.31", "--max-tokens", "77", "--max-steps", "3")  # fmt: skip
    user.json("threads", "resume", "t", SWARM_BRAIN_MODEL="simulation:")
    body = user.served.bodies[-1]
    assert (body["model"], body["temperature"]) == ("m", 0.31)
    assert body.get("max_tokens", body.get("max_completion_tokens")) == 77
    assert user.asked()["meta_cognitive"] == 0


@pytest.mark.slow
def test_a_changed_topology_is_refused_by_name(user):
    topology = user.folder / "mine.yaml"
    topology.write_text("extends: eight\nexperts:\n  creative: {temperature: 0.9}\n")
    user.kill_in("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"},
                  "--topology", str(topology))  # fmt: skip
    topology.write_text("extends: eight\nexperts:\n  creative: {temperature: 0.8}\n")
    refused = user.run("threads", "resume", "t")
    assert refused.returncode == 1
    assert "mine.yaml" in refused.stderr
    assert "changed" in refused.stderr
    topology.write_text("extends: eight\nexperts:\n  creative: {temperature: 0.9}\n")
    assert user.json("threads", "resume", "t")["provenance"] == "full"


def test_one_thread_runs_in_one_process(user):
    user.slow.held = "synthesis"
    with user.started("ask", HARD, *user.here, "--thread", "t") as child:
        until(lambda: user.asked()["synthesis"] == 1, 60, child)
        for words in (("ask", "And?", *user.here, "--thread", "t"), ("threads", "resume", "t")):
            refused = user.run(*words)
            assert refused.returncode == 1
            assert "running in another process" in refused.stderr
        user.slow.held = ""
        child.wait(20)
        assert child.returncode == 0
    assert user.asked() == Counter(EIGHT)


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


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "within", "after"])
def test_killed_while_it_remembers(user, where):
    command = [sys.executable, "-c", KILLED_WHILE_REMEMBERING, where]
    words = ["ask", HARD, *user.here, "--thread", "t"]
    done = subprocess.run([*command, *words], cwd=user.folder, env=user.environment,
                          capture_output=True, timeout=60)  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    remembered = user.json("memory", "list")
    assert len(remembered) == (where == "after")
    assert user.json("memory", "stats")["unconsolidated"] == len(remembered)
    result = user.json("threads", "resume", "t")
    assert result["provenance"] == "full"
    assert user.asked() == Counter(EIGHT)
    (episode,) = user.json("memory", "list")
    assert episode["answer"] == DEFAULTS["synthesis"]
    (found,) = user.json("memory", "search", HARD)
    assert found["score"] == pytest.approx(1, abs=1e-3)


def test_a_folder_that_cannot_be_written_costs_no_answer(user):
    blocked = user.folder / "file"
    blocked.write_text("a file where a folder should be")
    done = user.run("ask", HARD, *user.here, SWARM_BRAIN_DATA_DIR=str(blocked / "data"))
    assert done.returncode == 0
    assert done.stdout.strip() == DEFAULTS["synthesis"]
    assert "cannot be used" in done.stderr
    assert str(blocked) in done.stderr
    assert "Traceback" not in done.stderr
    refused = user.run("threads", "list", SWARM_BRAIN_DATA_DIR=str(blocked / "data"))
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


@pytest.mark.slow
@pytest.mark.parametrize("limit", [16_384, 40_960, 65_536])
def test_a_full_disk_costs_no_answer(user, limit):
    """No file may grow beyond the limit: SQLite sees what it sees on a full disk."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(limit), "ask", HARD, *user.here, "--thread", "t"],
        cwd=user.folder, env=user.environment, capture_output=True, timeout=60, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == DEFAULTS["synthesis"]
    assert "cannot be" in done.stderr or "not saved" in done.stderr
    assert "Traceback" not in done.stderr
