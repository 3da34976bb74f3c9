"""What a server counts and logs of its runs: each once, and nothing of what was said."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from swarm_brain import observers
from swarm_brain.graph.brain import graph
from swarm_brain.observers import ExpertEnded, RunEnded
from swarm_brain.server import logs, metrics
from swarm_brain.server.api_keys import User
from swarm_brain.server.metrics import OTHER, BoundedLabels
from swarm_brain.server.problems import Problem

HARD = "Why is the subject what it is?"


def run(**more: Any) -> Any:
    return graph.invoke({"question": HARD}, context={"model": "scripted:m", **more})


@pytest.fixture
def seen() -> Iterator[list[ExpertEnded | RunEnded]]:
    events: list[ExpertEnded | RunEnded] = []
    observers.observe(events.append)
    yield events
    observers.forget(events.append)


def test_each_answer_and_each_run_is_told_once(script, seen):
    observers.observe(seen.append)
    result = run()
    assert [type(event) for event in seen] == [ExpertEnded] * 8 + [RunEnded]
    assert {event.signal["source"] for event in seen[:8]} == {e["name"] for e in result["experts"]}
    assert (seen[-1].user, seen[-1].result["provenance"]) == (None, "full")


def test_who_has_signed_in_is_told(script, seen, monkeypatch):
    monkeypatch.setenv("SWARM_BRAIN_MODEL", "scripted:m")
    graph.invoke(
        {"question": HARD}, {"configurable": {"langgraph_auth_user": User("ada")}}
    )  # fmt: skip
    assert seen[-1].user == "ada"


def test_an_observer_that_fails_disturbs_no_run(script, seen, caplog):
    def broken(event):
        raise ZeroDivisionError("secret")

    observers.observe(broken)
    try:
        assert run()["provenance"] == "full"
    finally:
        observers.forget(broken)
    assert len(seen) == 9
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text


# ---- metrics


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_metrics_count_calls_tokens_and_runs(script):
    metrics.start()
    metrics.start()
    script.says["creative"] = ValueError("no")
    labels = {"expert": "synthesis", "model": "scripted:m"}
    names = ("swarm_brain_calls_total", "swarm_brain_latency_seconds_count",
             "swarm_brain_unpriced_total")  # fmt: skip
    degraded = {"provenance": "degraded", "stop_reason": "complete"}
    before = [value(name, **labels) for name in names]
    runs = value("swarm_brain_runs_total", **degraded)
    tokens = value("swarm_brain_tokens_total", **labels, kind="output")
    failures = sum(_failures("creative"))
    run(max_attempts=1)
    assert [value(name, **labels) for name in names] == [count + 1 for count in before]
    assert value("swarm_brain_runs_total", **degraded) == runs + 1
    assert value("swarm_brain_tokens_total", **labels, kind="output") > tokens
    assert sum(_failures("creative")) == failures + 1


def _failures(expert: str) -> list[float]:
    return [
        sample.value
        for family in REGISTRY.collect()
        if family.name == "swarm_brain_failures"
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["expert"] == expert
    ]


def test_names_that_users_choose_do_not_make_ever_new_labels():
    labels = BoundedLabels(2)
    assert [labels.label(name) for name in "abcac"] == ["a", "b", OTHER, "a", OTHER]
    assert len(BoundedLabels().label("x" * 10_000)) < 200


def test_metrics_are_shown_to_this_machine_and_else_to_keys(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    metrics.start()
    assert b"swarm_brain_runs_queued 0.0" in metrics.metrics_response({}, "127.0.0.1").body
    for headers, host in (({}, "10.0.0.1"), ({"x-forwarded-for": "10.0.0.1"}, "127.0.0.1")):
        with pytest.raises(Problem):
            metrics.metrics_response(headers, host)


# ---- logs


@pytest.fixture
def lines(monkeypatch) -> Iterator[Any]:
    """The lines that were logged, as objects."""
    root, ours = logging.getLogger(), logging.getLogger("swarm_brain")
    before = (root.handlers[:], root.level, ours.level)
    stream = io.StringIO()
    logs.start(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    observers.forget(logs._run)
    root.handlers[:], level, ours_level = before
    root.setLevel(level)
    ours.setLevel(ours_level)


def test_a_run_is_one_line_without_its_words(script, lines):
    result = run()
    (line,) = lines()
    assert (line["event"], line["level"], line["provenance"]) == ("run", "info", "full")
    assert (line["calls"], line["stop_reason"], line["owner"]) == (8, "complete", None)
    assert line["timestamp"].endswith("Z")
    assert "subject" not in json.dumps(line)
    assert result["final_output"] not in json.dumps(line)


async def test_a_request_is_one_line_when_its_stream_has_ended(lines):
    async def app(scope, receive, send):
        scope["state"] |= {"owner": "ada", "run": "r1", "thread_id": "t1"}
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        assert lines() == []
        await send({"type": "http.response.body", "body": b""})

    await served(app)
    (line,) = lines()
    assert (line["event"], line["method"], line["path"]) == ("request", "POST", "/v1/x")
    told = (line["status"], line["owner"], line["run"], line["thread_id"])
    assert told == (202, "ada", "r1", "t1")
    assert "secret" not in json.dumps(line)
    assert line["seconds"] >= 0


async def served(app: Any) -> None:
    scope = {"type": "http", "method": "POST", "path": "/v1/x", "query_string": b"key=secret",
             "headers": [(b"authorization", b"Bearer secret")]}  # fmt: skip

    async def send(message: Any) -> None:
        pass

    await logs.RequestLog(app)(scope, None, send)


async def test_an_error_that_nobody_handles_is_a_500(lines):
    async def app(scope, receive, send):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await served(app)
    assert [line["status"] for line in lines()] == [500]


def test_others_logs_are_objects_too(lines):
    logging.getLogger("httpx").info("POST with secret")
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("elsewhere").warning("odd %s", "thing", exc_info=True)
    (line,) = lines()
    assert (line["event"], line["logger"], line["level"]) == ("odd thing", "elsewhere", "warning")
    assert "ValueError: why" in line["exception"]
