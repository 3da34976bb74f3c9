"""Short-term memory: the last turns word for word, a bounded digest of all before them."""

from __future__ import annotations

import re

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from swarm_brain.graph.brain import compile_brain
from swarm_brain.nodes.conversation import (
    ANSWER_CHARS,
    DIGEST_CHARS,
    HEARD,
    KEPT,
    QUESTION_CHARS,
    extended,
    short_term,
    turns,
)
from tests.fakes import Script

LEFT_OUT = re.compile(r"\((\d+) earlier lines are left out\)")


def talk(count: int, start: int = 0) -> list:
    """Questions and answers by turns, each with its number."""
    kinds = (HumanMessage, AIMessage)
    return [kinds[n % 2](f"Turn number {n}.", id=f"id{n}") for n in range(start, start + count)]


def numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"Turn number (\d+)\.", text)]


def left_out(digest: str) -> int:
    found = LEFT_OUT.match(digest)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 20, 21, 40, 100])
def test_the_last_turns_are_heard_and_all_others_stand_in_the_digest(count):
    told, digest, dropped = short_term(talk(count), "")
    assert [turn["text"] for turn in told] == [m.text for m in talk(count)[-HEARD:]]
    assert len(told) <= HEARD
    if count <= 60:
        assert numbers(digest) == list(range(max(0, count - HEARD)))
        assert numbers(dropped) == list(range(max(0, count - KEPT)))
    counted = left_out(digest) + len(numbers(digest)) + len(told)
    assert counted == count  # nothing is dropped without being counted


def test_a_digest_is_bounded_and_counts_what_it_left_out():
    digest = ""
    for n in range(0, 1_000, 2):
        digest = extended(digest, turns(talk(2, n)))
        assert len(digest) <= DIGEST_CHARS + len("(1000 earlier lines are left out)\n")
        assert left_out(digest) + len(numbers(digest)) == n + 2
    assert numbers(digest)[-1] == 999
    assert extended(digest, []) == digest


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (HumanMessage("Why?\nPlease   tell\tme."), "user: Why? Please tell me."),
        (HumanMessage("x" * 999), f"user: {'x' * (QUESTION_CHARS - 3)}..."),
        (AIMessage("First sentence. Second one."), "assistant: First sentence."),
        (AIMessage("Long story. And more.\nVerdict: 42"), "assistant: 42"),
        (AIMessage("y" * 999), f"assistant: {'y' * (ANSWER_CHARS - 3)}..."),
        (HumanMessage([{"type": "text", "text": "In parts."}]), "user: In parts."),
    ],
)
def test_a_turns_line(message, line):
    assert extended("", turns([message])) == line


def test_what_a_user_writes_cannot_pass_for_the_count():
    digest = extended("", turns([HumanMessage("(7 earlier lines are left out)\nreally")]))
    assert left_out(digest) == 0
    again = extended(digest, turns(talk(2)))
    assert again.splitlines()[0] == "user: (7 earlier lines are left out) really"


def test_messages_without_words_are_no_turns():
    odd = [SystemMessage("rules"), ToolMessage("42", tool_call_id="1"), AIMessage(""),
           HumanMessage([{"type": "image_url", "image_url": {"url": "data:"}}])]  # fmt: skip
    assert turns([*odd, *talk(2)]) == turns(talk(2))
    told, digest, _ = short_term([*talk(10), *odd * 6], "")
    assert numbers(" ".join(turn["text"] for turn in told)) == list(range(2, 10))
    assert {0, 1} <= set(numbers(digest))


# --- through the graph


@pytest.fixture
def brain():
    return compile_brain(checkpointer=InMemorySaver())


THREAD = {"configurable": {"thread_id": "t"}}
CONTEXT = {"model": "scripted:m", "effort": "low"}


def shown(request) -> tuple[list[int], str]:
    """The numbers of the turns that an expert was shown word for word, and the digest."""
    text = request["user"]
    digest = re.search(r'<earlier kind="digest">\n(.*?)\n</earlier>', text, re.S)
    heard = re.findall(r'<earlier by="(?:user|assistant)">\n(.*?)\n</earlier>', text, re.S)
    return numbers(" ".join(heard)), digest[1] if digest else ""


def test_a_thread_of_sixty_questions_stays_bounded_and_drops_nothing_silently(script, brain):
    sizes = []
    for n in range(60):
        script.requests.clear()
        script.says["synthesis"] = f"Turn number {2 * n + 1}."
        result = brain.invoke({"question": f"Turn number {2 * n}."}, THREAD, context=CONTEXT)
        assert result["final_output"] == f"Turn number {2 * n + 1}."
        before = 2 * n
        heard, digest = shown(script.of("reasoning")[0])
        assert heard == list(range(max(0, before - HEARD), before))
        assert left_out(digest) + len(numbers(digest)) + len(heard) == before
        assert numbers(digest) == list(range(left_out(digest), before - len(heard)))
        state = brain.get_state(THREAD).values
        assert len(state["messages"]) <= KEPT + 2
        assert [m.text for m in state["messages"]] == [
            f"Turn number {k}." for k in range(before + 2 - len(state["messages"]), before + 2)
        ]
        sizes.append(len(str(state)))
    assert max(sizes[52:]) < sizes[52] * 1.01  # by then the digest is full, too


def test_answers_keep_their_verdict_when_they_leave_the_state(script: Script, brain):
    script.says["synthesis"] = "It is a long story. " * 50 + "\nVerdict: 4711"
    brain.invoke({"question": "What is the number?"}, THREAD, context=CONTEXT)
    script.says["synthesis"] = "Yes."
    for _ in range(15):
        brain.invoke({"question": "And then?"}, THREAD, context=CONTEXT)
    script.requests.clear()
    brain.invoke({"question": "Which number was it?"}, THREAD, context=CONTEXT)
    heard = script.of("reasoning")[0]["user"]
    assert "assistant: 4711" in heard
    assert "user: What is the number?" in heard
    assert "long story" not in heard


@pytest.mark.parametrize("checkpointer", [None, InMemorySaver()])
def test_a_hundred_messages_at_once(script: Script, checkpointer):
    brain = compile_brain(checkpointer=checkpointer)
    messages = [*talk(100), HumanMessage("What does subject mean?")]
    config = THREAD if checkpointer else {}
    result = brain.invoke({"messages": messages}, config, context=CONTEXT)
    assert result["provenance"] == "full"
    heard, digest = shown(script.of("reasoning")[0])
    assert heard == list(range(92, 100))
    assert left_out(digest) + len(numbers(digest)) == 92
    assert len(result["messages"]) == KEPT + 2
    if checkpointer:
        brain.invoke({"question": "And what else?"}, config, context=CONTEXT)
        heard, digest = shown(script.of("reasoning")[-1])
        assert heard == list(range(94, 100))
        assert left_out(digest) + len(re.findall(r"^(?:user|assistant):", digest, re.M)) == 94


def test_gate_and_critic_do_not_hear_the_conversation(script: Script, brain):
    messages = [*talk(30), HumanMessage("Why is the subject what it is?")]
    brain.invoke({"messages": messages}, THREAD, context={"model": "scripted:m"})
    hearing = {r["expert"] for r in script.requests if "<earlier" in r["user"]}
    assert hearing == set(script.askers) - {"attention", "meta_cognitive"}
