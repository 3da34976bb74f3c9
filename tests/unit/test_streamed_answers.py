"""What of an answer goes out while it is generated. However it is cut into pieces."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_brain.server.chat import ChatRequest
from swarm_brain.server.chunks import Answer, Writer
from swarm_brain.server.completion import ending, first_stop
from swarm_brain.server.problems import Problem

TEXTS = st.text("ab \n<think>/", max_size=40)
STOPS = st.lists(st.text("ab <", min_size=1, max_size=4), max_size=3).map(tuple)


def pieces(text: str, cuts: list[int]) -> list[str]:
    at = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(at)]


def final(text: str, stops: tuple[str, ...]) -> str:
    at = first_stop(text, stops)
    return text if at is None else text[:at].rstrip()


@given(
    text=TEXTS.filter(lambda t: "think" not in t), stops=STOPS, cuts=st.lists(st.integers(0, 99))
)
def test_what_was_sent_is_the_answer_whatever_the_pieces(text, stops, cuts):
    answer = Answer(stops)
    sent = "".join(answer.take(piece) for piece in pieces(text, cuts))
    whole = final(text.strip(), stops)
    assert whole.startswith(sent)
    assert sent + answer.end(whole) == whole


@given(thought=st.text("ab <>\n", max_size=20), said=st.text("ab ", min_size=1, max_size=20),
       cuts=st.lists(st.integers(0, 99)))  # fmt: skip
def test_thoughts_are_no_words_of_the_answer(thought, said, cuts):
    answer = Answer(())
    raw = f"<think>{thought}</think>\n{said}"
    sent = "".join(answer.take(piece) for piece in pieces(raw, cuts))
    assert sent == said.strip() or (sent + answer.end(said.strip())) == said.strip()


def test_words_go_out_at_once_where_nothing_speaks_against_it():
    answer = Answer(("STOP",))
    assert [answer.take(word) for word in ("One", " two", " S", "even", " STOP", " more")] == [
        "One", " two", "", " Seven", "", ""]  # fmt: skip
    assert answer.end("One two Seven") == ""


def test_an_answer_that_was_withdrawn_is_not_continued_by_another():
    answer = Answer(())
    answer.take("Half of ")
    answer.void = True
    assert answer.take("Something else.") == ""
    with pytest.raises(Problem) as caught:
        answer.end("Something else.")
    assert (caught.value.status, caught.value.code) == (502, "answer_withdrawn")


def test_a_stream_retried_with_the_same_beginning_goes_on():
    answer = Answer(())
    assert answer.take("Half of ") == "Half of"
    answer.void = True
    assert answer.end("Half of it.") == " it."


# ---- a whole stream


def request(**more: Any) -> ChatRequest:
    user = {"role": "user", "content": "Why?"}
    return ChatRequest.model_validate({"model": "swarm-brain", "messages": [user], **more})


def result(**more: Any) -> dict[str, Any]:
    usage = {"calls": 3, "input_tokens": 90, "output_tokens": 30, "cached_tokens": 10,
             "cost_usd": 0.5}  # fmt: skip
    base = {"final_output": "It is so.", "provenance": "full", "stop_reason": "complete",
            "usage": usage, "error": None, "thread_id": "t"}  # fmt: skip
    return {"event": "finished", "defects": [], "all_simulated": False, "answer_tokens": 10,
            "result": {**base, **more}}  # fmt: skip


STARTED = {"event": "started", "run": "r", "thread": "t"}
BEGUN = {"event": "begun", "max_steps": 4, "woken": ["perception"]}


def streamed(asked: ChatRequest, *events: dict[str, Any]) -> list[dict[str, Any]]:
    async def told() -> AsyncIterator[dict[str, Any]]:
        for event in (BEGUN, *events):
            yield event

    async def all_of_them() -> list[dict[str, Any]]:
        return [chunk async for chunk in Writer(asked, STARTED, "eight").chunks(told())]

    return asyncio.run(all_of_them())


def words(chunks: list[dict[str, Any]]) -> str:
    return "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])


def token(expert: str, text: str) -> dict[str, Any]:
    return {"event": "token", "expert": expert, "step": 3, "text": text}


def test_only_the_answering_experts_words_are_the_answer():
    chunks = streamed(
        request(), token("creative", "A draft."), token("synthesis", "It is "), result()
    )
    assert words(chunks) == "It is so."


def test_who_runs_alone_answers():
    alone = {**BEGUN, "max_steps": 1, "woken": ["reasoning"]}
    chunks = streamed(request(), alone, token("reasoning", "It is so."), result())
    assert [c["choices"][0]["delta"].get("content") for c in chunks[:2]] == ["", "It is so."]


def test_tokens_add_up():
    (*_, end, last) = streamed(request(stream_options={"include_usage": True}), result())
    usage = last["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] == 120
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 20
    assert end["choices"][0]["finish_reason"] == "stop"


def test_unknown_usage_is_unknown_and_not_nothing():
    unknown = dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens", "cost_usd")) | {
        "calls": 3}  # fmt: skip
    *_, last = streamed(request(stream_options={"include_usage": True}), result(usage=unknown))
    assert last["usage"] is None


def test_an_answer_at_its_limit_ends_for_its_length():
    assert ending(request(max_tokens=10), result()) == ("It is so.", "length")
    assert ending(request(max_tokens=11), result()) == ("It is so.", "stop")


@pytest.mark.parametrize(
    ("reason", "status"), [("failed", 502), ("deadline", 504), ("budget", 429)]
)
def test_what_no_model_wrote_is_no_answer(reason, status):
    with pytest.raises(Problem) as caught:
        streamed(request(), result(provenance="simulated", stop_reason=reason, error="down"))
    assert caught.value.status == status
