"""The one place through which every model call goes: timeout, retry, schema refusal, usage.

`ask` never raises for a failed call: it returns a Reply whose `error` says what happened, so that a
failing expert cannot cancel its siblings. Runs on the background loop (see loop.py).
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs

from graph.errors import FailureKind, ModelError, ModelUnavailable
from swarm_brain.models.binding import Binding, JsonSchema, Sampling, estimate_tokens
from swarm_brain.models.loop import on_background

BACKOFF_SECONDS, BACKOFF_MOST = 0.5, 8.0
RETRY_AFTER_MOST = 60.0
MESSAGE_LENGTH = 300

# Some chat templates open the block themselves, so that a reply has its end alone.
_THINKING = re.compile(r"\A\s*<think>.*?(</think>|\Z)|\A[^<]*</think>", re.S)
_refuses_schema: set[tuple[str, str]] = set()  # (endpoint, spec) that answered a schema with 400


@dataclass(frozen=True)
class Call:
    """One question to one model. `schema` asks for JSON; `label` names the asking expert."""

    messages: Sequence[BaseMessage]
    sampling: Sampling
    timeout: float
    max_attempts: int
    label: str
    schema: JsonSchema | None = None


@dataclass
class Reply:
    """What came back. `attempts` are requests on the wire, `errors` those of them that failed.

    Token counts are None where no attempt succeeded; `estimated` says that we counted them.
    """

    text: str = ""
    attempts: int = 0
    errors: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    estimated: bool = False
    latency_s: float = 0.0
    cost_usd: float | None = None
    error: ModelError | None = None


@dataclass
class _Attempt:
    """State of one `ask` that spans its attempts."""

    binding: Binding
    call: Call
    config: RunnableConfig
    on_retry: Callable[[str], None]
    reply: Reply = field(default_factory=Reply)
    streamed: bool = False
    refused: bool = False  # the JSON schema, in this call

    @property
    def most_attempts(self) -> int:
        """A refused schema is asked again in plain text even where no retry is allowed."""
        return max(self.call.max_attempts, 1 + self.refused)


async def ask(
    binding: Binding,
    call: Call,
    config: RunnableConfig | None = None,
    on_retry: Callable[[str], None] = lambda _: None,
) -> Reply:
    """Make one call and wait for its reply, from any event loop.

    `config` carries LangChain's callbacks (tracing, token streams). `on_retry` is told the reason
    when words that were already streamed are void because the call is made again.
    """
    return await on_background(_ask(_Attempt(binding, call, config or {}, on_retry)))


async def _ask(work: _Attempt) -> Reply:
    """Attempt until there is a reply, the failure is final or the attempts are used up."""
    started = time.monotonic()
    reply = work.reply
    while reply.attempts < work.most_attempts:
        try:
            await _attempt(work)
            reply.error = None
            break
        except _SchemaRefused:
            work.refused = True
            continue
        except ModelError as error:
            reply.error = error
            if not error.retryable or reply.attempts >= work.most_attempts:
                break
            if work.streamed:
                work.on_retry(str(error))
                work.streamed = False
            await asyncio.sleep(pause(reply.attempts, error.retry_after))
    reply.latency_s = round(time.monotonic() - started, 3)
    return reply


def pause(attempts: int, retry_after: float | None) -> float:
    """Seconds to wait after the n-th failed attempt: what the endpoint asks, else backoff.

    Exponential with up to 50 % jitter, so that siblings do not come back in step.
    """
    if retry_after is not None:
        return min(retry_after, RETRY_AFTER_MOST)
    wait = min(BACKOFF_SECONDS * 2.0 ** (attempts - 1), BACKOFF_MOST)
    return wait * (1 + random.random() / 2)  # noqa: S311


class _SchemaRefused(Exception):
    """The endpoint answered a request with a JSON schema with 400 or 422."""


async def _attempt(work: _Attempt) -> None:
    """One request, with the JSON schema unless this endpoint refuses it; refusals are remembered.

    It is remembered only once plain text has worked: the schema may not be what was refused.
    """
    schema, place = work.call.schema, (work.binding.endpoint, work.binding.spec)
    plain = work.refused or place in _refuses_schema or not work.binding.takes_schema
    if schema is None or plain:
        await _request(work, {})
        if work.refused:
            _refuses_schema.add(place)
        return
    try:
        await _request(work, work.binding.schema_arguments(work.call.label, schema))
    except ModelError as error:
        if error.kind == "refused_request" and error.status in (400, 422):
            raise _SchemaRefused from None
        raise


async def _request(work: _Attempt, arguments: dict[str, Any]) -> None:
    """Send one request and put its reply into `work.reply`, or raise ModelError."""
    work.reply.attempts += not work.binding.simulated  # a simulation sends nothing
    try:
        async with asyncio.timeout(work.call.timeout) as deadline:
            watch = _Watch(work, deadline)
            message = await work.binding.tuned(work.call.sampling).ainvoke(
                list(work.call.messages),
                merge_configs(work.config, {"callbacks": [watch]}),
                **arguments,
            )
        _accept(work, message)
    except (ModelError, ModelUnavailable) as error:
        work.reply.errors += 1
        raise as_model_error(error) from None
    except TimeoutError:
        work.reply.errors += 1
        raise ModelError(
            "timeout", f"{work.binding.spec}: no answer within {work.call.timeout:g} s"
        ) from None
    except Exception as error:  # noqa: BLE001  foreign errors are translated here, once
        work.reply.errors += 1
        raise translate(error, work.binding) from None


def as_model_error(error: ModelError | ModelUnavailable) -> ModelError:
    """A model that is gone in the middle of a run is a failed call, like any other."""
    return error if isinstance(error, ModelError) else ModelError("unavailable", str(error))


class _Watch(AsyncCallbackHandler):
    """Moves the deadline on with every streamed token, and notes that some were shown."""

    def __init__(self, work: _Attempt, deadline: asyncio.Timeout) -> None:
        self._work, self._deadline = work, deadline

    async def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        """A stream that goes on is no timeout."""
        self._work.streamed = self._work.streamed or bool(token)
        if not self._deadline.expired():
            loop = asyncio.get_running_loop()
            self._deadline.reschedule(loop.time() + self._work.call.timeout)


def _accept(work: _Attempt, message: AIMessage) -> None:
    """Take over text and usage; a reply without words is no reply."""
    text = _THINKING.sub("", message.text).strip()
    if not text:
        raise ModelError("no_reply", f"{work.binding.spec}: the reply has no text in it")
    reply, usage = work.reply, message.usage_metadata
    reply.text = text
    if work.binding.simulated:
        reply.input_tokens = reply.output_tokens = reply.cached_tokens = 0
    elif usage and usage["input_tokens"]:
        reply.input_tokens, reply.output_tokens = usage["input_tokens"], usage["output_tokens"]
        reply.cached_tokens = (usage.get("input_token_details") or {}).get("cache_read")
    else:
        count = work.binding.count_tokens or estimate_tokens
        reply.input_tokens = sum(count(part.text) for part in work.call.messages)
        reply.output_tokens = count(message.text)
        reply.estimated = True
    reply.cost_usd = work.binding.price(
        reply.input_tokens, reply.cached_tokens or 0, reply.output_tokens
    )


def translate(error: Exception, binding: Binding) -> ModelError:
    """A vendor's error as ours: kind, status and Retry-After, without the key, on one line."""
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    headers = getattr(response, "headers", None) or {}
    said = " ".join(binding.redact(str(error)).split())[:MESSAGE_LENGTH]
    return ModelError(
        _kind(error, status),
        f"{binding.spec} at {binding.endpoint}: {type(error).__name__}: {said}",
        status=status,
        retry_after=_seconds(headers.get("retry-after")),
    )


_BY_NAME: tuple[tuple[str, FailureKind], ...] = (
    ("ContextOverflow", "context_overflow"),
    ("Timeout", "timeout"),
    ("Connection", "connection"),
    ("Connect", "connection"),
    ("RemoteProtocol", "connection"),
    ("ReadError", "connection"),
)
# What parsing a body raises that is no reply: HTML, broken JSON, no choices, wrong types.
_UNPARSABLE = (json.JSONDecodeError, ValueError, IndexError, TypeError, KeyError, AttributeError)


def _kind(error: Exception, status: int | None) -> FailureKind:
    """The kind of failure, by the error's class name (vendors share no base), else by status."""
    for ancestor in type(error).__mro__:
        for part, kind in _BY_NAME:
            if part in ancestor.__name__:
                return kind
    match status:
        case 401 | 403:
            return "auth"
        case 404:
            return "not_found"
        case 408:
            return "timeout"
        case 429:
            return "rate_limit"
        case int() if 400 <= status < 500:
            return "refused_request"
        case int() if status >= 500:
            return "server"
        case _:
            return "no_reply" if isinstance(error, _UNPARSABLE) else "connection"


def _seconds(value: str | None) -> float | None:
    """Retry-After in seconds, given as seconds or as an HTTP date; None if absent or unreadable."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
