"""The arms that are one model: single, single-long, self-consistency, self-moa."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

from swarm_brain.calls.request import Reply
from swarm_brain.evals.arms.model import Model, bound, call, tagged
from swarm_brain.evals.arms.response import Answer, Setup
from swarm_brain.evals.cases.examples import Example, prompt
from swarm_brain.evals.cases.score import extract
from swarm_brain.graph.errors import ConfigError
from swarm_brain.nodes.parse import normal_verdict

OVERSPENT = 1.05  # of the allocation, at most
SPENT = 0.9  # of the allocation, from which `single-long` no longer checks itself
MOST_SAMPLES = 64
CHOICE_TOKENS = 16
TAG_TOKENS = 10  # around a sample in a prompt
LEAST_REPLY = 16  # tokens


def _said(given: Answer, reply: Reply, model: Model) -> Answer:
    """The answer with these last words, labelled."""
    simulated = model.binding.simulated or not reply.text
    given.text = "" if simulated else reply.text
    given.provenance = "simulated" if simulated else "full" if not given.error else "degraded"
    return given


async def single(setup: Setup, example: Example, turn: int) -> Answer:
    """One call as anybody would make it."""
    model, given = await bound(setup.context), Answer()
    reply = given.take(await call(model, "answer", prompt(example), example.id, turn))
    return _said(given, reply, model)


async def single_long(setup: Setup, example: Example, turn: int) -> Answer:
    """One call as long as the allocation; then checks of the answer until that is spent."""
    model, given, allocation = await bound(setup.context), Answer(), _allocated(setup)
    asked = prompt(example)
    longest = max(LEAST_REPLY, _longest(model, allocation, asked))
    reply = given.take(await call(model, "answer", asked, example.id, turn, max_tokens=longest))
    for check in range(MOST_SAMPLES):
        if reply.error or given.tokens >= SPENT * allocation:
            break
        user = f"{tagged('question', asked)}\n\n{tagged('answer', reply.text)}"
        left = int(OVERSPENT * allocation) - given.tokens
        longest = _longest(model, left, user)
        usual = min(model.sampling.max_tokens, reply.output_tokens or 0)
        if longest < max(LEAST_REPLY, usual // 2):
            break  # what is left does not pay for a whole answer
        checked = given.take(
            await call(model, "check", user, example.id, turn, check, max_tokens=longest)
        )
        if checked.error:
            break  # the answer stands as it was
        reply = checked
    return _said(given, reply, model)


def _longest(model: Model, tokens: int, user: str) -> int:
    """The longest reply that so many tokens pay after this prompt, within the model's context."""
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
    turn: int,
    given: Answer,
    model: Model,
    closing: Callable[[float], float] | None = None,
) -> list[Reply]:
    """As many samples as the allocation pays, in waves: what some took tells how many are left.

    `closing` is there if a last call reads all of them: the length of its reply by theirs.
    """
    asked, allocation = prompt(example), _allocated(setup)
    replies: list[Reply] = []
    wave, made = 1, 0
    while wave > 0:
        numbers = range(made, made + wave)
        calls = (call(model, "answer", asked, example.id, turn, number) for number in numbers)
        told = [given.take(reply) for reply in await asyncio.gather(*calls)]
        made += wave
        good = [reply for reply in told if not reply.error]
        replies += good
        if not good:
            break  # who fails a whole wave would fail the next one
        left = min(_affordable(allocation, given.tokens, replies, closing), MOST_SAMPLES - made)
        wave = min(made, (left + 1) // 2)
    return replies


def _affordable(
    allocation: int,
    spent: int,
    replies: Sequence[Reply],
    closing: Callable[[float], float] | None,
) -> int:
    """How many more samples bring the spending closest to the allocation, and not far beyond."""
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


async def self_consistency(setup: Setup, example: Example, turn: int) -> Answer:
    """Samples, and the answer that most of them give."""
    model, given = await bound(setup.context), Answer()
    open_question = example.kind == "open"
    closing = (lambda _: CHOICE_TOKENS) if open_question else None
    replies = await _samples(setup, example, turn, given, model, closing)
    given.samples = [reply.text for reply in replies]
    if not replies:
        return given
    if open_question:
        chosen = await _chosen(model, example, turn, given, replies)
    else:
        chosen = _voted(example, replies, given)
    return _said(given, chosen, model)


def _voted(example: Example, replies: Sequence[Reply], given: Answer) -> Reply:
    """A sample with the most frequent answer; the first one, if none can be read."""
    said = [extract(example, reply.text) for reply in replies]
    votes = Counter(normal_verdict(value) for value in said if value is not None)
    if not votes:
        return replies[0]
    winner, count = votes.most_common(1)[0]
    given.agreement = round(count / len(replies), 4)
    return next(
        reply for reply, value in zip(replies, said, strict=True)
        if value is not None and normal_verdict(value) == winner
    )  # fmt: skip


async def _chosen(
    model: Model, example: Example, turn: int, given: Answer, replies: Sequence[Reply]
) -> Reply:
    """Universal self-consistency: the sample that agrees best with the others, says the model."""
    if len(replies) < 2:
        return replies[0]
    user = _listed(example, replies)
    reply = given.take(
        await call(model, "choose", user, example.id, turn, max_tokens=CHOICE_TOKENS)
    )
    found = re.search(r"\d+", reply.text)
    number = int(found[0]) if found else 1
    return replies[number - 1] if 1 <= number <= len(replies) else replies[0]


async def self_moa(setup: Setup, example: Example, turn: int) -> Answer:
    """Samples, joined by one call."""
    model, given = await bound(setup.context), Answer()
    replies = await _samples(setup, example, turn, given, model, lambda length: length)
    given.samples = [reply.text for reply in replies]
    if not replies:
        return given
    user = _listed(example, replies)
    joined = given.take(await call(model, "aggregate", user, example.id, turn))
    return _said(given, replies[0] if joined.error else joined, model)


def _listed(example: Example, replies: Sequence[Reply]) -> str:
    answers = [
        tagged(f'answer number="{number}"', reply.text) for number, reply in enumerate(replies, 1)
    ]
    return "\n\n".join([tagged("question", prompt(example)), *answers])
