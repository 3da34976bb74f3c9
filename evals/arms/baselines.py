"""The arms that ask one model: single, single-long, self-consistency, self-moa."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

from swarm_brain.calls.request import Reply
from swarm_brain.evals.arms.model import Model, bind_model, call, tagged
from swarm_brain.evals.arms.response import ArmResponse, Setup
from swarm_brain.evals.cases.examples import Example, prompt
from swarm_brain.evals.cases.extract.final import extract
from swarm_brain.graph.errors import ConfigError
from swarm_brain.nodes.parse import normal_verdict

OVERSPENT = 1.05  # share of the allocation that may be spent at most
SPENT = 0.9  # share from which on `single-long` no longer checks its answer
MOST_SAMPLES = 64
CHOICE_TOKENS = 16
TAG_TOKENS = 10  # around a sample in a prompt
LEAST_REPLY = 16  # tokens


def _finish(response: ArmResponse, reply: Reply, model: Model) -> ArmResponse:
    """Set the final text and its provenance."""
    simulated = model.binding.simulated or not reply.text
    response.text = "" if simulated else reply.text
    response.provenance = "simulated" if simulated else "full" if not response.error else "degraded"
    return response


async def single(setup: Setup, example: Example, repetition: int) -> ArmResponse:
    """Make one plain call."""
    model, response = await bind_model(setup.context), ArmResponse()
    reply = response.add(await call(model, "answer", prompt(example), example.id, repetition))
    return _finish(response, reply, model)


async def single_long(setup: Setup, example: Example, repetition: int) -> ArmResponse:
    """Make one long call, then check the answer until the allocation is spent."""
    model, response, allocation = await bind_model(setup.context), ArmResponse(), _allocated(setup)
    question = prompt(example)
    longest = max(LEAST_REPLY, _longest(model, allocation, question))
    reply = response.add(
        await call(model, "answer", question, example.id, repetition, max_tokens=longest)
    )
    for check in range(MOST_SAMPLES):
        if reply.error or response.tokens >= SPENT * allocation:
            break
        user = f"{tagged('question', question)}\n\n{tagged('answer', reply.text)}"
        left = int(OVERSPENT * allocation) - response.tokens
        longest = _longest(model, left, user)
        usual = min(model.sampling.max_tokens, reply.output_tokens or 0)
        if longest < max(LEAST_REPLY, usual // 2):
            break  # the rest does not pay for a whole answer
        checked = response.add(
            await call(model, "check", user, example.id, repetition, check, max_tokens=longest)
        )
        if checked.error:
            break  # the last answer stands
        reply = checked
    return _finish(response, reply, model)


def _longest(model: Model, tokens: int, user: str) -> int:
    """Return the longest reply that the tokens and the model's context allow."""
    inputs = model.count(user) + model.count("answer " * 40)
    room = model.room(inputs)
    most = tokens - inputs
    return most if room is None else min(most, room)


def _allocated(setup: Setup) -> int:
    if setup.allocation is None:
        raise ConfigError("this arm needs an allocation: --budget-tokens N, or the arm swarm")
    return setup.allocation


async def _samples(
    setup: Setup,
    example: Example,
    repetition: int,
    response: ArmResponse,
    model: Model,
    closing: Callable[[float], float] | None = None,
) -> list[Reply]:
    """Draw as many samples as the allocation pays for, sizing rounds by usage so far.

    If a last call reads all samples, `closing` returns the length of its reply from their mean
    length.
    """
    question, allocation = prompt(example), _allocated(setup)
    replies: list[Reply] = []
    size, made = 1, 0
    while size > 0:
        numbers = range(made, made + size)
        calls = (
            call(model, "answer", question, example.id, repetition, number) for number in numbers
        )
        drawn = [response.add(reply) for reply in await asyncio.gather(*calls)]
        made += size
        good = [reply for reply in drawn if not reply.error]
        replies += good
        if not good:
            break  # a whole round failed, and the next one would
        left = min(_affordable(allocation, response.tokens, replies, closing), MOST_SAMPLES - made)
        size = min(made, (left + 1) // 2)
    return replies


def _affordable(
    allocation: int,
    spent: int,
    replies: Sequence[Reply],
    closing: Callable[[float], float] | None,
) -> int:
    """Return how many more samples bring the spending closest to the allocation."""
    inputs = fmean(reply.input_tokens or 0 for reply in replies)
    output = fmean(reply.output_tokens or 0 for reply in replies)
    each, rest = inputs + output, 0.0
    if closing:
        read = output + TAG_TOKENS  # what the last call reads of a sample
        each, rest = each + read, inputs + len(replies) * read + closing(output)
    left = allocation - spent - rest
    nearest = left / max(1.0, each) + 0.5
    most = (left + (OVERSPENT - 1) * allocation) / max(1.0, each)
    return max(0, int(min(nearest, most)))


async def self_consistency(setup: Setup, example: Example, repetition: int) -> ArmResponse:
    """Draw samples, and return the answer that most of them give."""
    model, response = await bind_model(setup.context), ArmResponse()
    open_question = example.kind == "open"
    closing = (lambda _: CHOICE_TOKENS) if open_question else None
    replies = await _samples(setup, example, repetition, response, model, closing)
    response.samples = [reply.text for reply in replies]
    if not replies:
        return response
    if open_question:
        chosen = await _chosen(model, example, repetition, response, replies)
    else:
        chosen = _voted(example, replies, response)
    return _finish(response, chosen, model)


def _voted(example: Example, replies: Sequence[Reply], response: ArmResponse) -> Reply:
    """Return a sample with the most frequent answer, or the first without any."""
    values = [extract(example, reply.text) for reply in replies]
    votes = Counter(normal_verdict(value) for value in values if value is not None)
    if not votes:
        return replies[0]
    winner, count = votes.most_common(1)[0]
    response.agreement = round(count / len(replies), 4)
    return next(
        reply for reply, value in zip(replies, values, strict=True)
        if value is not None and normal_verdict(value) == winner
    )  # fmt: skip


async def _chosen(
    model: Model, example: Example, repetition: int, response: ArmResponse, replies: Sequence[Reply]
) -> Reply:
    """Ask the model which sample agrees best (universal self-consistency)."""
    if len(replies) < 2:
        return replies[0]
    user = _listed(example, replies)
    reply = response.add(
        await call(model, "choose", user, example.id, repetition, max_tokens=CHOICE_TOKENS)
    )
    match = re.search(r"\d+", reply.text)
    number = int(match[0]) if match else 1
    return replies[number - 1] if 1 <= number <= len(replies) else replies[0]


async def self_moa(setup: Setup, example: Example, repetition: int) -> ArmResponse:
    """Draw samples, and combine them in one call."""
    model, response = await bind_model(setup.context), ArmResponse()
    replies = await _samples(setup, example, repetition, response, model, lambda length: length)
    response.samples = [reply.text for reply in replies]
    if not replies:
        return response
    user = _listed(example, replies)
    joined = response.add(await call(model, "aggregate", user, example.id, repetition))
    return _finish(response, replies[0] if joined.error else joined, model)


def _listed(example: Example, replies: Sequence[Reply]) -> str:
    answers = [
        tagged(f'answer number="{number}"', reply.text) for number, reply in enumerate(replies, 1)
    ]
    return "\n\n".join([tagged("question", prompt(example)), *answers])
