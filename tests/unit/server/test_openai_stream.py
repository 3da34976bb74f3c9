"""What of an answer goes out while it is generated. However it is cut into pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_brain.calls.client import _THINKING, writable
from swarm_brain.server import openai_stream
from swarm_brain.server.openai_completion import ending, first_stop
from swarm_brain.server.openai_schema import ChatRequest, question_of
from swarm_brain.server.openai_stream import Answer, Writer
from swarm_brain.server.problems import Problem

PIECES = st.lists(
    st.sampled_from(
        ["a", "b", " ", "\n", "END", "E", "ND", "<th", "ink>", "</think>", "\ud83d", "\ude00", "\0"]
    ),
    max_size=12,
)


def final_of(raw: str, stops: tuple[str, ...]) -> str:
    """The answer as it stands in the result, ended as a whole reply is."""
    text = writable(_THINKING.sub("", raw)).strip()
    at = first_stop(text, stops)
    return text if at is None else text[:at].rstrip()


@given(PIECES, st.sampled_from([(), ("END",), ("ND", "a b")]))
def test_what_goes_out_in_pieces_is_the_answer(pieces, stops):
    raw = "".join(pieces)
    if "</think>" in raw and not raw.lstrip().startswith("<think>"):
        return  # an answer that was begun as a thought is withdrawn
    answer, final = Answer(stops), final_of(raw, stops)
    sent = "".join([answer.take(piece) for piece in pieces])
    assert sent + answer.end(final) == final


@pytest.mark.parametrize("around", ["```json\n{}\n```", "Here it is: {}", "{}"])
def test_json_is_taken_out_of_what_stands_around_it(around):
    formed = '{"city": "Łódź"}'
    answer = Answer((), formed=True)
    sent = "".join([answer.take(letter) for letter in around.replace("{}", formed)])
    assert sent + answer.end(formed) == formed
    assert bool(sent) == (around == "{}")


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
        return [chunk async for chunk in Writer(asked, question_of(asked), STARTED).chunks(told())]

    return asyncio.run(all_of_them())


def words(chunks: list[dict[str, Any]]) -> str:
    return "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])


def token(expert: str, text: str) -> dict[str, Any]:
    return {"event": "token", "expert": expert, "step": 3, "text": text}


def test_only_the_answering_experts_words_are_the_answer():
    openai_stream = streamed(
        request(), token("creative", "A draft."), token("synthesis", "It is "), result()
    )
    assert words(openai_stream) == "It is so."


def test_a_model_whose_replies_begin_in_a_thought_is_known_after_the_first(monkeypatch):
    monkeypatch.setattr(openai_stream, "_begin_in_thought", set())
    woken = {"event": "woken", "expert": "synthesis", "step": 3, "model": "thinker:m",
             "woken_by": []}  # fmt: skip
    pieces = ("Let me see", "... </thi", "nk>\nIt is ", "so.")
    told = [token("synthesis", piece) for piece in pieces]
    with pytest.raises(Problem, match="withdrawn"):
        streamed(request(), woken, *told, result())
    second = streamed(request(), woken, *told, result())
    sent = [chunk["choices"][0]["delta"].get("content") for chunk in second]
    assert [words for words in sent if words] == ["It is", " so."]
    other = streamed(request(), {**woken, "model": "other:m"}, token("synthesis", "It"), result())
    assert words(other) == "It is so."


def test_who_runs_alone_answers():
    alone = {**BEGUN, "max_steps": 1, "woken": ["reasoning"]}
    openai_stream = streamed(request(), alone, token("reasoning", "It is so."), result())
    assert [c["choices"][0]["delta"].get("content") for c in openai_stream[:2]] == ["", "It is so."]


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
