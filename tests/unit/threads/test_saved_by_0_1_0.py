"""Threads that version 0.1.0 saved are shown, resumed, forked and asked again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from langgraph.types import Command

from swarm_brain.graph.brain import compile_brain
from swarm_brain.graph.errors import ThreadError
from swarm_brain.graph.loading import load
from swarm_brain.runs.fork import fork
from swarm_brain.runs.resume import free, resumable
from swarm_brain.runs.saved import saved_runs
from swarm_brain.threads import history
from swarm_brain.threads.checkpoints import config_of, count_runs, latest
from tests.fakes import DEFAULTS

FIXTURES = Path(__file__).parents[2] / "fixtures"
REPORTED = json.loads((FIXTURES / "threads-0.1.0.events.json").read_text("utf-8"))
SAME = ("model", "status", "content", "verdict", "salience", "edges", "cost_usd", "latency_s",
        "human", "error")  # fmt: skip


def fields(said: dict) -> dict:
    """What an event and the saved run have in common; an error names the endpoint's port."""
    error = said["error"] and re.sub(r"127\.0\.0\.1:\d+/v1:", "ENDPOINT:", said["error"])
    return {key: said[key] for key in SAME} | {"error": error}


def brain_of(threads):
    return compile_brain(load(), checkpointer=threads)


@pytest.mark.parametrize("thread", REPORTED)
async def test_a_thread_shows_what_its_runs_reported_live(threads, thread):
    shown = [
        (said["expert"], step["step"], fields(said))
        for run in await saved_runs(threads, thread)
        for step in run["steps"]
        for said in step["experts"]
    ]
    answered = [event for event in REPORTED[thread] if event["event"] == "answered"]
    reported = [(e["expert"], e["step"], fields(e)) for e in answered]
    if thread == "forked":  # the fork shows the steps it took over as well, one of them edited
        assert [said for said in reported if said not in shown] == []
    else:
        assert sorted(shown, key=str) == sorted(reported, key=str)


async def test_all_threads_are_listed_by_how_they_ended(threads):
    states = {}
    for thread in await threads.ids():
        row = await history.summary(threads, thread)
        waits = "paused" if row["paused"] else "unfinished"
        states[thread] = row["provenance"] or waits
    ended = {"simple": "full", "hard": "full", "revised": "full", "conversation": "full",
             "forked": "full", "gated": "full"}  # fmt: skip
    assert states == ended | {
        "paused": "paused",
        "killed": "unfinished",
        "strict": "unfinished",
        "degraded": "degraded",
        "few_steps": "degraded",
        "simulated": "simulated",
    }


EDITED = "What the expert is shown instead."


@pytest.mark.parametrize(
    ("decision", "human"),
    [
        ({"action": "approve"}, "approve"),
        ({"action": "skip"}, "skip"),
        ({"action": "edit", "sees": EDITED}, "edit"),
    ],
)
async def test_a_paused_run_is_resumed(threads, script, decision, human):
    state = await latest(threads, "paused")
    brain = compile_brain(resumable("paused", state), checkpointer=threads)
    (pause,) = state.pauses
    answer = Command(resume={pause.id: decision})
    result = await brain.ainvoke(answer, config_of("paused"), durability="sync")
    decided = [e for e in result["experts"] if e["name"] == pause.value["expert"]]
    assert [entry["human"] for entry in decided] == [human]
    asked = script.of(pause.value["expert"])
    assert len(asked) == (human != "skip")
    assert (EDITED in str(asked)) == (human == "edit")
    (run,) = await saved_runs(threads, "paused")
    assert run["result"]["final_output"] == result["final_output"]


async def test_a_killed_run_is_resumed_without_asking_again_what_had_answered(threads, script):
    state = await latest(threads, "killed")
    answered = [signal["source"] for signal in state.signals]
    brain = compile_brain(resumable("killed", state), checkpointer=threads)
    result = await brain.ainvoke(None, config_of("killed"), durability="sync")
    assert result["final_output"] == DEFAULTS["synthesis"]
    assert answered
    assert not set(answered) & set(script.askers)
    assert sorted(answered + script.askers) == sorted(e["name"] for e in result["experts"])


@pytest.mark.parametrize(
    ("step", "expert", "text"),
    [
        (1, "memory", "Another background."),
        (2, "creative", "Another view.\nVerdict: 7"),
        (3, "synthesis", "Another answer.\nVerdict: 7"),
    ],
)
async def test_a_finished_run_is_forked(threads, script, step, expert, text):
    brain = brain_of(threads)
    (original,) = await saved_runs(threads, "hard")
    config = await fork(brain, load(), "hard", step, {expert: text})
    await brain.ainvoke(None, config, durability="sync")
    first, forked = await saved_runs(threads, "hard")
    assert first == original
    assert await count_runs(threads, ["hard"]) == {"hard": 2}
    said = {(said["expert"], at["step"]): said for at in forked["steps"] for said in at["experts"]}
    assert said[expert, step]["content"] == text
    assert said[expert, step]["human"] == "written"
    later = [name for name, at in said if at > step]
    assert sorted(later) == sorted(script.askers)
    assert forked["result"]["provenance"] == "full"


async def test_a_strict_run_that_has_failed_is_refused(threads):
    with pytest.raises(ThreadError, match="strict and has failed"):
        resumable("strict", await latest(threads, "strict"))


async def test_a_conversation_is_continued(threads, script):
    brain = brain_of(threads)
    await free(brain, "conversation", "resume")
    before = await saved_runs(threads, "conversation")
    context = {"model": "openai-compatible:m"}
    question = {"question": "And what is its object?"}
    await brain.ainvoke(question, config_of("conversation"), context=context, durability="sync")
    *earlier, last = await saved_runs(threads, "conversation")
    assert earlier == before
    assert last["question"] == question["question"]
    assert before[-1]["question"] in script.of("reasoning")[-1]["user"]


@pytest.mark.parametrize("thread", ["paused", "killed"])
async def test_an_unfinished_run_is_finished_before_the_next_question(threads, thread):
    with pytest.raises(ThreadError, match="unfinished run"):
        await free(brain_of(threads), thread, "resume")
