"""Arms: ways of answering one question with so many tokens. One name, one async function.

    single             one call; a reference, outside the equal-token test
    single-long        one call with the whole allocation, which then checks itself
    self-consistency   samples, voted; for open questions one more call chooses (universal)
    self-moa           samples, aggregated by one call
    swarm              the brain
    swarm-minus:NAME   the brain without that expert
    swarm-shuffled     the brain with drafts that belong to another question: a placebo

Every arm but `single` gets the same allocation of input plus output tokens for each question.
Samples are separate calls, never n > 1.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from swarm_brain.evals.arms.baselines import self_consistency, self_moa, single, single_long
from swarm_brain.evals.arms.response import Answer, Setup
from swarm_brain.evals.arms.swarm import shuffled, swarm
from swarm_brain.evals.cases.examples import Example
from swarm_brain.graph.errors import BrainError, ConfigError, ModelUnavailable
from swarm_brain.graph.topology import Topology

NAMES = ("swarm", "single", "single-long", "self-consistency", "self-moa", "swarm-shuffled")
REFERENCE = "single"
PLACEBO = "swarm-shuffled"
ALLOCATED = ("single-long", "self-consistency", "self-moa")
MINUS = "swarm-minus:"

Arm = Callable[[Setup, Example, int], Awaitable[Answer]]


def named(name: str, topology: Topology) -> Arm:
    """The arm of this name. Raises ConfigError naming those there are."""
    if name.startswith(MINUS):
        expert = name.removeprefix(MINUS)
        if expert in topology.experts:
            return lambda setup, example, turn: swarm(setup, example, turn, without=expert)
        raise ConfigError(f"{name}: this topology has {', '.join(topology.experts)}.")
    if name not in ARMS:
        raise ConfigError(f"no arm {name!r}; there are {', '.join(NAMES)} and {MINUS}EXPERT.")
    return ARMS[name]


async def answer(arm: Arm, setup: Setup, example: Example, turn: int) -> Answer:
    """The arm's answer, timed. A run that fails is an answer without words, never an exception.

    Raises ConfigError or ModelUnavailable: what no other question would mend.
    """
    started = time.monotonic()
    try:
        given = await arm(setup, example, turn)
    except (ConfigError, ModelUnavailable):
        raise
    except BrainError as error:
        given = Answer(error=str(error))
    given.duration_s = round(time.monotonic() - started, 3)
    return given


ARMS: Mapping[str, Arm] = {
    "single": single,
    "single-long": single_long,
    "self-consistency": self_consistency,
    "self-moa": self_moa,
    "swarm": swarm,
    "swarm-shuffled": shuffled,
}
