"""The results of an experiment: questions, answers and judgements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.record_file import AnswerRecord, Key, answered, key_of
from swarm_brain.evals.stats.judge_bias import JudgedPair


@dataclass
class Judgements:
    """A judge's decisions: rubric points by answer, and pairs by (arm, question).

    In a pair, `a` is the swarm.
    """

    met: dict[Key, list[bool | None]] = field(default_factory=dict)
    pairs: dict[tuple[str, str], JudgedPair] = field(default_factory=dict)

    def quality(self, record: AnswerRecord) -> float | None:
        """Return the share of rubric points that an answer meets; None if it is unknown."""
        met = self.met.get(key_of(record))
        return None if not met or None in met else sum(map(bool, met)) / len(met)


@dataclass(frozen=True)
class Results:
    """All answers and judgements. `allocation` is the tokens for each question."""

    examples: Sequence[Example]
    arms: Mapping[str, Sequence[AnswerRecord]]
    allocation: int | None
    judgements: Judgements
    seed: int = 0

    def value(self, record: AnswerRecord) -> float | None:
        """Return the quality of an answer, 0..1: its correctness or its rubric share."""
        if not answered(record):
            return None
        if record["correct"] is not None:
            return float(record["correct"])
        return self.judgements.quality(record)
