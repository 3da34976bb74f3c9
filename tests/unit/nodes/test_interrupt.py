"""Pauses before an expert, through LangGraph's own interrupts."""

from __future__ import annotations

import time
import uuid
from collections import Counter

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import ValidationError

from swarm_brain.graph.brain import compile_brain
from swarm_brain.graph.errors import ConfigError
from swarm_brain.spending import ledger
from tests.fakes import DEFAULTS

HARD = "Why is the subject what it is?"
EIGHT = ["perception", "attention", "memory", "reasoning", "creative", "analytical", "synthesis",
         "meta_cognitive"]  # fmt: skip


class Paused:
    """A run that has been started and may stand at a pause."""

    def __init__(self, *before: str, **settings):
        self.brain = compile_brain(checkpointer=InMemorySaver())
        self.config = {"configurable": {"thread_id": uuid.uuid4().hex}}
        self.context = {"model": "scripted:m", "pause_before": before, **settings}
        self.state = self.brain.invoke({"question": HARD}, self.config, context=self.context)

    @property
    def waiting(self) -> dict[str, str]:
        return {pause.value["expert"]: pause.id for pause in self.state.get("__interrupt__", ())}

    def answer(self, resume, **more):
        self.state = self.brain.invoke(Command(resume=resume), self.config, **more)
        return self.state


def test_nothing_is_asked_before_a_person_has_decided(script):
    run = Paused("creative")
    assert list(run.waiting) == ["creative"]
    assert Counter(script.askers) == Counter(
        ["perception", "attention", "memory", "reasoning", "analytical"]
    )
    (pause,) = run.state["__interrupt__"]
    assert pause.value["sees"] == prompt_of(run)
    assert pause.value["woken_by"] == [{"from": "attention", "activation": 0.9}]
    assert pause.value["actions"] == ["approve", "edit", "skip", "stop"]
    assert "sees" in pause.response_schema["properties"]


def prompt_of(run) -> str:
    """What the expert is shown once it is asked."""
    (pause,) = run.state["__interrupt__"]
    assert HARD in pause.value["sees"]
    assert DEFAULTS["memory"] in pause.value["sees"]
    return pause.value["sees"]


@pytest.mark.parametrize("answer", ["approve", {"action": "approve"}], ids=str)
def test_approved_the_expert_is_asked_what_was_shown(script, answer):
    run = Paused("creative")
    seen = prompt_of(run)
    result = run.answer(answer)
    assert (result["provenance"], result["stop_reason"]) == ("full", "complete")
    assert script.of("creative")[0]["user"] == seen
    assert Counter(script.askers) == Counter(EIGHT)
    assert [e["human"] for e in result["experts"] if e["name"] == "creative"] == ["approve"]
    assert {e["human"] for e in result["experts"] if e["name"] != "creative"} == {None}


@pytest.mark.parametrize("layout", ["role_first", "shared_first"])
def test_edited_the_expert_sees_that_and_nothing_else(script, layout):
    run = Paused("creative", prompt_layout=layout)
    result = run.answer({"action": "edit", "sees": "Only this."})
    (request,) = script.of("creative") or [r for r in script.requests if "Only this." in str(r)]
    assert "Only this." in (request["user"], request["system"])
    assert HARD not in request["user"] + request["system"]
    assert [e["human"] for e in result["experts"] if e["name"] == "creative"] == ["edit"]


def test_skipped_the_others_go_on_and_the_result_says_so(script):
    result = Paused("creative").answer("skip")
    assert script.of("creative") == []
    assert script.of("synthesis")
    assert (result["provenance"], result["stop_reason"]) == ("degraded", "complete")
    assert "creative: skipped at a pause" in result["error"]
    (entry,) = [e for e in result["experts"] if e["name"] == "creative"]
    assert (entry["status"], entry["human"], entry["attempts"]) == ("skipped", "skip", 0)


def test_stopped_nobody_is_asked_any_more(script):
    result = Paused("creative").answer("stop")
    assert script.of("synthesis") == script.of("meta_cognitive") == []
    assert (result["provenance"], result["stop_reason"]) == ("degraded", "stopped")
    assert result["final_output"] in (DEFAULTS["reasoning"], DEFAULTS["analytical"])


def test_stopped_before_any_draft_there_is_no_answer(script):
    result = Paused("perception").answer("stop")
    assert (result["provenance"], result["stop_reason"]) == ("simulated", "stopped")
    assert set(script.askers) == {"attention", "memory"}


def test_a_strict_run_may_be_skipped_in(script):
    result = Paused("creative", on_error="raise").answer("skip")
    assert result["provenance"] == "degraded"


@pytest.mark.parametrize(
    "wrong",
    ["perhaps", {"action": "edit"}, {"action": "edit", "sees": " "}, {"action": "approve",
     "sees": "x"}, {"other": 1}, 7],
    ids=str,
)  # fmt: skip
def test_an_answer_of_another_form_changes_nothing(script, wrong):
    run = Paused("creative")
    with pytest.raises(ValidationError):
        run.answer(wrong)
    assert script.of("creative") == []
    assert run.answer("approve")["provenance"] == "full"
    assert Counter(script.askers) == Counter(EIGHT)


def test_two_pauses_in_one_wave_are_answered_by_their_ids(script):
    run = Paused("creative", "analytical")
    assert set(run.waiting) == {"creative", "analytical"}
    result = run.answer({run.waiting["creative"]: "skip", run.waiting["analytical"]: "approve"})
    assert script.of("creative") == []
    assert len(script.of("analytical")) == 1
    assert len(script.of("reasoning")) == 1
    assert result["usage"]["calls"] == 7


def test_a_resume_without_an_answer_pauses_again(script):
    run = Paused("synthesis")
    state = run.brain.invoke(None, run.config)
    assert [pause.value["expert"] for pause in state["__interrupt__"]] == ["synthesis"]
    assert script.of("synthesis") == []


def test_a_revision_is_paused_at_too(script):
    quoted = '{"defects": [{"quote": "subject", "problem": "vague"}]}'
    script.says["meta_cognitive"] = quoted
    run = Paused("synthesis")
    run.answer("approve")
    assert list(run.waiting) == ["synthesis"]
    result = run.answer("approve")
    assert (result["revised"], len(script.of("synthesis"))) == (True, 2)


def test_waiting_takes_no_time_of_the_budget(script, monkeypatch):
    run = Paused("synthesis", budget_seconds=5)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    result = run.answer("approve", context={"budget_seconds": 5})
    assert (result["provenance"], result["stop_reason"]) == ("full", "complete")


def test_waiting_takes_no_time_across_processes(script, monkeypatch):
    run = Paused("synthesis", budget_seconds=5)
    ledger._ledgers.clear()  # what a new process knows
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert run.answer("approve")["stop_reason"] == "complete"


def test_a_run_goes_on_with_its_own_settings_and_new_budgets_alone(script, caplog):
    run = Paused("synthesis", temperature=0.2)
    result = run.answer("approve", context={"temperature": 1.5, "budget_tokens": 1})
    assert result["stop_reason"] == "budget"
    assert script.of("synthesis") == []
    assert "ignored: temperature" in caplog.text


def test_pauses_need_a_thread_and_experts_that_exist(script):
    with pytest.raises(ConfigError, match="checkpointer"):
        compile_brain().invoke({"question": HARD}, context={"pause_before": ["creative"]})
    with pytest.raises(ConfigError, match=r"nobody.*perception"):
        Paused("nobody")
    assert script.requests == []
