"""How an answer is to look: the asker's instructions, a JSON schema, a length of its own."""

from __future__ import annotations

import json
import time

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver

from swarm_brain.graph import answer_schema
from swarm_brain.graph.brain import compile_brain, graph
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import ConfigError
from swarm_brain.nodes.parse import read_formed
from tests.fakes import Script

MODEL = {"model": "scripted:m", "effort": "high", "use_memory": False}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
FITS = '{"city": "Łódź", "people": 648711}'
QUESTION = {"question": "Why is the city what it is?"}


def asked(question=QUESTION, **settings):
    return graph.invoke(question, context=MODEL | settings)


# --- instructions


def test_instructions_reach_all_who_read_or_write_the_answer(script: Script):
    told = [SystemMessage("Answer in rhyme."), HumanMessage("Why is it what it is?")]
    asked({"messages": told})
    part = "<instructions>\nAnswer in rhyme.\n</instructions>"
    heard = {r["expert"] for r in script.requests if part in r["user"]}
    assert set(script.askers) - heard == {"attention", "memory"}
    assert all("Answer in rhyme." not in r["system"] for r in script.requests)


def test_without_instructions_no_prompt_names_them(script: Script):
    asked()
    assert not any("instructions" in r["user"] for r in script.requests)


def test_instructions_hold_for_the_whole_thread_and_add_up(script: Script):
    brain, thread = (
        compile_brain(checkpointer=InMemorySaver()),
        {"configurable": {"thread_id": "t"}},
    )
    first = [SystemMessage("Be brief."), HumanMessage("What is one?")]
    brain.invoke({"messages": first}, thread, context=MODEL | {"effort": "low"})
    for number in range(8):  # more messages than a thread keeps
        brain.invoke({"question": f"What is {number}?"}, thread, context=MODEL | {"effort": "low"})
    more = {"messages": [SystemMessage("Be kind."), HumanMessage("What is ten?")]}
    brain.invoke(more, thread, context=MODEL | {"effort": "low"})
    assert "<instructions>\nBe brief.\n\nBe kind.\n</instructions>" in script.requests[-1]["user"]


def test_instructions_are_no_turn_of_the_conversation(script: Script):
    told = [SystemMessage("Be brief."), HumanMessage("One?"), AIMessage("1."), HumanMessage("Two?")]
    asked({"messages": told})
    user = script.of("reasoning")[0]["user"]
    assert user.count("Be brief.") == 1
    assert '<earlier by="user">\nOne?' in user


# --- a schema


def test_an_answer_that_fits_its_schema_is_json_and_nothing_else(script: Script):
    script.says["synthesis"] = f"Here you are:\n```json\n{FITS}\n```\nVerdict: done"
    result = asked(answer_schema=SCHEMA)
    assert json.loads(result["final_output"]) == json.loads(FITS)
    assert (result["provenance"], result["verdict"]) == ("full", None)
    (request,) = script.of("synthesis")
    assert request["schema"] == SCHEMA
    assert json.dumps(SCHEMA) in request["user"]
    assert all("JSON schema" not in r["user"] for r in script.requests if r is not request)


def test_an_answer_that_does_not_fit_is_a_failure_and_no_answer(script: Script):
    script.says["synthesis"] = '{"city": "Łódź", "people": "many"}'
    result = asked(answer_schema=SCHEMA)
    assert result["provenance"] == "degraded"
    assert "synthesis: unreadable reply: it is not JSON that fits answer_schema" in result["error"]


def test_with_one_step_the_one_expert_keeps_the_form(script: Script):
    script.says["reasoning"] = FITS
    result = asked(answer_schema=SCHEMA, max_steps=1)
    assert json.loads(result["final_output"]) == json.loads(FITS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (FITS, FITS),
        (f"  {FITS}\n", FITS),
        (f'{{"city": 1}} or rather {FITS}', FITS),
        ('{"city": "A", "people": NaN}', None),
        ("no JSON at all", None),
        ('{"city": "A"', None),
        ("[" * 100_000, None),
    ],
)
def test_reading_a_formed_reply(text, found):
    assert read_formed(text, SCHEMA) == found


@pytest.mark.parametrize("text", ["7", '"seven"', "null", "[1]"])
def test_a_schema_may_want_any_json(text):
    assert read_formed(text, {}) == text


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "strnig"}, "strnig"),
        ({"$ref": "http://127.0.0.1:9/schema"}, "not followed"),
        ({"$ref": "file:///etc/passwd"}, "not followed"),
        ({"$ref": "#/nowhere"}, "nowhere"),
        ({"pattern": "("}, "regex"),
        ({"const": float("nan")}, "not JSON"),
        ({"enum": ["x" * 30_000]}, "characters"),
        ({"enum": [2**64]}, "64 bits"),
        # These ended the process, or kept it busy for hours.
        ({"unevaluatedProperties": False, "allOf": [{"$ref": "#"}]}, "unevaluatedProperties"),
        ({"unevaluatedItems": False, "$ref": "#"}, "unevaluatedItems"),
        ({"$defs": {"a": {"$dynamicRef": "#x"}}}, "$dynamicRef"),
        ({"properties": {"a": {"$id": "http://a/", "type": "string"}}}, "$id"),
        ({"$ref": "#anchor"}, "not followed"),
        (
            {
                "$defs": {"0": {"type": "string"}}
                | {str(n): {"anyOf": [{"$ref": f"#/$defs/{n - 1}"}] * 2} for n in range(1, 99)},
                "$ref": "#/$defs/98",
            },
            "parts",
        ),
    ],
)
def test_what_is_no_schema_is_refused_before_any_call(schema, why, script: Script):
    with pytest.raises(ConfigError, match="answer_schema") as caught:
        make_context({"answer_schema": schema})
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"properties": {"left": {"$ref": "#"}, "$id": {"type": "string"}}}, {"left": {"left": 1}}),
        ({"$defs": {"a/b~%": {"type": "integer"}}, "$ref": "#/$defs/a~1b~0%25"}, 1),
        ({"allOf": [{"const": {"$ref": "#nowhere"}}]}, {"$ref": "#nowhere"}),
        ({"prefixItems": [{"type": "null"}], "items": {"$ref": "#/prefixItems/0"}}, [None, None]),
        ({"dependentRequired": {"$id": ["a"]}, "allOf": [{"$ref": "#"}]}, {}),
    ],
)
def test_a_schema_may_refer_to_itself(schema, value):
    assert answer_schema.problem(schema) is None
    assert answer_schema.fits(value, schema)


def test_a_schema_nested_too_deeply_is_refused():
    schema: dict = {}
    for _ in range(500_000 // 1000):
        schema = {"items": schema}
    assert answer_schema.problem(schema)


def test_a_pattern_takes_linear_time():
    schema = {"type": "string", "pattern": "^(a+)+$"}
    started = time.monotonic()
    assert not answer_schema.fits("a" * 50_000 + "b", schema)
    assert time.monotonic() - started < 1


# --- a length


def test_the_answer_may_be_shorter_than_the_drafts(script: Script):
    asked(answer_tokens=40, max_tokens=200)
    most = {r["expert"]: r["sampling"].max_tokens for r in script.requests}
    assert most.pop("synthesis") == 40
    assert set(most.values()) == {200}


def test_an_answer_is_never_longer_than_a_reply_may_be(script: Script):
    asked(answer_tokens=4000, max_tokens=200)
    assert script.of("synthesis")[0]["sampling"].max_tokens == 200
