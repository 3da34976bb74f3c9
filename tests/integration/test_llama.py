"""The brain on a real model: a llama.cpp server over HTTP, and the same engine in process."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from swarm_brain import PhiBrain
from swarm_brain.graph.brain import graph
from swarm_brain.graph.errors import QuestionTooLong
from swarm_brain.models import binding, endpoint
from tests.fakes import DEFAULTS, Script
from tests.fakes import endpoint as fakes_endpoint

ALL = list(DEFAULTS)


HARD = "Why do leaves turn red in autumn, and what does the tree gain from it?"
SIMPLE = "What is the capital of France?"
SHORT = {"max_tokens": 48, "seed": 1, "timeout": 120}


def run(url: str, question: str, **settings: Any) -> dict[str, Any]:
    context = {"model": "openai-compatible:smollm2", "base_url": url, **SHORT, **settings}
    return graph.invoke({"question": question}, context=context)


def counters(url: str) -> dict[str, float]:
    """The server's own running totals, by name."""
    text = httpx.get(url.removesuffix("/v1") + "/metrics", trust_env=False).text
    found = re.findall(r"^llamacpp:(\w+_total) (\S+)$", text, re.M)
    return {name: float(value) for name, value in found}


def answered(result: dict[str, Any]) -> list[str]:
    return [e["name"] for e in result["experts"] if e["status"] == "ok"]


def test_simple_question_is_answered_by_three_and_counted_by_the_server(llama):
    before = counters(llama)
    result = run(llama, SIMPLE)
    after = counters(llama)
    assert result["provenance"] == "full", result["error"]
    assert answered(result) == ["perception", "reasoning", "synthesis"]
    assert not any(e["estimated"] for e in result["experts"])
    assert result["final_output"].strip()
    assert "[simulated]" not in result["final_output"]
    spent = {name: after[name] - before[name] for name in before}
    usage = result["usage"]
    assert usage["calls"] == 3
    assert usage["output_tokens"] == spent["tokens_predicted_total"]
    assert usage["cached_tokens"] == spent["prompt_tokens_cached_total"]
    assert usage["input_tokens"] == (
        spent["prompt_tokens_total"] + spent["prompt_tokens_cached_total"]
    )


@pytest.mark.slow
def test_hard_question_is_answered_by_all_and_json_replies_are_read(llama):
    """The smallest model may talk on before its first defect is complete: that is then said."""
    result = run(llama, HARD, seed=2, max_tokens=64)
    ran = {e["name"]: e for e in result["experts"] if e["status"] != "skipped"}
    skipped = {e["name"] for e in result["experts"]} - set(ran)
    assert set(ran) | skipped == set(ALL)
    assert skipped <= {"creative", "analytical"}  # those that attention may gate off
    assert ran["attention"]["error"] is None
    critic = ran["meta_cognitive"]
    cut = critic["status"] == "failed" and critic["output_tokens"] == 64
    assert critic["status"] == "ok" or (cut and "unreadable" in critic["error"])
    assert [e["name"] for e in ran.values() if e["error"]] == ["meta_cognitive"] * cut
    assert result["provenance"] == ("degraded" if cut else "full")
    assert all(e["output_tokens"] > 0 and not e["estimated"] for e in ran.values())
    assert all(e["attempts"] == 1 for e in ran.values())  # the schema was taken
    assert result["steps"] == 4 + result["revised"]
    assert result["usage"]["calls"] == 8 - len(skipped) + result["revised"]
    assert result["final_output"].strip()


@pytest.mark.slow
def test_server_holds_the_reply_to_the_schema(llama):
    """What makes the test above more than luck: the schema that we send is enforced.

    Of truth values, because a number may be longer than any reply.
    """
    schema = {
        "type": "object",
        "properties": {"creative": {"type": "boolean"}, "analytical": {"type": "boolean"}},
        "required": ["creative", "analytical"],
        "additionalProperties": False,
    }
    bound = endpoint.bind("openai-compatible:smollm2", llama, None)
    model = bound.tuned(binding.Sampling(0.7, 0.9, 64))

    async def ask() -> str:
        reply = await model.ainvoke("Tell me a joke.", **bound.schema_arguments("gates", schema))
        return reply.text

    from swarm_brain.calls.background_loop import wait_for

    assert set(json.loads(wait_for(ask()))) == {"creative", "analytical"}


@pytest.mark.slow
def test_question_longer_than_the_context_is_refused_before_any_call(llama):
    before = counters(llama)
    with pytest.raises(QuestionTooLong, match="1280"):
        run(llama, "Why? " + "many words " * 6000)
    assert counters(llama) == before


@pytest.mark.slow
def test_question_that_just_fits_is_not_refused(llama):
    """The estimate (there is no tokenizer over HTTP) must not refuse what the server can read."""
    long = "What does this list name? " + "red, blue, green, " * 150
    result = run(llama, long, max_steps=1, max_tokens=16)
    assert answered(result) == ["reasoning"], result["error"]
    assert 900 < result["experts"][0]["input_tokens"] < 1280


@pytest.mark.slow
def test_drafts_that_do_not_fit_are_trimmed_and_it_is_said(llama, monkeypatch):
    """Three long drafts for one synthesis: it still answers, and the answer is labelled."""
    draft = "The list is long because somebody wrote all of it down. " * 36
    script = Script(dict(DEFAULTS) | dict.fromkeys(("reasoning", "creative", "analytical"), draft))
    with fakes_endpoint(script) as served:
        monkeypatch.setenv("HYPERBOLIC_API_URL", served.url)
        monkeypatch.setenv("HYPERBOLIC_API_KEY", "a-key")
        own = {"model": "hyperbolic:", "expert_models": {"synthesis": "openai-compatible:smollm2"}}
        result = run(llama, HARD, max_steps=2, max_tokens=16, **own)
    synthesis = next(e for e in result["experts"] if e["name"] == "synthesis")
    assert synthesis["status"] == "ok", synthesis["error"]
    assert "trimmed" in (synthesis["error"] or "")
    assert synthesis["input_tokens"] < 1280
    assert result["provenance"] == "degraded"


@pytest.mark.slow
def test_seed_interface_on_the_embedded_model(weights):
    brain = PhiBrain(model="embedded:smollm2-135m")
    brain.config.max_tokens = 32
    result = brain.think(SIMPLE)
    assert result["provenance"] == "full", result["error"]
    assert result["model"] == "embedded:smollm2-135m"
    assert "[simulated]" not in result["final_output"]
    assert result["final_output"].strip()
    assert result["usage"]["cost_usd"] == 0.0
    stats = {n.neuron_id: n.get_stats() for n in brain.orchestrator.neurons.values()}
    assert sorted(stats) == sorted(ALL)
    assert stats["reasoning"]["total_api_calls"] == 1
    assert stats["reasoning"]["output_tokens"] > 0
    assert stats["creative"]["api_success_rate"] == 0.0
