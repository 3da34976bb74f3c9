"""The input and the output of an arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from swarm_brain.calls.request import Reply
from swarm_brain.graph.context import Context
from swarm_brain.graph.signal import Signal
from swarm_brain.graph.state import Provenance
from swarm_brain.graph.topology import Topology

_N = TypeVar("_N", int, float)


@dataclass(frozen=True)
class Setup:
    """The settings that an experiment fixes for its arms.

    `allocation` is the tokens for each question, input plus output. `limit` is the same number
    where it is also a hard limit for the brain. `drafts` are the swarm's signals by question, which
    the placebo needs.
    """

    context: Context
    topology: Topology
    allocation: int | None = None
    limit: int | None = None
    drafts: Mapping[str, Sequence[Signal]] = field(default_factory=dict)


@dataclass
class ArmResponse:
    """An arm's answer and its usage; tokens and cost are None where they are unknown."""

    text: str = ""
    provenance: Provenance = "simulated"
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    calls: int = 0
    cost_usd: float | None = 0.0
    duration_s: float = 0.0
    agreement: float | None = None
    error: str | None = None
    samples: list[str] = field(default_factory=list)
    trace: list[Signal] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Input plus output tokens, as far as they are known."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    def add(self, reply: Reply) -> Reply:
        """Add a call's usage, and return the reply."""
        self.calls += reply.attempts
        if reply.error is not None:
            self.error = str(reply.error)
            return reply
        self.input_tokens = _plus(self.input_tokens, reply.input_tokens)
        self.output_tokens = _plus(self.output_tokens, reply.output_tokens)
        self.cost_usd = _plus(self.cost_usd, reply.cost_usd)
        return reply


def _plus(one: _N | None, other: _N | None) -> _N | None:
    return None if one is None or other is None else one + other
