"""OpenAI's own client, whole and streaming, sync and async."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import httpx
import openai
import pytest

from swarm_brain.presets import PRESETS
from tests.integration.processes import CANARY

HARD = "Why is the subject what it is?"
SIMPLE = "What does subject mean?"
ANSWER = "The subject is what all of this says.\nVerdict: 42"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def said(text: str, *before: tuple[str, str]) -> list[Any]:
    return [{"role": role, "content": words} for role, words in (*before, ("user", text))]


def create(client: openai.OpenAI, **given: Any) -> Any:
    """Ask as a user of this call's own, so that no other test's answers are recalled."""
    return client.chat.completions.create(**{"user": uuid.uuid4().hex, **given})


def raw(client: openai.OpenAI, **given: Any) -> Any:
    """The same with the headers of the reply."""
    made = client.chat.completions.with_raw_response
    return made.create(**{"user": uuid.uuid4().hex, **given})


def streamed(stream: Any) -> tuple[str, str, list[Any]]:
    """The answer's words, the experts', and all pieces."""
    pieces = list(stream)
    deltas = [piece.choices[0].delta for piece in pieces if piece.choices]
    answer = "".join(delta.content or "" for delta in deltas)
    thoughts = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    return answer, thoughts, pieces


def test_models_are_presets_and_topologies(client):
    names = {model.id for model in client.models.list()}
    assert names == {"swarm-brain", "swarm-brain-eight", *(f"swarm-brain-{p}" for p in PRESETS)}
    assert client.models.retrieve("swarm-brain-fast").owned_by == "swarm-brain"
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        client.models.retrieve("gpt-9")


def test_a_whole_answer_says_what_it_took_and_how_far_to_trust_it(client, asked):
    reply = raw(client, model="swarm-brain", messages=said(HARD))
    headers, reply = reply.headers, reply.parse()
    assert reply.choices[0].message.content == ANSWER
    assert reply.choices[0].finish_reason == "stop"
    assert len(asked.bodies) == 8
    used = [b["messages"] for b in asked.bodies]
    sent = sum(len(m["content"].encode()) for messages in used for m in messages)
    assert abs(reply.usage.prompt_tokens - sent / 4) < 20
    assert reply.usage.completion_tokens_details.reasoning_tokens == (
        reply.usage.completion_tokens - len(ANSWER.split())
    )
    swarm = reply.model_extra["swarm"]
    assert (swarm["provenance"], swarm["verdict"], swarm["calls"]) == ("full", "42", 8)
    assert len(swarm["experts"]) == 8
    assert headers["x-swarm-provenance"] == "full"
    assert headers["x-swarm-cost-usd"] == "unknown"
    assert headers["x-request-id"] == swarm["run"] == reply._request_id
    assert headers["x-swarm-thread"] == swarm["thread"]


def test_presets_choose_how_many_are_asked(client, asked):
    create(client, model="swarm-brain-fast", messages=said(HARD))
    assert len(asked.bodies) == 3
    create(client, model="swarm-brain-thorough", messages=said(SIMPLE))
    assert len(asked.bodies) == 3 + 8
    create(client, model="swarm-brain-eight", messages=said(HARD))
    assert len(asked.bodies) == 3 + 8 + 8


def test_a_stream_tells_the_experts_then_the_answer_then_the_usage(client, asked):
    answer, thoughts, pieces = streamed(
        create(
            client,
            model="swarm-brain",
            messages=said(HARD),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert answer == ANSWER
    order = ["perception is woken by begin (1.00)", "Kind: checkable", "[step 2] creative"]
    order += ["Seen from the other side", "synthesis is woken by", "meta_cognitive is woken"]
    assert [thoughts.index(words) for words in order] == sorted(map(thoughts.index, order))
    assert "The subject is what all" not in thoughts
    assert pieces[0].choices[0].delta.role == "assistant"
    assert (pieces[-1].choices, pieces[-1].usage.total_tokens > 0) == ([], True)
    end = pieces[-2]
    assert end.choices[0].finish_reason == "stop"
    assert end.model_extra["swarm"]["provenance"] == "full"
    assert len({piece.id for piece in pieces}) == 1


def test_words_come_as_they_are_generated(client, asked):
    """The last expert, who reads the answer, is still at work when the answer is there."""

    def slowly(request: Any) -> str:
        time.sleep(0.6)
        return '{"defects": []}'

    asked.script.says["meta_cognitive"] = slowly
    arrived: list[tuple[float, str]] = []
    for piece in create(client, model="swarm-brain", messages=said(HARD), stream=True):
        if piece.choices and piece.choices[0].delta.content:
            arrived.append((time.monotonic(), piece.choices[0].delta.content))
    ended = time.monotonic()
    assert len(arrived) >= len(ANSWER.split()) - 1  # a word each
    assert ended - arrived[-1][0] > 0.4


def test_reasoning_can_be_left_out_and_asked_for(client, asked):
    quiet = create(
        client,
        model="swarm-brain-fast",
        messages=said(SIMPLE),
        stream=True,
        extra_body={"swarm": {"reasoning": False}},
    )
    assert streamed(quiet)[1] == ""
    told = create(
        client,
        model="swarm-brain-fast",
        messages=said(SIMPLE),
        extra_body={"swarm": {"reasoning": True}},
    )
    assert "Kind: checkable" in told.choices[0].message.reasoning_content


DEFECT = '{"defects": [{"quote": "all of this says", "problem": "vague"}]}'


def test_a_stream_is_not_revised_and_tells_what_the_critic_found(client, asked):
    asked.script.says["meta_cognitive"] = DEFECT
    answer, _, pieces = streamed(
        create(client, model="swarm-brain", messages=said(HARD), stream=True)
    )
    swarm = pieces[-1].model_extra["swarm"]
    assert answer == ANSWER
    assert (swarm["revised"], swarm["defects"][0]["problem"]) == (False, "vague")
    assert len(asked.script.of("synthesis")) == 1


def test_a_stream_that_asks_for_a_revision_waits_for_it(client, asked):
    asked.script.says["meta_cognitive"] = DEFECT
    asked.script.says["synthesis"] = [ANSWER, "Mended.\nVerdict: 42"]
    answer, _, pieces = streamed(
        create(
            client,
            model="swarm-brain",
            messages=said(HARD),
            stream=True,
            extra_body={"swarm": {"max_revisions": 1}},
        )
    )
    assert answer == "Mended.\nVerdict: 42"
    assert pieces[-1].model_extra["swarm"]["revised"] is True


def test_an_answer_withdrawn_in_the_middle_is_an_error_and_no_other_answer(client, asked):
    """The stream breaks off after some words; the next attempt says something else."""
    asked.script.says["synthesis"] = [BROKEN, "Quite another answer."]
    stream = create(client, model="swarm-brain-fast", messages=said(SIMPLE), stream=True)
    words: list[str] = []
    with pytest.raises(openai.APIError, match="withdrawn"):
        words.extend(piece.choices[0].delta.content or "" for piece in stream)
    assert "".join(words).startswith("Half of")
    assert "another" not in "".join(words)


def _sse(*pieces: dict[str, Any]) -> str:
    frame = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return "".join(
        f"data: {json.dumps({**frame, 'choices': [{'index': 0, **piece}]})}\n\n" for piece in pieces
    )


BROKEN = (
    200,
    {"Content-Type": "text/event-stream"},
    _sse({"delta": {"content": "Half of "}}, {"delta": {"content": "an answer "}}),
)


def test_conversation_and_instructions_reach_the_experts(client, asked):
    messages = said(
        "And of that?",
        ("system", "Answer in rhyme."),
        ("user", "What is the capital of Poland?"),
        ("assistant", "Warsaw."),
    )
    create(client, model="swarm-brain-fast", messages=messages)
    user = asked.script.of("reasoning")[0]["user"]
    assert "<instructions>\nAnswer in rhyme.\n</instructions>" in user
    assert '<earlier by="assistant">\nWarsaw.\n</earlier>' in user
    assert "<question>\nAnd of that?\n</question>" in user


def test_content_may_come_in_parts(client, asked):
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "one?"}]
    create(client, model="swarm-brain-fast", messages=[{"role": "user", "content": parts}])
    assert "<question>\nWhat is\none?\n</question>" in asked.script.of("reasoning")[0]["user"]


def test_sampling_reaches_the_endpoint_and_the_limit_only_the_answer(client, asked):
    reply = create(
        client,
        model="swarm-brain-fast",
        messages=said(SIMPLE),
        temperature=0.25,
        top_p=0.5,
        seed=7,
        max_tokens=5,
    )
    assert {b["temperature"] for b in asked.bodies} == {0.25}
    assert {b["top_p"] for b in asked.bodies} == {0.5}
    assert {b["seed"] for b in asked.bodies} == {7}
    limits = [b.get("max_tokens") or b["max_completion_tokens"] for b in asked.bodies]
    assert limits[-1] == 5
    assert min(limits[:-1]) > 100
    assert reply.choices[0].finish_reason == "length"  # the fake writes on, beyond the limit


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stop", ["all of", ["nowhere", "what all"]])
def test_a_stop_ends_the_answer_before_it(client, asked, stop, stream):
    given = {"model": "swarm-brain-fast", "messages": said(SIMPLE), "stop": stop}
    if stream:
        answer, _, pieces = streamed(create(client, **given, stream=True))
        why = pieces[-1].choices[0].finish_reason
    else:
        choice = create(client, **given).choices[0]
        answer, why = choice.message.content, choice.finish_reason
    first = stop if isinstance(stop, str) else stop[1]
    assert answer == ANSWER[: ANSWER.index(first)].rstrip()
    assert why == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_in_a_form(client, asked, stream):
    asked.script.says["synthesis"] = '{"city": "Warszawa"}'
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}
    given = {"model": "swarm-brain-fast", "messages": said(SIMPLE), "response_format": form}
    if stream:
        text, _, _ = streamed(create(client, **given, stream=True))
    else:
        text = create(client, **given).choices[0].message.content
    assert json.loads(text) == {"city": "Warszawa"}
    assert asked.bodies[-1]["response_format"]["json_schema"]["schema"] == SCHEMA


def test_an_answer_that_misses_its_form_is_an_error(client, asked):
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}
    with pytest.raises(openai.InternalServerError) as caught:
        create(client, model="swarm-brain-fast", messages=said(SIMPLE), response_format=form)
    assert (caught.value.status_code, caught.value.code) == (502, "form")


REFUSED = {
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "n": 2,
    "logprobs": True,
    "frequency_penalty": 0.5,
    "audio": {},
    "prediction": {},
    "made_up": 1,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_refused_by_its_name(client, asked, name):
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, model="swarm-brain", messages=said(SIMPLE), extra_body={name: REFUSED[name]})
    assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")
    assert name in caught.value.message
    assert asked.bodies == []


def test_what_says_nothing_new_is_taken(client, asked):
    create(
        client,
        model="swarm-brain-fast",
        messages=said(SIMPLE),
        n=1,
        frequency_penalty=0,
        presence_penalty=0.0,
        logprobs=False,
        tools=[],
    )
    assert len(asked.bodies) == 3


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
         "messages.0.content"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": []}, "stop"),
        ({"seed": -1}, "seed"),
        ({"swarm": {"base_url": "http://169.254.169.254/"}}, "swarm.base_url"),
        ({"swarm": {"max_steps": 0}}, "swarm.max_steps"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema":
          {"type": "strnig"}}}}, None),
    ],
)  # fmt: skip
def test_a_wrong_request_is_told_where(server, asked, body, param):
    request = {"model": "swarm-brain", "messages": said(SIMPLE), **body}
    reply = httpx.post(f"{server.url}/v1/chat/completions", json=request)
    error = reply.json()["error"]
    assert reply.status_code == 400
    if param:
        assert error["param"].startswith(param)
    assert asked.bodies == []


def test_unknown_model_too_large_a_body_and_other_words_than_json(server, client):
    with pytest.raises(openai.NotFoundError) as caught:
        create(client, model="gpt-9", messages=said(SIMPLE))
    assert caught.value.code == "model_not_found"
    url = f"{server.url}/v1/chat/completions"
    assert httpx.post(url, content=b"{}").status_code == 415
    assert httpx.post(url, data={"a": "b"}).status_code == 415
    large = httpx.post(url, json={"model": "x" * 2_000_000})
    assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")


def test_a_blank_question_is_refused_before_any_call(client, asked):
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="empty"):
            create(client, model="swarm-brain", messages=said("  "), stream=stream)
    assert asked.bodies == []


def test_where_no_model_answers_there_is_an_error_and_no_answer(client, asked):
    for expert in list(asked.script.says):
        asked.script.says[expert] = (401, {}, "no")
    with pytest.raises(openai.InternalServerError) as caught:
        create(client, model="swarm-brain-fast", messages=said(SIMPLE))
    assert (caught.value.status_code, caught.value.code) == (502, "no_answer")
    asked.bodies.clear()
    with pytest.raises(openai.InternalServerError):
        create(client.with_options(max_retries=2), model="swarm-brain-fast", messages=said(SIMPLE))
    assert len(asked.bodies) == 3  # what failed and was paid for is not asked again unasked
    stream = create(client, model="swarm-brain-fast", messages=said(SIMPLE), stream=True)
    with pytest.raises(openai.APIError, match="No model answered"):
        list(stream)


def test_a_degraded_answer_says_so(client, asked):
    asked.script.says["reasoning"] = (400, {}, "no")
    reply = raw(client, model="swarm-brain", messages=said(HARD))
    assert reply.headers["x-swarm-provenance"] == "degraded"
    assert "reasoning" in reply.parse().model_extra["swarm"]["error"]


def test_budgets_of_a_request_hold(client, asked):
    swarm = {"swarm": {"budget_tokens": 2_000}}
    reply = create(client, model="swarm-brain", messages=said(HARD), extra_body=swarm)
    assert reply.usage.total_tokens <= 2_000
    with pytest.raises(openai.BadRequestError) as caught:
        create(
            client,
            model="swarm-brain",
            messages=said(HARD),
            extra_body={"swarm": {"budget_tokens": 5}},
        )
    assert caught.value.code == "budget_too_small"


def test_users_of_one_key_have_their_own_memories(client, asked):
    zebroids = "What does zebroid mean in zoology?"
    for user, recalled in (("ann", 0), ("ben", 0), ("ann", 1)):
        reply = create(client, model="swarm-brain-fast", messages=said(zebroids), user=user)
        assert len(reply.model_extra["swarm"]["recalled"]) == recalled


def test_store_false_leaves_no_thread_and_no_memory(server, client, asked):
    before = httpx.get(f"{server.url}/brain/threads").json()
    reply = create(
        client,
        model="swarm-brain-fast",
        messages=said("What does quagga mean?"),
        store=False,
        user="quagga",
    )
    assert reply.model_extra["swarm"]["thread"] is None
    assert httpx.get(f"{server.url}/brain/threads").json() == before
    again = create(
        client, model="swarm-brain-fast", messages=said("What does quagga mean?"), user="quagga"
    )
    assert again.model_extra["swarm"]["recalled"] == []


def test_many_at_once_get_their_own_answers(server, asked):
    asked.script.says["synthesis"] = lambda request: request["user"].split("\n")[1]
    questions = [f"What does word-{n} mean?" for n in range(20)]

    async def ask_all() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x") as client:

            async def one(question: str, stream: bool) -> str:
                made = await client.chat.completions.create(
                    model="swarm-brain-fast",
                    messages=said(question),
                    stream=stream,
                    extra_body={"swarm": {"use_memory": False}},
                )
                if not stream:
                    return made.choices[0].message.content or ""
                return "".join([p.choices[0].delta.content or "" async for p in made])

            return await asyncio.gather(*(one(q, n % 2 == 0) for n, q in enumerate(questions)))

    assert asyncio.run(ask_all()) == questions


def test_secrets_are_nowhere(server, client, asked):
    asked.script.says["reasoning"] = (401, {}, f"wrong key {CANARY}")
    reply = raw(client, model="swarm-brain", messages=said(HARD))
    assert CANARY not in reply.text
    assert CANARY not in server.log.read_text()
    assert "Traceback" not in server.log.read_text()  # of no request before this one either
