"""What an arm is given, and what it gives back. Data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from swarm_brain.calls.request import Reply
from swarm_brain.graph.context import Context
from swarm_brain.graph.topology import Topology


@dataclass(frozen=True)
class Setup:
    """What an experiment fixes. `allocation` is tokens for each question, input plus output.

    `limit` is that allocation where it is a hard limit for the brain, too. `drafts` are the swarm's
    signals by question, for the placebo.
    """

    context: Context
    topology: Topology
    allocation: int | None = None
    limit: int | None = None
    drafts: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=dict)


@dataclass
class Answer:
    """An arm's answer and what it took; tokens are None where nobody knows them."""

    text: str = ""
    provenance: str = "simulated"
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    calls: int = 0
    cost_usd: float | None = 0.0
    duration_s: float = 0.0
    agreement: float | None = None
    error: str | None = None
    samples: list[str] = field(default_factory=list)
    trace: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Input plus output, as far as they are known."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    def take(self, reply: Reply) -> Reply:
        """Count a call."""
        self.calls += reply.attempts
        if reply.error is not None:
            self.error = str(reply.error)
            return reply
        self.input_tokens = _plus(self.input_tokens, reply.input_tokens)
        self.output_tokens = _plus(self.output_tokens, reply.output_tokens)
        known = self.cost_usd is not None and reply.cost_usd is not None
        self.cost_usd = self.cost_usd + reply.cost_usd if known else None  # type: ignore[operator]
        return reply


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
