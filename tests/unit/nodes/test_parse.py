"""Awkward replies: what is stated is read, what is not stated is never made up."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_brain.graph.loading import load
from swarm_brain.nodes.parse import (
    defects_schema,
    gates_schema,
    normal_verdict,
    read_defects,
    read_dissent,
    read_gates,
    read_verdict,
)

NAMES = ["creative", "analytical"]
BOTH = {"creative": 0.85, "analytical": 0.1}
PLAIN = '{"creative": 0.85, "analytical": 0.1}'
DEFECT = {"quote": "a whale", "problem": "wrong animal"}
OTHER = {"quote": "as in [1] and {}", "problem": 'says "{2}", no [3]'}
LONG = 30_000  # characters; a reply may have 131,072 tokens
SECONDS = 1.0


def test_schemas_ask_for_what_is_read():
    schema = gates_schema(load("eight").gated)
    assert schema["required"] == list(schema["properties"]) == NAMES
    assert schema["properties"]["creative"] == {"type": "number", "minimum": 0, "maximum": 1}
    item = defects_schema()["properties"]["defects"]["items"]
    assert item["required"] == ["quote", "problem"]


@pytest.mark.parametrize(
    "reply",
    [
        PLAIN,
        f"```json\n{PLAIN}\n```",
        f"```\n{PLAIN}\n```",
        f"Sure! Here it is:\n\n{PLAIN}\n\nThe first matters most [1].",
        f"As [1] says, {{}} and {{x}}: {PLAIN}",
        f'{{"scores": {PLAIN}}}',
        f"[{PLAIN}]",
        '{"creative": "0.85", "analytical": " 0.1 "}',
        '{"creative": 0.85, "analytical": 0.1,}',
        '{"creative": 0.85,\n "analytical": 0.1\n',
        '{"creative": 8.5e-1, "analytical": 0.1, "why": "who } knows ["}',
        '{"creative": 0.5}\nOn reflection:\n{"creative": 0.85, "analytical": 0.1}',
        '{"note": {"why": "a drawing"}, "creative": 0.85, "analytical": 0.1, "mem',
    ],
)
def test_gates_are_found_in_awkward_replies(reply):
    assert read_gates(reply, NAMES) == BOTH


@pytest.mark.parametrize(
    ("value", "gate"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("-0.5", 0.0),
        ("1.118", 1.0),
        ("1e999", 1.0),
        ("-1e999", 0.0),
        ("9" * 400, 1.0),
        ("NaN", None),
        ('"NaN"', None),
        ("true", None),
        ("false", None),
        ("null", None),
        ('"high"', None),
        ('""', None),
        ('"85%"', None),
        ("85%", None),
        ("0,85", None),
        ("[0.85]", None),
        ('{"score": 0.85}', None),
        ("{}", None),
    ],
)
def test_one_value(value, gate):
    """Numbers are clamped; what is no number is missing, and its sibling still read."""
    found = read_gates(f'{{"analytical": 0.1, "creative": {value}}}', NAMES)
    assert found == {"analytical": 0.1} | ({} if gate is None else {"creative": gate})


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Both of them.",
        "{",
        "[]",
        "{}",
        "null",
        "0.5",
        '{"other": 1}',
        '{"Creative expert": 0.5}',
        '{"creative": ',
        '{"properties": {"creative": {"type": "number", "minimum": 0}}}',
        "creative 0.5",
    ],
)
def test_gates_that_are_not_stated_are_not_read(reply):
    assert read_gates(reply, NAMES) is None


@pytest.mark.parametrize("before", ["", "```json\n", "Here:\n"])
@pytest.mark.parametrize(
    "whole",
    [
        PLAIN,
        '{"creative": "0.85", "analytical": "0.1"}',
        '{\n  "creative":0.85,\n  "analytical":0.1\n}',
    ],
)
def test_a_reply_cut_anywhere_states_a_gate_truly_or_not_at_all(before, whole):
    text = before + whole
    for end in range(len(text) + 1):
        found = read_gates(text[:end], NAMES) or {}
        assert found.items() <= BOTH.items(), text[:end]
    assert read_gates(text, NAMES) == BOTH
    assert read_gates(text[: text.index("analytical")], NAMES) == {"creative": 0.85}


@given(st.fixed_dictionaries({name: st.floats(0, 1) for name in NAMES}), st.integers(0, 80))
def test_no_cut_invents_a_gate(gates, end):
    found = read_gates(json.dumps(gates)[:end], NAMES) or {}
    assert found.items() <= gates.items()


@given(st.text(alphabet='{}[]",:.01 creative\n', max_size=60))
def test_any_text_can_be_read(text):
    assert all(0 <= gate <= 1 for gate in (read_gates(text, NAMES) or {}).values())
    assert all(defect["quote"] for defect in read_defects(text) or [])
    assert read_verdict(text) != ""


@pytest.mark.parametrize(
    "reply",
    [
        json.dumps({"defects": [DEFECT, OTHER]}),
        json.dumps([DEFECT, OTHER]),
        f"```json\n{json.dumps({'defects': [DEFECT, OTHER]}, indent=2)}\n```",
        f"I found two: {json.dumps(DEFECT)} and {json.dumps(OTHER)}.",
        json.dumps({"review": {"defects": [[DEFECT], [OTHER]]}}),
        json.dumps({"defects": [{**DEFECT, "severity": 3}, {"quote": " ", "problem": "x"}, OTHER]}),
        json.dumps({"defects": [{"quote": " a whale\n", "problem": "wrong animal "}, OTHER]}),
    ],
)
def test_defects_are_found_in_awkward_replies(reply):
    assert read_defects(reply) == [DEFECT, OTHER]


@pytest.mark.parametrize(
    "reply",
    [
        '{"defects": []}',
        "[]",
        'None: ```json\n{"defects":[]}\n```',
        '{"defects": [{"quote": "", "problem": "wrong"}]}',
    ],
)
def test_a_reply_may_state_that_there_is_no_defect(reply):
    assert read_defects(reply) == []


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "The answer is fine.",
        "The claim in [1] is wrong.",
        "The set {} is not a number.",
        '{"answer": 42}',
        '{"defects": [{"quote": "a whale", "issue": "wrong animal"}]}',
        '{"defects": [{"quote": "a whale", "prob',
        '{"defects": [',
        "[",
    ],
)
def test_defects_that_cannot_be_read_are_not_taken_for_none(reply):
    assert read_defects(reply) is None


@pytest.mark.parametrize("form", [{"defects": [OTHER, DEFECT]}, [OTHER, DEFECT]])
def test_defects_cut_anywhere_are_read_as_far_as_they_go(form):
    text = json.dumps(form)
    for end in range(len(text)):
        assert read_defects(text[:end]) in (None, [OTHER], [OTHER, DEFECT]), text[:end]
    cut = text.index(json.dumps(DEFECT)) + 5
    assert read_defects(text[:cut]) == [OTHER]


@pytest.mark.parametrize("depth", [100, 900, 990, 1400, 3000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_does_not_crash(depth, opening, closing):
    text = opening * depth + "1" + closing * depth
    assert read_gates(text, NAMES) is None
    assert not read_defects(text)


@pytest.mark.parametrize(
    "text",
    [
        "word " * (LONG // 5),
        "[" * LONG,
        "{" * LONG,
        '{"a":' * (LONG // 5),
        '{"' * (LONG // 2),
        '"a": 1' * (LONG // 6),
        '"a": ' + "1" * LONG,
        "[" + '{"quote": "a", "problem": "b"},' * (LONG // 31),
        "Verdict: a" + "\n" * LONG + "b",
        "Verdict: a" + " " * LONG + "b",
        "Dissent: a" + "_" * LONG + "b",
        "*" * LONG,
    ],
    ids=lambda text: text[:12],
)
def test_huge_replies_are_read_fast(text):
    started = time.perf_counter()
    read_gates(text, NAMES)
    read_defects(text)
    read_verdict(text)
    read_dissent(text)
    assert time.perf_counter() - started < SECONDS


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("It is so.\nVerdict: 42", "42"),
        ("Verdict: 42\nMore words.", "42"),
        ("verdict : 42  \r\n", "42"),
        ("**Verdict:** 42", "42"),
        ("**Verdict**: 42", "42"),
        ("**Verdict: 42**", "42"),
        ("### Verdict: `42`", "42"),
        ("- Verdict: 42", "42"),
        ("> Verdict: 42", "42"),
        ("Verdict:\n42", "42"),
        ("Verdict: 41\nNo, wait.\nVerdict: 42", "42"),
        ("Verdict: $\\boxed{42}$", "$\\boxed{42}$"),
        ("Verdict: yes: it is", "yes: it is"),
        ("The verdict: 42", None),
        ("No verdict was reached.", None),
        ("Verdict:", None),
        ("Verdict: none", None),
        ("Verdict: **N/A**", None),
        ("Verdict: 42\nVerdict: -", None),
        ("Verdict: -5", "-5"),
        ("**Verdict:** -5**", "-5"),
        ("Verdict: C#", "C#"),
        ("Verdict:\n\nDissent: some hold 41.", None),
        ("Verdict:\nDissent: some hold 41.", None),
        ("", None),
    ],
)
def test_verdict(text, verdict):
    assert read_verdict(text) == verdict


@pytest.mark.parametrize(
    "same",
    [
        ("42", "42.", "**42**", "$42$", "\\boxed{42}", "$\\boxed{42}$", "42.0", " 42 "),
        ("1,000", "1000", "1000.0", "1e3", "$1,000"),
        ("1,000,000", "1000000"),
        ("Paris", "paris.", "PARIS", '"Paris"', "\\text{Paris}", "\\boxed{\\text{Paris}}"),
        ("The Moon", "moon", "the  moon"),
        ("(B)", "b", "B."),
        ("-0.5", "-.5", "-0.50"),
        ("yes", "Yes!"),
    ],
)
def test_equal_verdicts_compare_equal(same):
    assert len({normal_verdict(verdict) for verdict in same}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "43"),
        ("5", "-5"),
        ("1234567", "1234568"),
        ("3.1415926", "3.1415927"),
        ("9007199254740993", "9007199254740992"),
        ("1" * 35 + "2", "1" * 35 + "3"),
        ("1,5", "15"),
        ("1_000", "1000"),
        ("yes", "no"),
        ("A", "B"),
        ("1/2", "12"),
    ],
)
def test_different_verdicts_stay_different(one, other):
    assert normal_verdict(one) != normal_verdict(other)


def test_dissent():
    text = "It is.\n**Dissent:** some hold 41.\nmore\n- dissent: others 40\nDissent: none\nDissent:"
    assert read_dissent(text) == ["some hold 41.", "others 40"]
    assert read_dissent("There is no dissent: all agree.") == []
