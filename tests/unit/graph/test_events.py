"""What a run tells while it goes: every event in the form that graph.events states."""

from __future__ import annotations

import itertools
from typing import Any, get_args, get_type_hints

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import TypeAdapter

from swarm_brain.graph import events
from swarm_brain.graph.brain import compile_brain, graph
from tests.fakes import Script

HARD = "Why is the subject what it is?"
SIMPLE = "What does subject mean?"
FORMS = {get_args(get_type_hints(form)["event"])[0]: form for form in get_args(events.Event)}


def told(question: str = HARD, **context: Any) -> list[dict[str, Any]]:
    """The events of a run, each checked against its form."""
    settings = {"model": "scripted:m", **context}
    return checked(graph.stream({"question": question}, context=settings, stream_mode="custom"))


def checked(stream: Any) -> list[dict[str, Any]]:
    seen = list(stream)
    for event in seen:
        form = FORMS[event["event"]]
        assert set(event) == set(form.__annotations__), event
        TypeAdapter(form).validate_python(event, strict=True)
    return seen


def of(seen: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in seen if event["event"] == kind]


def edges_of(seen: list[dict[str, Any]], expert: str) -> list[tuple[str, float | None, bool]]:
    (event,) = (e for e in of(seen, "answered") if e["expert"] == expert)
    return [(edge["to"], edge["gate"], edge["fired"]) for edge in event["edges"]]


def test_a_hard_question_tells_who_woke_whom_and_who_was_gated_off(script: Script):
    script.says["attention"] = '{"creative": 0.1, "analytical": 0.9}'
    seen = told()
    assert seen[0]["event"] == "begun"
    assert seen[0]["effort"] == "high"
    assert seen[0]["woken"] == ["perception", "attention", "memory"]
    assert edges_of(seen, "attention") == [
        ("reasoning", None, True),
        ("creative", 0.1, False),
        ("analytical", 0.9, True),
    ]
    assert edges_of(seen, "perception") == edges_of(seen, "memory") == []
    assert edges_of(seen, "meta_cognitive") == [("synthesis", None, False)]
    assert [e["expert"] for e in of(seen, "woken")].count("creative") == 0


def test_every_waking_is_an_edge_that_fired(script: Script):
    seen = told()
    fired = {
        (e["expert"], edge["to"], edge["activation"])
        for e in of(seen, "answered")
        for edge in e["edges"]
        if edge["fired"]
    }
    begun = {("begin", name, 1.0) for name in seen[0]["woken"]}
    woken = {
        (waking["from"], e["expert"], waking["activation"])
        for e in of(seen, "woken")
        for waking in e["woken_by"]
    }
    assert woken == fired | begun
    assert len(woken) == 3 + 3 + 3 + 1


def test_the_workspace_is_told_once_a_wave(script: Script):
    seen = told(capacity=2)
    winners = {
        e["step"]: [entry["source"] for entry in e["entered"]] for e in of(seen, "broadcast")
    }
    assert len(of(seen, "broadcast")) == len(winners) == 3
    assert sorted(winners[1]) == ["memory", "perception"]
    assert len(winners[2]) == 2 < 3  # of three drafts two win
    assert winners[3] == ["synthesis"]
    for event in of(seen, "broadcast"):
        saliences = [entry["salience"] for entry in event["entered"]]
        assert saliences == sorted(saliences, reverse=True)
    order = [e["event"] for e in seen]
    assert order.index("broadcast") > order.index("answered")
    assert of(told(use_global_workspace=False), "broadcast") == []


def test_what_is_spent_grows_to_the_runs_total(script: Script):
    seen = told(budget_tokens=50_000)
    spent = [e["spent"]["tokens"] for e in of(seen, "budget")]
    answers = of(seen, "answered")
    assert len(spent) == len(answers) == 8
    assert all(one <= other for one, other in itertools.pairwise(spent))
    assert spent[-1] == sum(e["input_tokens"] + e["output_tokens"] for e in answers) > 0
    assert {e["limits"]["tokens"] for e in [seen[0], *of(seen, "budget")]} == {50_000}
    assert of(seen, "budget")[-1]["limits"]["usd"] is None


def test_a_revision_is_an_edge_and_an_event(script: Script):
    script.says["meta_cognitive"] = '{"defects": [{"quote": "The subject", "problem": "vague"}]}'
    seen = told()
    assert edges_of(seen, "meta_cognitive") == [("synthesis", None, True)]
    (revised,) = of(seen, "revised")
    assert (revised["expert"], revised["step"]) == ("synthesis", 5)
    last = of(seen, "answered")[-1]
    assert (last["expert"], last["step"], last["edges"]) == ("synthesis", 5, [])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "simulation:"}, {}),
        ({"without": ["creative"]}, {}),
        ({"max_steps": 1}, {}),
        ({"max_steps": 2}, {}),
        ({"on_error": "skip"}, {"creative": ValueError("broken")}),
        ({}, {"attention": "no gates", "synthesis": ValueError("broken")}),
    ],
    ids=["simulated", "left out", "one step", "two steps", "failed", "unreadable"],
)
def test_events_have_their_form_whatever_happens(script: Script, settings, said):
    script.says.update(said)
    seen = told(HARD, **settings)
    assert len(of(seen, "woken")) == len(of(seen, "answered")) == len(of(seen, "budget")) > 0
    assert [e["event"] for e in seen].count("begun") == 1


def test_a_pause_tells_no_waking_before_the_decision(script: Script):
    brain = compile_brain(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    context: Any = {"model": "scripted:m", "pause_before": ["synthesis"]}
    first = checked(brain.stream({"question": HARD}, config, context=context, stream_mode="custom"))
    assert "synthesis" not in [e["expert"] for e in of(first, "woken")]
    rest = checked(brain.stream(Command(resume="skip"), config, stream_mode="custom"))
    assert [e["expert"] for e in of(rest, "woken")] == ["synthesis"]
    assert of(rest, "answered")[0]["human"] == "skip"
    assert of(rest, "begun") == []
