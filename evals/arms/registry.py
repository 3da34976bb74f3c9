"""The arms by name: each is one async function.

    single             one call; a reference, not part of the equal-token test
    single-long        one call with the whole allocation, which then checks its answer
    self-consistency   samples and a vote; for open questions one more call chooses
    self-moa           samples, combined by one call
    swarm              the brain
    swarm-minus:NAME   the brain without that expert
    swarm-shuffled     the brain with the drafts for another question: a placebo

Every arm but `single` gets the same allocation of input plus output tokens for each question.
Samples are separate calls, never n > 1.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from swarm_brain.evals.arms.baselines import self_consistency, self_moa, single, single_long
from swarm_brain.evals.arms.response import ArmResponse, Setup
from swarm_brain.evals.arms.swarm import shuffled, swarm
from swarm_brain.evals.cases.examples import Example
from swarm_brain.graph.errors import BrainError, ConfigError, ModelUnavailable
from swarm_brain.graph.topology import Topology

SWARM = "swarm"
REFERENCE = "single"
PLACEBO = "swarm-shuffled"
ALLOCATED = ("single-long", "self-consistency", "self-moa")
MINUS = "swarm-minus:"

Arm = Callable[[Setup, Example, int], Awaitable[ArmResponse]]  # the number is the repetition

ARMS: Mapping[str, Arm] = {
    "swarm": swarm,
    "single": single,
    "single-long": single_long,
    "self-consistency": self_consistency,
    "self-moa": self_moa,
    "swarm-shuffled": shuffled,
}
NAMES = tuple(ARMS)


def find_arm(name: str, topology: Topology) -> Arm:
    """Return the arm of this name. Raises ConfigError for an unknown one."""
    if name.startswith(MINUS):
        expert = name.removeprefix(MINUS)
        if expert in topology.experts:
            return lambda setup, example, number: swarm(setup, example, number, without=expert)
        raise ConfigError(f"{name}: the topology's experts are {', '.join(topology.experts)}.")
    if name not in ARMS:
        raise ConfigError(f"no arm {name!r}; there are {', '.join(NAMES)} and {MINUS}EXPERT.")
    return ARMS[name]


async def respond(arm: Arm, setup: Setup, example: Example, repetition: int) -> ArmResponse:
    """Return the arm's timed response; a failed run gives an empty one.

    Raises ConfigError and ModelUnavailable, because every other question would fail the same way.
    """
    started = time.monotonic()
    try:
        response = await arm(setup, example, repetition)
    except (ConfigError, ModelUnavailable):
        raise
    except BrainError as error:
        response = ArmResponse(error=str(error))
    response.duration_s = round(time.monotonic() - started, 3)
    return response
