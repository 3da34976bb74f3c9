"""The arms that are one model: single, single-long, self-consistency, self-moa."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence

from evals.answers import Answer, Setup
from evals.asking import Model, bound, call, tagged
from evals.examples import Example, prompt
from evals.scoring import extract
from graph.errors import ConfigError
from nodes.reading import normal_verdict
from swarm_brain.models.asking import Reply

OVERSPENT = 1.05  # of the allocation, at most
SPENT = 0.9  # of the allocation, from which `single-long` no longer checks itself
MOST_SAMPLES = 64
CHOICE_TOKENS = 16


def _said(given: Answer, reply: Reply, model: Model) -> Answer:
    """The answer with these last words, labelled."""
    given.text = reply.text
    simulated = model.binding.simulated or not reply.text
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
    longest = _longest(model, allocation, asked)
    reply = given.take(await call(model, "answer", asked, example.id, turn, max_tokens=longest))
    for check in range(MOST_SAMPLES):
        if reply.error or given.tokens >= SPENT * allocation:
            break
        user = f"{tagged('question', asked)}\n\n{tagged('answer', reply.text)}"
        left = int(OVERSPENT * allocation) - given.tokens
        longest = _longest(model, left, user)
        if longest < min(model.sampling.max_tokens, reply.output_tokens or 0) // 2:
            break  # what is left does not pay for a whole answer
        checked = given.take(
            await call(model, "check", user, example.id, turn, check, max_tokens=longest)
        )
        reply = reply if checked.error else checked
    return _said(given, reply, model)


def _longest(model: Model, tokens: int, user: str) -> int:
    """The longest reply that so many tokens pay after this prompt, within the model's context."""
    inputs = model.count(user) + model.count("answer " * 40)
    room = model.room(inputs)
    most = max(16, tokens - inputs)
    return most if room is None else min(most, room)


def _allocated(setup: Setup) -> int:
    if setup.allocation is None:
        raise ConfigError("this arm needs an allocation: --budget-tokens N, or the arm swarm")
    return setup.allocation


async def _samples(
    setup: Setup, example: Example, turn: int, given: Answer, model: Model, closing: bool
) -> list[Reply]:
    """As many samples as the allocation pays, with a closing call that reads all of them."""
    asked, allocation = prompt(example), _allocated(setup)

    async def sample(number: int) -> Reply:
        return await call(model, "answer", asked, example.id, turn, number)

    first = given.take(await sample(0))
    each = max(1, given.tokens)
    output = (first.output_tokens or 0) if closing else 0  # what a sample adds to the last prompt
    fixed = model.count(asked) + model.sampling.max_tokens if closing else 0
    affordable = int((allocation * 1.0 - fixed) // (each + output))
    count = max(1, min(MOST_SAMPLES, affordable))
    rest = await asyncio.gather(*(sample(number) for number in range(1, count)))
    return [reply for reply in (first, *map(given.take, rest)) if not reply.error]


async def self_consistency(setup: Setup, example: Example, turn: int) -> Answer:
    """Samples, and the answer that most of them give."""
    model, given = await bound(setup.context), Answer()
    open_question = example.kind == "open"
    replies = await _samples(setup, example, turn, given, model, closing=open_question)
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
    replies = await _samples(setup, example, turn, given, model, closing=True)
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
