"""Write the answers of a batch in the order of its rows, and count them."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from swarm_brain.batch.answer import RowAnswer
from swarm_brain.batch.jsonl import line_of
from swarm_brain.batch.runner import Batch


@dataclass
class Total:
    """The totals of a batch."""

    rows: Counter[str] = field(default_factory=Counter)
    simulated: int = 0
    tokens: int = 0
    cost: float | None = 0.0

    def add(self, answer: RowAnswer) -> RowAnswer:
        """Count an answer and return it."""
        usage = answer["usage"]
        self.rows[answer["status"]] += 1
        self.simulated += answer["provenance"] == "simulated"
        self.tokens += (usage["input_tokens"] or 0) + (usage["output_tokens"] or 0)
        cost = usage["cost_usd"]
        self.cost = None if self.cost is None or cost is None else self.cost + cost
        return answer

    def __str__(self) -> str:
        cost = "cost unknown" if self.cost is None else f"${self.cost:.6g}"
        simulated = f" ({self.simulated} by the simulation alone)" if self.simulated else ""
        rows = [f"{self.rows[status]:,} {status}" for status in ("answered", "failed", "not sent")]
        rows[0] += simulated
        return f"{', '.join(rows)} · {self.tokens:,} tokens · {cost}"


class Stream:
    """Writes answers to standard output in order, each as soon as it is due."""

    def __init__(self, batch: Batch, total: Total) -> None:
        self._batch, self._total, self._next = batch, total, 0

    def flush(self, *, end: bool = False) -> None:
        """Write the answers that are due; at the end, all of them."""
        journal = self._batch.journal
        while self._next < len(self._batch.rows) and (end or journal.done(self._next)):
            answer = self._batch.answer(self._next)
            sys.stdout.buffer.write(line_of(self._total.add(answer)))
            self._next += 1
        sys.stdout.buffer.flush()


def write(path: Path, answers: Iterable[RowAnswer]) -> None:
    """Write all answers in order, atomically."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.writelines(map(line_of, answers))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
