"""`swarm-brain ask --url`: told like the answer of the brain in this process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarm_brain.graph.brain import graph
from swarm_brain.graph.state import RESULT_KEYS, BrainOutput
from swarm_brain.remote import connect
from tests.integration.commands import COMMAND, Finished, run_here
from tests.integration.processes import REPO, plain_environment, process
from tests.integration.studio.dev_server import ANSWER, HARD, SIMPLE


def environment(home: Path, **more: str) -> dict[str, str]:
    return plain_environment(home, PYTHONPATH=str(REPO), **more)


Ask = Callable[..., Finished]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """`swarm-brain ask ... --url`."""

    def run_it(url: str, *arguments: str) -> Finished:
        words = ("ask", *arguments, "--url", url)
        return run_here(*words, cwd=tmp_path, env=environment(tmp_path))

    return run_it


def told(done: Finished) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_server_answers_like_the_local_brain(ask, tmp_path: Path, server, served, client):
    """The same keys, the same answer, the same experts by the same wakings."""
    there = told(ask(server, HARD, "--json"))
    local = environment(tmp_path, OPENAI_COMPATIBLE_BASE_URL=served.url)
    words = ("ask", HARD, "--json", "--model", "openai-compatible:m")
    here = told(run_here(*words, cwd=tmp_path, env=local))
    assert set(there) == set(here) == set(RESULT_KEYS)
    own = ("thread_id", "experts", "usage", "recalled", "notes")
    assert {k: v for k, v in there.items() if k not in own} == {
        k: v for k, v in here.items() if k not in own
    }
    for mine, other in zip(here["experts"], there["experts"], strict=True):
        assert {**mine, "latency_s": 0, "input_tokens": 0, "model": ""} == {
            **other, "latency_s": 0, "input_tokens": 0, "model": ""
        }  # fmt: skip
    assert there["final_output"] == ANSWER
    kept = client.threads.get_state(there["thread_id"])["values"]
    assert kept["final_output"] == ANSWER


def test_piped_the_answer_alone_is_on_standard_output(ask, server, served):
    done = ask(server, SIMPLE)
    assert (done.returncode, done.stdout) == (0, ANSWER + "\n")
    assert f"asking {server}" in done.stderr
    assert "experts: perception ok, reasoning ok, synthesis ok" in done.stderr
    assert "full (complete) · effort low · 3 steps · 3 calls" in done.stderr


def test_settings_travel_and_bad_ones_are_refused_before(ask, server, served):
    answer = told(ask(server, HARD, "--json", "--max-steps", "2", "--temperature", "0.1"))
    assert (answer["steps"], answer["stop_reason"]) == (2, "max_steps")
    assert served.bodies[-1]["temperature"] == 0.1
    asked = len(served.bodies)
    for arguments in (["--max-steps", "0"], ["--expert-model", "nobody=simulation:"]):
        done = ask(server, HARD, *arguments)
        assert done.returncode == 2, done.stderr
        assert "--max-steps" in done.stderr or "nobody" in done.stderr
    assert len(served.bodies) == asked


def test_a_simulation_there_is_exit_code_3(ask, server):
    done = ask(server, SIMPLE, "--model", "simulation:", "--json")
    assert (done.returncode, json.loads(done.stdout)["provenance"]) == (3, "simulated")


def test_a_thread_has_a_name_on_the_server(ask, server, served, client):
    first = told(ask(server, "What does Ada mean?", "--json", "--thread", "names"))
    again = told(ask(server, SIMPLE, "--json", "--thread", "names"))
    by_id = told(ask(server, SIMPLE, "--json", "--thread", first["thread_id"]))
    assert first["thread_id"] == again["thread_id"] == by_id["thread_id"]
    assert "What does Ada mean?" in served.script.of("reasoning")[-1]["user"]
    assert len(client.threads.search(metadata={"name": "names"})) == 1


def test_no_save_leaves_no_thread(ask, server, client):
    before = len(client.threads.search(limit=1000))
    answer = told(ask(server, "What does nothing mean?", "--json", "--no-save"))
    assert answer["thread_id"] is None
    assert len(client.threads.search(limit=1000)) == before


def test_a_pause_is_exit_code_4_and_is_decided_on_the_server(ask, server, client):
    done = ask(server, HARD, "--json", "--thread", "waits", "--pause-before", "creative")
    assert done.returncode == 4, done.stderr
    paused = json.loads(done.stdout)
    assert paused["paused"][0]["expert"] == "creative"
    assert paused["usage"]["calls"] == 5  # intake and two of three drafts
    assert "is saved on the server" in done.stderr
    refused = ask(server, HARD, "--thread", "waits")
    assert refused.returncode == 1
    assert "waits for a decision" in refused.stderr
    result = client.runs.wait(paused["thread_id"], "brain", command={"resume": "approve"})
    assert result["provenance"] == "full"
    assert ask(server, SIMPLE, "--thread", "waits").returncode == 0


def test_an_interrupted_question_is_ended_on_the_server(tmp_path: Path, server, served, client):
    served.script.says["synthesis"] = lambda request: time.sleep(3) or "late"
    command = (COMMAND, "ask", HARD, "--json", "--url", server)
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    asked = len(served.script.of("synthesis"))
    with process(*command, cwd=tmp_path, env=environment(tmp_path), **pipes) as child:
        while len(served.script.of("synthesis")) == asked:
            assert child.poll() is None
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=10)
    left = json.loads(out)
    assert (child.returncode, left["error"]) == (1, "interrupted")
    assert left["usage"]["calls"] == 6
    assert "Interrupted after 6 finished calls" in err
    assert "is saved on the server" in err
    time.sleep(3.5)  # the endpoint has answered by now, and nobody has asked the critic
    state = client.threads.get_state(left["thread_id"])
    assert "meta_cognitive" not in {signal["source"] for signal in state["values"]["signals"]}
    assert not state["values"].get("final_output")


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("http://127.0.0.1:9", 1, "cannot be reached"),
        ("http://no-host.invalid", 1, "cannot be reached"),
        ("localhost:2024", 2, "write http://HOST:PORT"),
        ("{server}/somewhere", 1, "Is it a LangGraph server"),
    ],
)
def test_a_wrong_address_is_told_at_once(ask, server, url, code, says):
    url = url.format(server=server)
    started = time.monotonic()
    done = ask(url, HARD, "--json")
    assert time.monotonic() - started < 8
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["stop_reason"] == "failed"


async def test_from_python_it_is_used_like_the_local_graph(server, served, monkeypatch):
    monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", served.url)
    remote, context = connect(server), {"model": "openai-compatible:m"}
    there = await remote.ainvoke({"question": HARD}, context=context)
    here = await graph.ainvoke({"question": HARD}, context=context)
    assert set(there) == set(here) == set(BrainOutput.__annotations__)
    assert [type(m) for m in there["messages"]] == [type(m) for m in here["messages"]]
    question, modes = {"question": HARD}, ["custom", "messages", "updates"]
    streams = [
        [part async for part in brain.astream(question, context=context, stream_mode=modes)]
        for brain in (graph, remote)
    ]
    local, far = ([shape(part) for part in stream] for stream in streams)
    assert sorted(local) == sorted(far)


def shape(part: Any) -> str:
    """What kind of part it is, of which expert; siblings come in any order."""
    mode, data = part
    match mode:
        case "custom":
            return f"custom {data['event']} {data.get('expert')} {data.get('step')}"
        case "messages":
            message, about = data
            return f"messages {type(message).__name__} {about['langgraph_node']} {message.text!r}"
        case _:
            return f"updates {sorted(data)}"
