"""A saved run reports what the live run reported."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from swarm_brain.graph.brain import Brain, compile_brain
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import BrainError, ModelError, ThreadError
from swarm_brain.graph.events import Event
from swarm_brain.graph.loading import load
from swarm_brain.models import choose
from swarm_brain.runs.failures import failed
from swarm_brain.runs.fork import fork
from swarm_brain.runs.live import Start, events
from swarm_brain.runs.replay import replay
from swarm_brain.runs.resume import decided
from swarm_brain.threads.checkpoints import config_of, last_states, latest, saved_state, saver_of
from swarm_brain.threads.sqlite import open_sqlite
from tests.fakes import FakeChat, Script, asker, bind_script

HARD = "Why is the subject what it is?"
SIMPLE = "What does subject mean?"
DEFECT = '{"defects": [{"quote": "The subject", "problem": "vague"}]}'
FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def brain() -> Brain:
    return compile_brain(checkpointer=InMemorySaver())


SLOW = ["reasoning", "analytical", "creative"]  # in the order in which they end


class Slow(FakeChat):
    """Some replies come late."""

    def respond(self, messages, arguments):
        expert = asker(messages[0].text)
        delay = 0.06 * (SLOW.index(expert) + 1) if expert in SLOW else 0.0
        return replace(super().respond(messages, arguments), delay=delay)


class Breaking(FakeChat):
    """The first reply of synthesis breaks off after three words."""

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        breaks = asker(messages[0].text) == "synthesis" and not self.script.of("synthesis")
        number = 0
        async for chunk in super()._astream(messages, stop, run_manager, **kwargs):
            if breaks and number == 3:
                raise ModelError("connection", "broken")
            number += 1
            yield chunk


@pytest.fixture
def bind(script: Script, monkeypatch: pytest.MonkeyPatch):
    """Let every model be this one."""

    def put(chat: FakeChat) -> None:
        def bound(spec: str, base_url: str | None = None):
            return replace(bind_script(script, spec), tuned=lambda sampling: chat)

        monkeypatch.setattr(choose, "bind", bound)

    return put


async def live(brain: Brain, start: Start, **context: Any) -> list[Event]:
    """What a run reports until it pauses, ends or fails; tokens apart."""
    settings = make_context({"model": "scripted:m", **context}) if start.input else None
    reported: list[Event] = []
    try:
        async with aclosing(events(brain, start, settings)) as run:
            async for event in run:
                reported.append(event)
    except BrainError as error:
        reported.append(failed(error))
    return [event for event in reported if event["event"] != "token"]


def ask(question: str, thread: str = "t") -> Start:
    return Start({"question": question}, config_of(thread), thread, "r")


async def saved(brain: Brain, thread: str = "t") -> list[Event]:
    return replay(await latest(saver_of(brain), thread), thread)


def same(live: list[Event], saved: list[Event]) -> None:
    """Compare runs. The id in `started` names the call, which a saved run has not."""
    assert live[0]["event"] == saved[0]["event"] == "started"
    assert live[0]["thread"] == saved[0]["thread"]
    assert live[1:] == saved[1:]
    json.dumps(saved)


def count(run: list[Event], kind: str) -> int:
    return [event["event"] for event in run].count(kind)


@pytest.mark.parametrize(
    ("question", "settings", "says"),
    [
        (SIMPLE, {}, {}),
        (HARD, {}, {}),
        (HARD, {}, {"meta_cognitive": DEFECT}),
        (HARD, {"pause_before": ["creative"]}, {}),
        (HARD, {"pause_before": ["perception", "memory", "attention"]}, {}),
        (HARD, {"on_error": "raise"}, {"creative": ModelError("auth", "no entry")}),
        (HARD, {"on_error": "raise", "pause_before": ["attention"]},
         {"perception": ModelError("auth", "no entry")}),
        (HARD, {}, {"creative": ModelError("auth", "no entry")}),
        (HARD, {}, {"synthesis": ModelError("auth", "no entry")}),
        (HARD, {}, {"attention": '{"creative": 0.1, "analytical": 0.9}'}),
        (HARD, {"without": ["creative"]}, {}),
        (HARD, {"model": "simulation:"}, {}),
        (HARD, {"max_steps": 1}, {}),
        (HARD, {"max_steps": 2}, {}),
        (HARD, {"use_global_workspace": False}, {}),
        (HARD, {"capacity": 1, "budget_tokens": 50_000, "budget_seconds": 600}, {}),
        (HARD, {"budget_tokens": 2_500}, {}),
    ],
    ids=["simple", "hard", "revised", "paused", "all paused", "strict", "strict and paused",
         "degraded", "unanswered", "gated", "left out", "simulated", "one step", "two steps",
         "no workspace", "budgets", "short of budget"],
)  # fmt: skip
async def test_a_saved_run_reports_what_the_live_run_did(script, brain, question, settings, says):
    script.says.update(says)
    same(await live(brain, ask(question), **settings), await saved(brain))


async def test_what_these_runs_are(script: Script, brain: Brain):
    """The cases above are what they are called."""
    script.says["meta_cognitive"] = DEFECT
    revised = await live(brain, ask(HARD))
    assert count(revised, "revised") == 1
    script.says["creative"] = ModelError("auth", "no entry")
    strict = await live(brain, ask(HARD, "strict"), on_error="raise")
    assert (strict[-1]["event"], count(strict, "finished")) == ("error", 0)
    paused = await live(brain, ask(HARD, "paused"), pause_before=["creative"])
    assert (paused[-1]["event"], count(paused, "answered")) == ("paused", 5)


async def test_siblings_that_end_in_another_order_are_reported_in_theirs(script, brain, bind):
    bind(Slow(script=script))
    run = await live(brain, ask(HARD))
    ended = [e["expert"] for e in run if e["event"] == "answered" and e["step"] == 2]
    assert ended == SLOW
    same(run, await saved(brain))


async def test_a_resumed_run_reports_its_past_and_then_what_follows(script, brain):
    script.says["meta_cognitive"] = DEFECT
    await live(brain, ask(HARD), pause_before=["creative", "synthesis"])
    for action in ("approve", "skip", "approve"):
        state = await latest(saver_of(brain), "t")
        past = replay(state, "t")
        answers = {pause.id: action for pause in state.pauses}
        start = Start(Command(resume=answers), config_of("t"), "t", "r", past)
        same(await live(brain, start), await saved(brain))
    assert count(await saved(brain), "finished") == 1


async def test_pauses_of_one_step_are_decided_one_by_one(script, brain):
    await live(brain, ask(HARD), pause_before=["creative", "reasoning"])
    for waiting in (["creative", "reasoning"], ["reasoning"]):
        state = await latest(saver_of(brain), "t")
        past = replay(state, "t")
        assert past[-1]["event"] == "paused"
        assert [pause["expert"] for pause in past[-1]["paused"]] == waiting
        answers = dict.fromkeys(decided(state, past[-1]["paused"][0]["id"]), "approve")
        start = Start(Command(resume=answers), config_of("t"), "t", "r", past)
        same(await live(brain, start), await saved(brain))
    assert (await saved(brain))[-1]["event"] == "finished"
    with pytest.raises(ThreadError, match="no pending pause"):
        decided(state, "nowhere")


async def test_a_resumed_run_keeps_the_limits_of_each_call(script, brain):
    first = await live(brain, ask(HARD), pause_before=["synthesis"], budget_tokens=90_000)
    state = await latest(saver_of(brain), "t")
    answers = {pause.id: "approve" for pause in state.pauses}
    start = Start(Command(resume=answers), config_of("t"), "t", "r", replay(state, "t"))
    async with aclosing(events(brain, start, make_context({"budget_tokens": 80_000}))) as run:
        rest = [event async for event in run if event["event"] != "token"]
    same(rest, await saved(brain))
    limits = [e["limits"]["tokens"] for e in rest if e["event"] == "budget"]
    assert (limits[0], limits[-1]) == (90_000, 80_000)
    assert [e for e in first if e["event"] == "budget"] == [
        e for e in rest if e["event"] == "budget" and e["limits"]["tokens"] == 90_000
    ]


@pytest.mark.parametrize(
    ("step", "edits"),
    [(1, {"attention": '{"creative": 0.0}'}), (2, {"creative": "Other words."}), (3, {})],
)
async def test_a_fork_reports_its_past_and_then_what_follows(script, brain, step, edits):
    original = await live(brain, ask(HARD))
    config = await fork(brain, load(), "t", step, edits)
    past = await saved(brain)
    forked = await live(brain, Start(None, config, "t", "r", past))
    same(forked, await saved(brain))
    written = [e["expert"] for e in forked if e["event"] == "answered" and e["human"]]
    assert written == list(edits)
    (first, second) = await last_states(saver_of(brain), "t")
    same(original, replay(first, "t"))
    same(forked, replay(second, "t"))


async def test_the_reason_of_a_retried_stream_is_saved(script, brain, bind, monkeypatch):
    monkeypatch.setattr("swarm_brain.calls.retry.pause", lambda *_: 0)
    bind(Breaking(script=script))
    run = await live(brain, ask(SIMPLE))
    assert [e["reason"] for e in run if e["event"] == "revised"] == ["broken"]
    same(run, await saved(brain))


async def test_a_killed_run_reports_what_was_saved_and_no_end(script, brain):
    whole = await live(brain, ask(HARD))
    states = [state async for state in brain.aget_state_history(config_of("t"))]
    middle = next(state for state in states if state.values.get("step") == 2)
    held = await saver_of(brain).aget_tuple(middle.config)
    assert held
    killed = replay(saved_state(held), "t")
    assert killed[1:] == whole[1 : len(killed)]
    assert (killed[-1]["event"], killed[-1]["step"]) == ("budget", 3)  # what it wrote is pending


UNSAVED = ("latency_s", "gates", "defects", "errors")  # or not reported by that version


def unordered(run: list[dict[str, Any]]) -> list[Any]:
    """A run of version 0.1.0, which saved neither when siblings ended nor what was spent by then.

    Siblings are sorted, and of the account only the sum of a step is kept.
    """
    kept: dict[tuple[int, int], Any] = {}
    order = ["woken", "revised", "answered", "budget", "broadcast"]
    for event in run:
        kind, step = event["event"], event.get("step", 0)
        if kind not in order:
            continue
        event = {
            k: v for k, v in event.items() if k not in ("latency_s", "gates", "defects", "errors")
        }
        if event.get("error"):
            event["error"] = re.sub(r"127\.0\.0\.1:\d+", "endpoint", event["error"])
        if kind == "budget":
            event["spent"] = {**event["spent"], "seconds": None}
            kept[step, order.index(kind)] = [event]
        else:
            kept.setdefault((step, order.index(kind)), []).append(event)
    return [sorted(kept[key], key=lambda e: e.get("expert", "")) for key in sorted(kept)]


REPORTED = json.loads((FIXTURES / "threads-0.1.0.events.json").read_text(encoding="utf-8"))


FIELDS = {event["event"]: event.keys() for events in REPORTED.values() for event in events}


def as_of_then(event: Event) -> dict[str, Any]:
    """The event without the fields that were added since."""
    known = FIELDS.get(event["event"], event.keys())
    return {key: value for key, value in event.items() if key in known}


@pytest.mark.parametrize("thread", sorted(REPORTED))
async def test_runs_of_version_0_1_0_are_reported_as_they_were(thread, tmp_path):
    file = tmp_path / "threads.sqlite"
    shutil.copy(FIXTURES / "threads-0.1.0.sqlite", file)
    async with open_sqlite(file) as threads:
        states = await last_states(threads, thread)
    reported: list[list[dict[str, Any]]] = []
    for event in REPORTED[thread]:
        if event["event"] == "begun" or not reported:
            reported.append([])
        reported[-1].append(event)
    replayed = [[as_of_then(event) for event in replay(state, thread)] for state in states]
    if thread == "forked":  # its second run was reported from the fork on
        fork = next(n for n, e in enumerate(reported[0]) if n and e["event"] == "broadcast" and
                    e["step"] == 2 and "budget" in reported[0][n - 1]["event"] and
                    reported[0][n - 1]["step"] == 4)  # fmt: skip
        assert unordered(replayed[0]) == unordered(reported[0][:fork])
        rest = [e for e in replayed[1] if e.get("step", 0) > 2 or (e["event"] == "broadcast" and
                e["step"] == 2)]  # fmt: skip
        assert unordered(rest) == unordered(reported[0][fork:])
        return
    assert len(replayed) == len(reported)
    for saved, live in zip(replayed, reported, strict=True):
        begun = next(e for e in saved if e["event"] == "begun")
        assert begun == live[0]
        if thread == "killed":  # who was at work when it was killed is not saved
            done = {e["expert"] for e in saved if e["event"] == "answered"}
            live = [e for e in live if e.get("expert") in done or e["event"] != "woken"]
        assert unordered(saved) == unordered(live)
        endings = {"strict": "error", "paused": "paused", "killed": "budget"}
        assert saved[-1]["event"] == endings.get(thread, "finished")
