"""One call to a model: what is retried, counted, timed, translated and crossed between loops."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from contextvars import ContextVar
from email.utils import formatdate

import httpx
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGenerationChunk

from swarm_brain.calls import retry
from swarm_brain.calls.background_loop import background_loop, on_background, wait_for
from swarm_brain.calls.client import Call, ask
from swarm_brain.calls.error_map import translate
from swarm_brain.graph.errors import ModelError
from swarm_brain.models.binding import Binding, Sampling, estimate_tokens

KEY = "sk-canary-4711"
SCHEMA = {"type": "object", "properties": {"creative": {"type": "number"}}}
RETRYABLE = ["rate_limit", "server", "timeout", "connection", "no_reply"]
FINAL = ["auth", "not_found", "refused_request", "context_overflow", "unreadable", "unavailable"]
fresh = itertools.count()


class Wire:
    """A model that answers from a list, whose last item stays; keeps each request's arguments."""

    def __init__(self, *says):
        self.says, self.sent = list(says), []

    async def ainvoke(self, messages, config=None, **arguments):
        self.sent.append(arguments)
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        said = await said() if callable(said) else said
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, AIMessage) else AIMessage(said)


def bound(model, **fields) -> Binding:
    """A binding to an endpoint that no other test has spoken to."""
    endpoint = f"http://fake{next(fresh)}"
    fields = {"spec": "fake:model", "max_tokens": 64, "secret": KEY, **fields}
    return Binding(endpoint=endpoint, tuned=lambda sampling: model, **fields)


def strict(wire: Wire, **fields) -> Binding:
    """A binding whose endpoint is asked for JSON by schema."""
    return bound(wire, schema_arguments=lambda name, schema: {"schema": schema}, **fields)


def question(**fields) -> Call:
    messages = [SystemMessage("# Expert: x"), HumanMessage("Why?")]
    defaults = {"timeout": 5.0, "max_attempts": 3, "label": "x"}
    return Call(messages, Sampling(0.7, 0.9, 64), **{**defaults, **fields})


def refused(status=400) -> ModelError:
    return ModelError("refused_request", "no response_format here", status=status)


@pytest.fixture
def pauses(monkeypatch) -> list:
    """What each pause was asked for; none is waited for."""
    asked = []

    def none(attempts, retry_after):
        asked.append((attempts, retry_after))
        return 0

    monkeypatch.setattr(retry, "pause", none)
    return asked


@pytest.mark.parametrize("kind", RETRYABLE)
async def test_what_may_pass_is_asked_again(pauses, kind):
    wire = Wire(ModelError(kind, "no"), ModelError(kind, "no"), "Because.")
    reply = await ask(bound(wire), question())
    assert (reply.text, reply.error) == ("Because.", None)
    assert (reply.attempts, reply.errors, len(wire.sent)) == (3, 2, 3)
    assert [attempts for attempts, _ in pauses] == [1, 2]


@pytest.mark.parametrize("kind", FINAL)
async def test_what_will_not_pass_is_asked_once(pauses, kind):
    wire = Wire(ModelError(kind, "no"), "Because.")
    reply = await ask(bound(wire), question())
    assert (reply.text, reply.error.kind) == ("", kind)
    assert (reply.attempts, reply.errors, pauses) == (1, 1, [])
    assert (reply.input_tokens, reply.output_tokens, reply.cost_usd) == (None, None, None)


@pytest.mark.parametrize("most", [1, 2, 4])
async def test_attempts_are_bounded(pauses, most):
    wire = Wire(ModelError("server", "no"))
    reply = await ask(bound(wire), question(max_attempts=most))
    assert reply.error.kind == "server"
    assert reply.attempts == reply.errors == len(wire.sent) == most
    assert len(pauses) == most - 1


async def test_a_foreign_error_is_translated_and_counted(pauses):
    wire = Wire(
        httpx.ConnectError(f"no route with {KEY}"), json.JSONDecodeError("no", "<", 0), "So."
    )
    reply = await ask(bound(wire), question())
    assert (reply.text, reply.attempts, reply.errors) == ("So.", 3, 2)


async def test_retry_after_reaches_the_pause(pauses):
    wire = Wire(ModelError("rate_limit", "slow down", status=429, retry_after=7.0), "So.")
    await ask(bound(wire), question())
    assert pauses == [(1, 7.0)]


def test_pause():
    assert retry.pause(1, 2.5) == 2.5
    assert retry.pause(1, 0.0) == 0.0
    assert retry.pause(1, 1e9) == retry.RETRY_AFTER_MOST
    for attempts in range(1, 9):
        least = min(retry.BACKOFF_SECONDS * 2 ** (attempts - 1), retry.BACKOFF_MOST)
        waits = {retry.pause(attempts, None) for _ in range(20)}
        assert least <= min(waits) < max(waits) <= least * 1.5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        (formatdate(0, usegmt=True), 0.0),
        ("", None),
        ("soon", None),
        ("Wed, 99 Nov 2025 07:28:00 GMT", None),
        ("Wed, 19 Nov 99999999999999999999 07:28:00 GMT", None),
        ("7 seconds", None),
    ],
)
def test_retry_after(value, seconds):
    headers = {} if value is None else {"Retry-After": value}
    assert translate(status_error(429, headers), bound(Wire("")).origin).retry_after == seconds


def test_retry_after_as_a_date_to_come():
    headers = {"Retry-After": formatdate(time.time() + 30, usegmt=True)}
    ours = translate(status_error(429, headers), bound(Wire("")).origin)
    assert 25 < ours.retry_after <= 30


async def test_silence_is_a_timeout_and_asked_again(pauses):
    wire = Wire(lambda: asyncio.sleep(30), "So.")
    reply = await ask(bound(wire), question(timeout=0.02))
    assert (reply.text, reply.attempts, reply.errors) == ("So.", 2, 1)
    last = await ask(bound(Wire(lambda: asyncio.sleep(30))), question(timeout=0.02, max_attempts=1))
    assert last.error.kind == "timeout"
    assert "fake:model: no answer within 0.02 s" in str(last.error)
    assert 0.02 <= last.latency_s < 2


class Streams(BaseChatModel):
    """Words with a pause before each; each call uses up one list of pauses, in seconds."""

    pauses: list
    streaming: bool = True

    @property
    def _llm_type(self) -> str:
        return "streams"

    def _generate(self, *args, **kwargs):
        raise NotImplementedError

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        for seconds in self.pauses.pop(0):
            await asyncio.sleep(seconds)
            yield ChatGenerationChunk(message=AIMessageChunk("word "))


async def test_a_stream_that_goes_on_is_no_timeout():
    void = []
    model = Streams(pauses=[[0.1] * 7], streaming=True)
    reply = await ask(bound(model), question(timeout=0.4), on_retry=void.append)
    assert (reply.error, reply.attempts, void) == (None, 1, [])
    assert reply.text == " ".join(["word"] * 7)
    assert reply.latency_s > 0.4


async def test_a_stream_that_stops_is_void_and_said_to_be(pauses):
    void = []
    model = Streams(pauses=[[0, 0, 30], [0, 0]], streaming=True)
    reply = await ask(bound(model), question(timeout=0.3), on_retry=void.append)
    assert (reply.text, reply.attempts, reply.errors) == ("word word", 2, 1)
    assert void == ["fake:model: no answer within 0.3 s"]


async def test_a_retry_before_any_word_voids_nothing(pauses):
    void = []
    model = Streams(pauses=[[30], [0]], streaming=True)
    await ask(bound(model), question(timeout=0.3), on_retry=void.append)
    assert void == []


async def test_callbacks_hear_every_token_and_are_left_as_they_were():
    heard = []

    class Hear(BaseCallbackHandler):
        def on_llm_new_token(self, token, **kwargs):
            heard.append(token)

    config = {"callbacks": [Hear()]}
    await ask(bound(Streams(pauses=[[0, 0]], streaming=True)), question(), config)
    assert [token for token in heard if token] == ["word ", "word "]
    assert len(config["callbacks"]) == 1


@pytest.mark.parametrize("status", [400, 422])
async def test_a_refused_schema_is_remembered(pauses, status):
    wire = Wire(refused(status), "{}", "{}")
    binding = strict(wire)
    reply = await ask(binding, question(schema=SCHEMA))
    assert (reply.text, reply.error) == ("{}", None)
    assert (reply.attempts, reply.errors) == (2, 1)
    reply = await ask(binding, question(schema=SCHEMA))
    assert (reply.attempts, reply.errors) == (1, 0)
    assert wire.sent == [{"schema": SCHEMA}, {}, {}]
    assert pauses == []


async def test_another_endpoint_and_another_model_are_still_asked_with_a_schema():
    wire = Wire(refused(), "{}")
    binding = strict(wire)
    await ask(binding, question(schema=SCHEMA))
    await ask(strict(wire), question(schema=SCHEMA))
    await ask(strict(wire, spec="fake:other"), question(schema=SCHEMA))
    assert wire.sent == [{"schema": SCHEMA}, {}, {"schema": SCHEMA}, {"schema": SCHEMA}]


async def test_a_400_that_has_nothing_to_do_with_the_schema_is_final(pauses):
    wire = Wire(refused())
    reply = await ask(strict(wire), question())
    assert (reply.attempts, reply.error.status) == (1, 400)
    wire = Wire(refused(), refused(), "{}")
    binding = strict(wire)
    reply = await ask(binding, question(schema=SCHEMA))
    assert (reply.attempts, reply.errors, reply.error.status) == (2, 2, 400)
    await ask(binding, question(schema=SCHEMA))
    assert wire.sent == [{"schema": SCHEMA}, {}, {"schema": SCHEMA}]


@pytest.mark.parametrize(
    "error",
    [
        ModelError("context_overflow", "too long", status=400),
        ModelError("refused_request", "too large", status=413),
        ModelError("auth", "who are you", status=401),
    ],
    ids=str,
)
async def test_other_refusals_are_not_asked_again_in_plain_text(pauses, error):
    wire = Wire(error)
    reply = await ask(strict(wire), question(schema=SCHEMA))
    assert (reply.attempts, reply.error) == (1, error)


async def test_a_schema_is_refused_once_in_a_call_whatever_follows(pauses):
    class Down(Wire):
        async def ainvoke(self, messages, config=None, **arguments):
            self.sent.append(arguments)
            raise refused() if arguments else ModelError("server", "down", status=500)

    wire = Down()
    reply = await ask(strict(wire), question(schema=SCHEMA, max_attempts=3))
    assert reply.error.kind == "server"
    assert wire.sent == [{"schema": SCHEMA}, {}, {}]
    assert reply.attempts == reply.errors == 3


async def test_a_refused_schema_is_asked_in_plain_text_where_no_retry_is_allowed():
    reply = await ask(strict(Wire(refused(), "{}")), question(schema=SCHEMA, max_attempts=1))
    assert (reply.text, reply.attempts, reply.error) == ("{}", 2, None)


async def test_a_model_that_takes_no_schema_is_not_asked_for_one():
    wire = Wire("{}")
    await ask(bound(wire), question(schema=SCHEMA))
    assert wire.sent == [{}]


@pytest.mark.parametrize("empty", ["", " \n\t", "<think>hm</think>", "<think>hm, and so on"])
async def test_a_reply_without_words_is_no_reply(pauses, empty):
    reply = await ask(bound(Wire(empty)), question())
    assert (reply.error.kind, reply.attempts, reply.errors) == ("no_reply", 3, 3)
    assert (reply.text, reply.output_tokens) == ("", None)
    assert (await ask(bound(Wire(empty, "So.")), question())).text == "So."


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("<think>\nhm\n</think>\n\nSo.", "So."),
        ("  <think>a</think>So. <think>b</think>", "So. <think>b</think>"),
        ("So <think> is a tag.", "So <think> is a tag."),
        ([{"type": "text", "text": "So"}, {"type": "text", "text": "."}], "So."),
        ("\n So. \n", "So."),
    ],
)
async def test_thoughts_are_no_part_of_the_reply(said, text):
    assert (await ask(bound(Wire(AIMessage(said))), question())).text == text


def used(inputs, outputs, cached=None) -> AIMessage:
    details = {} if cached is None else {"input_token_details": {"cache_read": cached}}
    usage = {"input_tokens": inputs, "output_tokens": outputs, "total_tokens": inputs + outputs}
    return AIMessage("So.", usage_metadata={**usage, **details})


async def test_usage_is_the_endpoints_and_priced():
    prices = []

    def price(*tokens):
        prices.append(tokens)
        return 0.5

    reply = await ask(bound(Wire(used(70, 5, cached=64)), price=price), question())
    assert (reply.input_tokens, reply.output_tokens, reply.cached_tokens) == (70, 5, 64)
    assert (reply.estimated, reply.cost_usd) == (False, 0.5)
    unknown = await ask(bound(Wire(used(70, 5)), price=price), question())
    assert unknown.cached_tokens is None
    assert prices == [(70, 64, 5), (70, 0, 5)]


@pytest.mark.parametrize("message", [AIMessage("So it is."), used(0, 0)])
async def test_usage_that_is_not_told_is_counted_and_said_to_be(message):
    reply = await ask(bound(Wire(message)), question())
    assert reply.estimated
    assert reply.input_tokens == estimate_tokens("# Expert: x") + estimate_tokens("Why?") == 4
    assert reply.output_tokens == estimate_tokens(message.text)
    assert (reply.cached_tokens, reply.cost_usd) == (None, None)
    counted = await ask(bound(Wire(message), count_tokens=lambda text: 100), question())
    assert (counted.input_tokens, counted.output_tokens) == (200, 100)


async def test_a_simulation_sends_nothing():
    reply = await ask(bound(Wire("[simulated]"), simulated=True), question())
    assert (reply.attempts, reply.errors) == (0, 0)
    assert (reply.input_tokens, reply.output_tokens, reply.cached_tokens) == (0, 0, 0)


class Failure(Exception):
    """A vendor's error with a status and maybe a response."""

    def __init__(self, text="no", **fields):
        super().__init__(text)
        self.__dict__.update(fields)


def vendor(name: str, *parents: type[Exception], **fields) -> Exception:
    return type(name, parents or (Failure,), {})("no", **fields)


def status_error(status: int, headers=None) -> httpx.HTTPStatusError:
    response = httpx.Response(status, headers=headers, request=httpx.Request("POST", "http://x"))
    return httpx.HTTPStatusError("no", request=response.request, response=response)


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (httpx.ConnectTimeout("no"), "timeout", None),
        (httpx.ReadTimeout("no"), "timeout", None),
        (httpx.PoolTimeout("no"), "timeout", None),
        (httpx.ConnectError("no"), "connection", None),
        (httpx.ReadError("no"), "connection", None),
        (httpx.WriteError("no"), "connection", None),
        (httpx.RemoteProtocolError("no"), "connection", None),
        (ConnectionResetError("no"), "connection", None),
        (OSError("no"), "connection", None),
        (status_error(401), "auth", 401),
        (status_error(403), "auth", 403),
        (status_error(404), "not_found", 404),
        (status_error(400), "refused_request", 400),
        (status_error(422), "refused_request", 422),
        (status_error(413), "refused_request", 413),
        (status_error(408), "timeout", 408),
        (status_error(429), "rate_limit", 429),
        (status_error(500), "server", 500),
        (status_error(529), "server", 529),
        (Failure(status_code=429), "rate_limit", 429),
        (vendor("OpenAIRateLimitError", status_code=429), "rate_limit", 429),
        (vendor("OpenAIContextOverflowError", status_code=400), "context_overflow", 400),
        (vendor("APITimeoutError", type("APIConnectionError", (Failure,), {})), "timeout", None),
        (vendor("OpenAIConnectionError"), "connection", None),
        (json.JSONDecodeError("no", "<html>", 0), "no_reply", None),
        (ValueError("Unexpected response type"), "no_reply", None),
        (IndexError("no choices"), "no_reply", None),
        (TypeError("no choices"), "no_reply", None),
        (KeyError("choices"), "no_reply", None),
        (AttributeError("choices"), "no_reply", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_translation(error, kind, status):
    binding = bound(Wire(""))
    ours = translate(error, binding.origin)
    assert (ours.kind, ours.status) == (kind, status)
    assert str(ours).startswith(f"fake:model at {binding.endpoint}: {type(error).__name__}: ")


async def test_the_key_is_in_no_error(pauses):
    said = f"Incorrect key provided: {KEY}.\n  Find it\nunder {KEY}." + "x" * 1000
    reply = await ask(bound(Wire(Failure(said, status_code=401))), question())
    assert "Incorrect key provided: [key]. Find it under [key]." in str(reply.error)
    assert KEY not in f"{reply!r} {reply.error!r} {reply.error.__dict__}"
    assert reply.error.__cause__ is None
    assert "\n" not in str(reply.error)
    assert len(str(reply.error)) < 400
    assert KEY not in repr(bound(Wire("")))


def test_all_loops_and_threads_share_one_loop():
    loops = []
    caller: ContextVar[int] = ContextVar("caller", default=-1)

    async def answer():
        await asyncio.sleep(0.005)
        loops.append(asyncio.get_running_loop())
        return f"{caller.get()}"

    binding, texts = bound(Wire(answer)), {}

    def one(number: int):
        async def both():
            caller.set(number)
            replies = await asyncio.gather(*(ask(binding, question()) for _ in range(3)))
            return {reply.text for reply in replies}

        texts[number] = asyncio.run(both()) | asyncio.run(both())

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert texts == {number: {str(number)} for number in range(4)}
    assert len(loops) == 24
    assert set(loops) == {background_loop()}


def test_waiting_for_work_from_a_thread_and_its_errors():
    async def fails():
        raise KeyError("why")

    async def nested():
        return await on_background(asyncio.sleep(0, "inner"))

    assert wait_for(asyncio.sleep(0, "done")) == "done"
    assert wait_for(nested()) == "inner"
    with pytest.raises(KeyError, match="why"):
        wait_for(fails())
    with pytest.raises(KeyError, match="why"):
        asyncio.run(on_background(fails()))


async def test_cancelling_the_caller_cancels_the_call():
    begun, ended = threading.Event(), threading.Event()

    async def hang():
        begun.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    wire = Wire(hang)
    task = asyncio.create_task(ask(bound(wire), question()))
    assert await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 5)
    await asyncio.sleep(0.02)
    assert len(wire.sent) == 1
