"""The interface of the package that this one replaces, as old code uses it."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from langgraph.checkpoint.memory import InMemorySaver

import llm_swarm_brain
import swarm_brain
from swarm_brain import BrainConfig, PhiBrain, api
from swarm_brain.config import key_for
from swarm_brain.graph.brain import compile_brain
from swarm_brain.graph.errors import BlankQuestion, ConfigError, ModelError, NotText
from swarm_brain.memory.opening import in_process
from swarm_brain.models import choose
from tests.fakes import Script

HARD = "Why is the subject what it is?"
SIMPLE = "What does subject mean?"
KEY = "sk-canary-4711"
STATS = ["neuron_id", "total_api_calls", "total_api_errors", "api_success_rate",
         "simulated_replies", "input_tokens", "output_tokens", "mean_latency_s"]  # fmt: skip


@pytest.fixture
def brain(script: Script) -> PhiBrain:
    return PhiBrain(model="scripted:m")


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No key, no configuration file."""
    monkeypatch.delenv("HYPERBOLIC_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


def stats(brain: PhiBrain) -> dict:
    return {neuron.neuron_id: neuron.get_stats() for neuron in brain.orchestrator.neurons.values()}


def test_both_names_are_the_same():
    assert llm_swarm_brain.PhiBrain is swarm_brain.PhiBrain is PhiBrain
    assert llm_swarm_brain.BrainConfig is swarm_brain.BrainConfig is BrainConfig
    with pytest.raises(AttributeError, match="NoSuch"):
        swarm_brain.NoSuch  # noqa: B018


def test_think_returns_the_json_of_ask(brain):
    result = brain.think(HARD)
    json.dumps(result)
    assert "messages" not in result
    assert set(result) >= {"final_output", "provenance", "experts", "usage", "dissent", "version"}
    assert (result["provenance"], result["steps"], result["model"]) == ("full", 4, "scripted:m")


def test_arguments_of_think(brain, script: Script):
    assert brain.think(HARD, 3)["steps"] == 3
    assert brain.think(HARD, max_steps=2)["steps"] == 2
    script.requests.clear()
    assert brain.think(HARD, 4, False, False)["recalled"] == []
    assert 'from="memory"' not in script.of("synthesis")[0]["user"]
    assert brain.think(HARD, 9)["steps"] == 4
    with pytest.raises(ConfigError, match="max_steps"):
        brain.think(HARD, max_steps=0)


def test_eight_neurons_with_their_statistics(brain, script: Script):
    assert list(brain.orchestrator.neurons) == [
        "perception", "attention", "memory", "reasoning", "creative", "analytical", "synthesis",
        "meta_cognitive",
    ]  # fmt: skip
    before = stats(brain)
    assert all(list(one) == STATS for one in before.values())
    assert before["creative"] == {**dict.fromkeys(STATS, 0), "neuron_id": "creative"}
    assert type(before["creative"]["api_success_rate"]) is float

    used = brain.think(HARD)["usage"]
    after = stats(brain)
    assert {one["total_api_calls"] for one in after.values()} == {1}
    assert {one["api_success_rate"] for one in after.values()} == {1.0}
    assert sum(one["input_tokens"] for one in after.values()) == used["input_tokens"] > 0
    assert sum(one["output_tokens"] for one in after.values()) == used["output_tokens"] > 0
    assert sum(one["simulated_replies"] for one in after.values()) == 0
    brain.think(SIMPLE)
    assert stats(brain)["reasoning"]["total_api_calls"] == 2
    assert stats(brain)["creative"] == after["creative"]
    assert stats(PhiBrain(model="scripted:m"))["reasoning"]["total_api_calls"] == 0


def test_statistics_count_failed_attempts_and_simulated_replies_apart(brain, script, monkeypatch):
    monkeypatch.setattr("swarm_brain.calls.retry.pause", lambda *_: 0)
    down = ModelError("server", "down")
    script.says["creative"] = [down, "So.\nVerdict: 42"]
    script.says["analytical"] = ModelError("auth", "no entry")
    brain.think(HARD)
    creative, analytical = stats(brain)["creative"], stats(brain)["analytical"]
    assert (creative["total_api_calls"], creative["total_api_errors"]) == (2, 1)
    assert (creative["api_success_rate"], creative["simulated_replies"]) == (0.5, 0)
    assert (analytical["total_api_calls"], analytical["total_api_errors"]) == (1, 1)
    assert (analytical["api_success_rate"], analytical["simulated_replies"]) == (0.0, 1)
    assert analytical["output_tokens"] == 0


def test_a_revision_is_counted(brain, script: Script):
    script.says["meta_cognitive"] = '[{"quote": "subject", "problem": "vague"}]'
    assert brain.think(HARD)["revised"]
    assert stats(brain)["synthesis"]["total_api_calls"] == 2


@pytest.mark.parametrize("key", [None, "", "  "])
@pytest.mark.parametrize("question", [HARD, SIMPLE])
def test_the_api_without_a_key_answers_in_simulation_and_says_so(script: Script, key, question):
    brain = PhiBrain(use_api=True, api_key=key)
    result = brain.think(question)
    assert result["provenance"] == "simulated"
    assert "[simulated]" in result["final_output"]
    assert "HYPERBOLIC_API_KEY" in result["error"]
    assert result["usage"]["calls"] == 0
    reasoning = stats(brain)["reasoning"]
    assert (reasoning["total_api_calls"], reasoning["simulated_replies"]) == (0, 1)
    assert reasoning["api_success_rate"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "settings", "spec"),
    [
        ({}, {}, "auto"),
        ({"api_key": KEY}, {}, "hyperbolic:"),
        ({"use_api": True, "api_key": KEY}, {"model_name": "a/b"}, "hyperbolic:a/b"),
        ({"load_models": True}, {}, "huggingface:Qwen/Qwen2.5-72B-Instruct"),
        ({"load_models": True}, {"model_name": "a/b"}, "huggingface:a/b"),
        ({"use_api": True, "model": "lab:m"}, {}, "lab:m"),
        ({}, {"model_name": "lab:m"}, "lab:m"),
    ],
)
def test_which_model_is_asked(script: Script, monkeypatch, arguments, settings, spec):
    monkeypatch.setenv("SWARM_BRAIN_MODEL", "auto-choice:m")
    result = PhiBrain(BrainConfig(**settings), **arguments).think(SIMPLE)
    assert result["model"] == ("auto-choice:m" if spec == "auto" else spec)


def test_a_key_in_the_environment_is_found(script: Script, monkeypatch):
    monkeypatch.setenv("HYPERBOLIC_API_KEY", KEY)
    assert PhiBrain(use_api=True).think(SIMPLE)["model"] == "hyperbolic:"


def test_the_key_reaches_the_models_and_nothing_else(script: Script, monkeypatch):
    seen, contexts, scripted, make = set(), [], choose.bind, api.make_context
    saver = InMemorySaver()
    thread = {"configurable": {"thread_id": "t"}}

    def bind(*arguments):
        seen.add(key_for("hyperbolic", None))
        return scripted(*arguments)

    def keep(settings):
        contexts.append(make(settings))
        return contexts[-1]

    monkeypatch.setattr(choose, "bind", bind)
    monkeypatch.setattr(api, "make_context", keep)
    script.says["creative"] = ModelError("auth", "no entry")
    brain = PhiBrain(use_api=True, api_key=KEY)
    brain._brain = compile_brain(checkpointer=saver).with_config(thread)
    result = brain.think(HARD)
    assert seen == {KEY}
    saved = list(saver.list(None))
    assert len(saved) > 4
    for place in (brain, brain.config, contexts, result, saved, saver.storage, saver.writes):
        assert KEY not in repr(place)
    assert KEY not in repr(script.requests)
    assert key_for("hyperbolic", None) is None


def test_two_brains_keep_their_keys_apart(script: Script, monkeypatch):
    seen, scripted = set(), choose.bind

    def bind(spec, base_url=None):
        seen.add((spec, key_for("hyperbolic", None)))
        return scripted(spec, base_url)

    monkeypatch.setattr(choose, "bind", bind)
    brains = [
        PhiBrain(BrainConfig(model_name=name), use_api=True, api_key=f"{KEY}-{name}")
        for name in "ab"
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda brain: brain.think(SIMPLE), brains * 3))
    assert seen == {("hyperbolic:a", f"{KEY}-a"), ("hyperbolic:b", f"{KEY}-b")}


def test_a_changed_config_takes_effect(brain, script: Script):
    brain.think(SIMPLE)
    config = brain.config
    config.temperature, config.top_p, config.max_tokens, config.seed = 0.1, 0.5, 77, 3
    config.effort, config.max_propagation_depth = "high", 3
    result = brain.think(SIMPLE)
    assert (result["effort"], result["steps"]) == ("high", 3)
    first, last = script.requests[0]["sampling"], script.requests[-1]["sampling"]
    assert (first.temperature, first.top_p, first.max_tokens, first.seed) == (0.7, 0.9, 256, None)
    assert (last.temperature, last.top_p, last.max_tokens, last.seed) == (0.1, 0.5, 77, 3)
    config.activation_threshold, config.max_propagation_depth = 0.95, 4
    skipped = [e["name"] for e in brain.think(HARD)["experts"] if e["status"] == "skipped"]
    assert {"creative", "analytical"} <= set(skipped)
    config.temperature = 9
    with pytest.raises(ConfigError, match="temperature"):
        brain.think(SIMPLE)


def test_every_field_of_config_counts_or_says_that_it_does_not():
    with pytest.warns(DeprecationWarning, match="no effect: quantization, phi_threshold"):
        BrainConfig(quantization="4bit", phi_threshold=0.3)
    with pytest.warns(DeprecationWarning, match="no effect: timeout_seconds, quantization"):
        old = BrainConfig("a/b", 77, 0.1, 0.9, 60.0, 0.5, 4, 4, 1, "high", 3, None, 30.0, "4bit")
    assert (old.model_name, old.max_tokens, old.effort, old.seed) == ("a/b", 77, "high", 3)
    with pytest.raises(TypeError, match="temprature"):
        BrainConfig(temprature=0.1)
    assert BrainConfig().model_name is None
    assert BrainConfig(temperature=0.1) == BrainConfig(temperature=0.1) != BrainConfig()


async def test_think_inside_a_running_loop_and_athink(brain):
    assert brain.think(SIMPLE)["provenance"] == "full"
    results = await asyncio.gather(*(brain.athink(SIMPLE) for _ in range(5)))
    assert [result["provenance"] for result in results] == ["full"] * 5
    assert stats(brain)["reasoning"]["total_api_calls"] == 6


@pytest.mark.parametrize(("bad", "error"), [("", BlankQuestion), (" \n", BlankQuestion),
                                            (None, BlankQuestion), (7, NotText)])  # fmt: skip
def test_a_question_that_cannot_be_asked(brain, script: Script, bad, error):
    with pytest.raises(error):
        brain.think(bad)
    assert script.requests == []


def test_a_brain_remembers_as_long_as_it_lives(script):
    brain = PhiBrain(model="scripted:m")
    first, again = brain.think(HARD), brain.think(HARD)
    assert first["recalled"] == []
    assert [item["score"] for item in again["recalled"]] == [pytest.approx(1, abs=1e-3)]
    assert PhiBrain(model="scripted:m").think(HARD)["recalled"] == []
    assert brain.think(HARD, use_memory=False)["recalled"] == []


def test_brains_may_share_a_store(script):
    store = in_process()
    PhiBrain(model="scripted:m", store=store).think(HARD)
    assert PhiBrain(model="scripted:m", store=store).think(HARD)["recalled"]
