"""Files of answers and judgements: one JSON object a line, flushed at once.

The first line holds the settings that the records belong to. A file of other settings is refused,
and records without a model's answer are asked for again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NotRequired, TypedDict, TypeVar

from swarm_brain.batch.jsonl import check_head, create, line_of, read_lines
from swarm_brain.evals.cases.examples import QuestionKind
from swarm_brain.evals.stats.judge_bias import Verdict
from swarm_brain.graph.errors import ConfigError
from swarm_brain.graph.signal import Signal
from swarm_brain.graph.state import Provenance

KIND = "experiment"  # the key of a file's first line
Key = tuple[str, str, int]  # arm, question and repetition


class KeyedRecord(TypedDict):
    """The fields that every record has. `repetition` counts from 0."""

    arm: str
    id: str
    repetition: int
    provenance: Provenance


class AnswerRecord(KeyedRecord):
    """An arm's answer to one question, its score and its usage."""

    kind: QuestionKind
    extracted: str | None
    correct: bool | None
    text: str
    input_tokens: int | None
    output_tokens: int | None
    calls: int
    cost_usd: float | None
    duration_s: float
    agreement: float | None
    error: str | None
    samples: list[str]
    trace: list[Signal]
    run: NotRequired[str | None]


class JudgementRecord(KeyedRecord):
    """A judge's verdict.

    `arm` is `rubric/ARM` or `pair/ARM`, and `of` is a digest of the answers.
    """

    of: str
    met: NotRequired[list[bool | None]]
    pair: NotRequired[tuple[Verdict, Verdict, float, float]]
    error: NotRequired[str]


R = TypeVar("R", bound=KeyedRecord)


@dataclass
class RecordFile(Generic[R]):
    """The records of one kind by arm, question and repetition, and their file."""

    path: Path
    by_key: dict[Key, R] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, head: Mapping[str, object], *, resume: bool) -> RecordFile[R]:
        """Create a file, or read the records of an existing one with `resume`.

        Raises ConfigError if the file exists and `resume` is false, if it has other settings, or
        if it cannot be written.
        """
        plain = json.loads(json.dumps(head))
        if not path.exists():
            create(path, {KIND: plain})
            return cls(path)
        if not resume:
            raise ConfigError(
                f"{path} exists. Continue it with --resume, or name another --output."
            )
        first, *records = [record for _, record in read_lines(path)] or [None]
        check_head(path, KIND, first, plain)
        return cls(path, {key_of(record): record for record in records if answered(record)})

    def add(self, record: R) -> None:
        """Save a record on disk before anything else happens."""
        self.by_key[key_of(record)] = record
        with self.path.open("ab") as file:
            file.write(line_of(record))
            file.flush()
            os.fsync(file.fileno())

    def of(self, arm: str) -> list[R]:
        """Return the records of an arm in the order of their arrival."""
        return [record for record in self.by_key.values() if record["arm"] == arm]


def key_of(record: KeyedRecord) -> Key:
    """Return the key of a record."""
    return record["arm"], record["id"], record["repetition"]


def answered(record: KeyedRecord) -> bool:
    """Return whether a model gave this answer, and not a simulation."""
    return record["provenance"] != "simulated"


def tokens_of(record: AnswerRecord) -> int:
    """Return input plus output tokens, as far as they are known."""
    return (record["input_tokens"] or 0) + (record["output_tokens"] or 0)
