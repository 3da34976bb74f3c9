"""All that was asked, answered and judged, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.runner import Record
from swarm_brain.evals.stats.judge_bias import JudgedPair


@dataclass
class Judged:
    """What a judge said: points met by (arm, question, repetition), and pairs by (arm, question).

    In a pair, `a` is the swarm.
    """

    met: dict[tuple[str, str, int], list[bool | None]] = field(default_factory=dict)
    pairs: dict[tuple[str, str], JudgedPair] = field(default_factory=dict)

    def quality(self, arm: str, example: str, repetition: int) -> float | None:
        """The share of rubric points that an answer meets; None if it is not known."""
        met = self.met.get((arm, example, repetition))
        return None if not met or None in met else sum(map(bool, met)) / len(met)


@dataclass(frozen=True)
class Experiment:
    """All that was asked and answered. `allocation` is tokens for each question."""

    examples: Sequence[Example]
    arms: Mapping[str, Sequence[Record]]
    allocation: int | None
    judged: Judged
    seed: int = 0

    def graded(self, record: Record) -> float | None:
        """The share of rubric points that an answer meets; None if it is not known."""
        return self.judged.quality(record["arm"], record["id"], record["repetition"])

    def value(self, record: Record) -> float | None:
        """How good an answer is, 0..1: right or not, or its share of the rubric."""
        if record["provenance"] == "simulated":
            return None
        return float(record["correct"]) if record["correct"] is not None else self.graded(record)


def tokens(record: Record) -> int:
    """Input plus output, as far as they are known."""
    return (record["input_tokens"] or 0) + (record["output_tokens"] or 0)
