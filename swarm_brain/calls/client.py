"""Make model calls: cache, budget, pacing, timeout, retries, usage.

`ask` does not raise for a failed call. It returns a Reply with an `error`, so that one failing
expert does not cancel its siblings. It runs on the background loop.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig

from swarm_brain.calls import error_map, rate_limit, retry, wire
from swarm_brain.calls.background_loop import on_background
from swarm_brain.calls.reply_cache import key_of
from swarm_brain.calls.request import Call, Reply
from swarm_brain.graph.errors import ModelError
from swarm_brain.models.binding import Binding, Sampling, estimate_tokens
from swarm_brain.spending import quota
from swarm_brain.spending.ledger import Amount
from swarm_brain.spending.prompt_bound import learn, prompt_bound
from swarm_brain.spending.reply_length import afford

# Some chat templates open the block themselves, so that a reply has only its end.
_THINKING = re.compile(r"\A\s*<think>.*?(</think>|\Z)|\A[^<]*</think>", re.S)
_refuses_schema: set[tuple[str, str]] = set()  # (endpoint, spec) that refuse JSON schemas


@dataclass
class _Attempt:
    """The state of one `ask`, shared by its attempts."""

    binding: Binding
    call: Call
    config: RunnableConfig
    on_retry: Callable[[str], None]
    reply: Reply = field(default_factory=Reply)
    streamed: bool = False
    refused: bool = False  # the endpoint refused the JSON schema in this call
    bound: int | None = None  # tokens of the prompt at most; counted only if a budget needs it

    def shown(self) -> None:
        """Record that words of this attempt have reached a reader."""
        self.streamed = True

    @property
    def most_attempts(self) -> int:
        """The attempts allowed; one more for plain text after a refused schema."""
        return max(self.call.max_attempts, 1 + self.refused)


async def ask(
    binding: Binding,
    call: Call,
    config: RunnableConfig | None = None,
    on_retry: Callable[[str], None] = lambda _: None,
) -> Reply:
    """Make one call and wait for its reply, from any event loop.

    `config` carries LangChain's callbacks (tracing, token streams). `on_retry` gets the reason when
    words that were streamed are void, because the call is made again.
    """
    return await on_background(_cached(_Attempt(binding, call, config or {}, on_retry)))


async def _cached(work: _Attempt) -> Reply:
    """Return a free reply from the cache, or else the model's."""
    call, binding = work.call, work.binding
    if call.cache is None or binding.simulated:
        return await _ask(work)
    texts = [message.text for message in call.messages]
    key = key_of(binding, call.sampling, texts, call.schema, call.payer)
    if (text := await asyncio.to_thread(call.cache.get, key)) is not None:
        return Reply(text, 0, 0, 0, 0, 0, cost_usd=0.0, from_cache=True)
    reply = await _ask(work)
    if reply.error is None and not reply.lowered and call.readable(reply.text):
        await asyncio.to_thread(call.cache.put, key, reply.text)
    return reply


async def _ask(work: _Attempt) -> Reply:
    """Attempt until there is a reply, the failure is final or no attempt is left."""
    started = time.monotonic()
    reply = work.reply
    while True:
        try:
            _check_circuit(work)
            await _attempt(work)
            reply.error = None
            break
        except _SchemaRefused:
            work.refused = True
        except ModelError as error:
            reply.error = error
            if error.kind not in retry.RETRYABLE_KINDS or reply.attempts >= work.most_attempts:
                break
            if not await _before_retry(work, error):
                break
    _count_for_circuit(work)
    reply.latency_s = round(time.monotonic() - started, 3)
    return reply


async def _before_retry(work: _Attempt, error: ModelError) -> bool:
    """Wait before the next attempt; return False if the run's time is too short."""
    wait = retry.pause(work.reply.attempts, error.retry_after)
    left = work.call.ledger.seconds_left(answering=work.call.answering)
    if left is not None and wait >= left:
        work.reply.error = ModelError("deadline", f"budget_seconds: no time to retry after {error}")
        return False
    if work.streamed:
        work.on_retry(str(error))
        work.streamed = False
    await asyncio.sleep(wait)
    return True


def _check_circuit(work: _Attempt) -> None:
    if work.call.ledger.given_up(work.binding.endpoint):
        last = f" (last: {work.reply.error})" if work.reply.error else ""
        raise ModelError(
            "circuit_open", f"{work.binding.endpoint} has failed too often in this run{last}"
        )


def _count_for_circuit(work: _Attempt) -> None:
    """Count failures of the endpoint, not those of the prompt or the budget."""
    error = work.reply.error
    if error is None or error.kind in retry.ENDPOINT_KINDS:
        work.call.ledger.ended(work.binding.endpoint, well=error is None)


class _SchemaRefused(Exception):
    """The endpoint refused a request with a JSON schema (status 400 or 422)."""


async def _attempt(work: _Attempt) -> None:
    """Send one request, with the JSON schema unless this endpoint refuses schemas.

    A refusal is remembered once plain text has worked: it may have had another reason.
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
    """Reserve, wait for a turn, send and settle. Raises ModelError on failure."""
    if work.bound is None and (
        work.call.ledger.limited or work.call.reservations or quota.allowances(work.call.payer)
    ):
        texts = [message.text for message in work.call.messages]
        work.bound = await asyncio.to_thread(prompt_bound, work.binding, texts)
    sampling, worst = afford(work.binding, work.call, work.bound)
    ledger, spent = work.call.ledger, worst
    ledger.reserve(worst, answering=work.call.answering)
    sent_before, entry = work.reply.attempts, None
    try:
        booking = await quota.areserve(work.call.payer, worst)
    except BaseException:
        ledger.settle(worst, Amount(), work.binding.endpoint, answering=False)
        raise
    try:
        async with _turn(work):
            entry = await _save_reservation(work, sampling, worst)
            work.reply.attempts += not work.binding.simulated  # a simulation sends nothing
            message = await wire.send(
                work.binding, work.call, sampling, work.config, work.shown, arguments
            )
            spent = _accept(work, message, sampling, worst)
    except ModelError as error:
        work.reply.errors += work.reply.attempts - sent_before
        spent = Amount() if error.kind in error_map.UNBILLED_KINDS else worst
        raise
    finally:
        ledger.settle(worst, spent, work.binding.endpoint, answering=work.call.answering)
        work.reply.charged += spent
        await asyncio.shield(quota.asettle(booking, spent))
        await asyncio.shield(_settle_reservation(work, entry, spent, sampling))


async def _save_reservation(work: _Attempt, sampling: Sampling, worst: Amount) -> str | None:
    """Save the reservation outside this process; return its key, if any."""
    if work.call.reservations is None or work.binding.simulated:
        return None
    return await work.call.reservations.open(work.bound or 0, sampling.max_tokens, worst.usd)


async def _settle_reservation(
    work: _Attempt, entry: str | None, spent: Amount, sampling: Sampling
) -> None:
    """Replace the saved reservation by the request's usage."""
    if work.call.reservations is None or entry is None:
        return
    outputs = min(spent.tokens, work.reply.output_tokens or sampling.max_tokens)
    await work.call.reservations.settle(entry, spent.tokens - outputs, outputs, spent.usd)


@asynccontextmanager
async def _turn(work: _Attempt) -> AsyncIterator[None]:
    """Hold a place at the endpoint and report the outcome to its gate.

    Raises ModelError("deadline").
    """
    gate = rate_limit.gate(work.binding.endpoint, work.binding.pace)
    left = work.call.ledger.seconds_left(answering=work.call.answering)
    try:
        async with asyncio.timeout(left), gate.passing() as scout:
            retry_after = None
            try:
                yield
            except ModelError as error:
                retry_after = error.retry_after if error.kind == "rate_limit" else None
                raise
            finally:
                if retry_after is None:
                    gate.answered(scout=scout)
                else:
                    gate.refused(min(retry_after, retry.RETRY_AFTER_MOST), scout=scout)
    except TimeoutError:
        raise ModelError("deadline", "budget_seconds: the time of this run is used up") from None


def _accept(work: _Attempt, message: AIMessage, sampling: Sampling, worst: Amount) -> Amount:
    """Copy text and usage into the reply; return the request's usage.

    That is the worst case if neither the endpoint nor a tokenizer counted. Raises ModelError if the
    message has no text.
    """
    text = writable(_THINKING.sub("", message.text)).strip()
    if not text:
        raise ModelError("no_reply", f"{work.binding.spec}: the reply has no text in it")
    ended = message.response_metadata.get("finish_reason") or not work.binding.states_end
    if work.streamed and not ended:
        raise ModelError("connection", f"{work.binding.spec}: the stream broke off")
    reply, usage = work.reply, wire.usage(message)
    reply.text = text
    if work.binding.simulated:
        reply.input_tokens = reply.output_tokens = reply.cached_tokens = 0
    elif usage is not None:
        reply.input_tokens, reply.output_tokens, reply.cached_tokens = usage
        learn(work.binding, [part.text for part in work.call.messages], reply.input_tokens)
    else:
        count = work.binding.count_tokens or estimate_tokens
        reply.input_tokens = sum(count(part.text) for part in work.call.messages)
        reply.output_tokens = count(message.text)
        reply.estimated = True
    reply.cost_usd = work.binding.price(
        reply.input_tokens, reply.cached_tokens or 0, reply.output_tokens
    )
    guessed = reply.estimated and work.binding.count_tokens is None
    shorter = sampling.max_tokens < (work.call.wanted_tokens or work.call.sampling.max_tokens)
    reply.lowered = shorter and reply.output_tokens >= sampling.max_tokens
    used = Amount(reply.input_tokens + reply.output_tokens, reply.cost_usd)
    return worst if guessed and worst.tokens else used


def writable(text: str) -> str:
    """Return text that UTF-8 and databases accept: no lone surrogates and no NUL.

    Halves of a surrogate pair that a stream has separated are joined again.
    """
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")
