"""Behaviour of the brain, checked with LangSmith's plugin. Without a key nothing is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langsmith import testing

from swarm_brain.graph.brain import graph
from swarm_brain.graph.errors import ModelError
from tests.evals.samples import EIGHT
from tests.fakes import Script

pytestmark = pytest.mark.langsmith

SIMPLE, HARD = "What does subject mean?", "Why is the subject what it is?"
ANSWER = "The subject is what all of this says."
DOWN = ModelError("not_found", "no such model", status=404)


async def ask(question: str, **context: Any) -> dict[str, Any]:
    """The brain's result, told to LangSmith if it is listening."""
    testing.log_inputs({"question": question})
    settings = {"model": "scripted:model", "use_memory": False, **context}
    result = await graph.ainvoke({"question": question}, context=settings)
    testing.log_outputs({key: result[key] for key in ("final_output", "provenance", "revised")})
    testing.log_feedback(key="real", score=int(result["provenance"] == "full"))
    return dict(result)


async def test_a_simple_question_wakes_three_experts(script: Script):
    result = await ask(SIMPLE)
    assert script.askers == ["perception", "reasoning", "synthesis"]
    assert result["effort"] == "low"


async def test_a_hard_question_wakes_eight(script: Script):
    result = await ask(HARD)
    assert sorted(script.askers) == sorted(EIGHT)
    assert (result["effort"], result["provenance"]) == ("high", "full")


async def test_a_simulated_answer_is_labelled(script: Script):
    result = await ask(HARD, model="simulation:")
    assert not script.requests
    assert result["provenance"] == "simulated"
    assert "simulat" in result["final_output"].lower()


async def test_a_dead_model_is_labelled_and_named(script: Script):
    script.says |= dict.fromkeys(EIGHT, DOWN)
    result = await ask(HARD)
    assert result["provenance"] == "simulated"
    assert "no such model" in json.dumps([result["error"], result["experts"]])


async def test_a_draft_that_is_missing_degrades_the_answer(script: Script):
    script.says["creative"] = DOWN
    result = await ask(HARD)
    assert result["provenance"] == "degraded"
    assert result["final_output"].startswith(ANSWER)


@pytest.mark.parametrize(("quote", "revised"), [("all of this says", True), ("not there", False)])
async def test_a_quoted_defect_buys_one_revision(script: Script, quote: str, revised: bool):
    defects = {"defects": [{"quote": quote, "problem": "says nothing"}]}
    script.says["meta_cognitive"] = json.dumps(defects)
    script.says["synthesis"] = [f"{ANSWER}\nVerdict: 42", "It is 42, for a reason.\nVerdict: 42"]
    result = await ask(HARD)
    assert len(script.of("synthesis")) == 1 + revised
    assert bool(result["revised"]) is revised
    assert result["final_output"].startswith("It is 42" if revised else ANSWER)
