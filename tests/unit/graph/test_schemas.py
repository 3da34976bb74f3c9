"""The graph's picture and its schemas, as Studio and the SDK show them."""

from __future__ import annotations

import json

import pytest
from langchain_core import messages

from swarm_brain.graph.brain import graph
from swarm_brain.graph.context import Context, make_context
from swarm_brain.graph.errors import ConfigError

# The JSON object of `swarm-brain ask --json`, as issue 2 states it.
RESULT = [
    "final_output", "provenance", "stop_reason", "effort", "verdict", "agreement", "dissent",
    "revised", "steps", "model", "thread_id", "recalled", "experts", "usage", "error", "notes",
    "version",
]  # fmt: skip
EXPERT = [
    "name", "step", "status", "model", "attempts", "input_tokens", "output_tokens",
    "cached_tokens", "estimated", "cached", "latency_s", "woken_by", "human", "error",
]  # fmt: skip
USAGE = ["calls", "input_tokens", "output_tokens", "cached_tokens", "cost_usd"]
SETTINGS = [
    "model", "expert_models", "effort", "max_steps", "max_revisions", "threshold", "use_memory",
    "use_global_workspace", "temperature", "top_p", "max_tokens", "timeout", "seed",
]  # fmt: skip


def ours(schema):
    """A schema without LangChain's definitions of messages, which are not ours to fix."""
    own = {
        name: part
        for name, part in schema.get("$defs", {}).items()
        if not hasattr(messages, name) and not name.endswith("TokenDetails")
    }
    return {**schema, "$defs": own}


def fields():
    properties = graph.get_context_jsonschema()["properties"]
    return [pytest.param(form, id=name) for name, form in properties.items()]


def test_picture(snapshot):
    assert graph.get_graph().draw_mermaid() == snapshot


@pytest.mark.parametrize("which", ["input", "output", "context"])
def test_schema(snapshot, which):
    schema = getattr(graph, f"get_{which}_jsonschema")()
    assert json.dumps(ours(schema), indent=2) == snapshot


def test_output_has_the_keys_of_the_issue_and_messages():
    schema = graph.get_output_jsonschema()
    assert sorted(schema["properties"]) == sorted([*RESULT, "messages"])
    assert list(schema["$defs"]["ExpertReport"]["properties"]) == EXPERT
    assert sorted(schema["$defs"]["Usage"]["properties"]) == sorted(USAGE)
    assert list(schema["$defs"]["Waking"]["properties"]) == ["from", "activation"]


def test_a_result_has_those_keys():
    result = graph.invoke({"question": "Why?"}, context={"model": "simulation:"})
    assert sorted(result) == sorted([*RESULT, "messages"])
    assert all(list(entry) == EXPERT for entry in result["experts"])
    assert list(result["usage"]) == USAGE
    json.dumps({key: result[key] for key in RESULT}, allow_nan=False)


def test_the_settings_of_the_issue_are_there():
    assert set(SETTINGS) <= set(Context.model_fields)


@pytest.mark.parametrize("form", fields())
def test_every_setting_is_described_and_bounded(form):
    assert form["description"].endswith(".")
    for part in form.get("anyOf", [form]):
        if part.get("type") in ("integer", "number"):
            assert {"minimum", "exclusiveMinimum"} & set(part)
            assert {"maximum", "exclusiveMaximum"} & set(part)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_steps": 0},
        {"max_steps": 65},
        {"max_revisions": 2},
        {"threshold": 1.1},
        {"threshold": float("nan")},
        {"capacity": 0},
        {"temperature": 2.1},
        {"top_p": 0},
        {"max_tokens": 15},
        {"timeout": 0},
        {"timeout": float("inf")},
        {"max_attempts": 0},
        {"seed": -1},
        {"effort": "medium"},
        {"model": ""},
        {"on_error": "ignore"},
        {"expert_models": {"creative": None}},
        {"no_such": 1},
    ],
    ids=str,
)
def test_wrong_settings_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"^{name}"):
        make_context(wrong)


def test_a_context_is_frozen():
    context = make_context(None)
    with pytest.raises(ValueError, match="frozen"):
        context.max_steps = 2
    assert make_context(context) is context
