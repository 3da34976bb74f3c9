"""The journal of a batch: every answer is on disk before the batch continues.

Its first line identifies the batch. Before a row is asked within a budget, a line {"sent": row,
...} is written. The other lines are answers. A row that was sent but has no answer was in flight
when the process ended, so its worst case counts as spent.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NotRequired, TypedDict

from swarm_brain.batch.answer import RowAnswer
from swarm_brain.batch.jsonl import check_head, create, line_of, read_lines
from swarm_brain.graph.errors import ConfigError
from swarm_brain.spending.ledger import Amount

KIND = "batch"  # the key of the first line
NOWHERE = -1


class _Answered(TypedDict):
    row: int
    tokens: int
    usd: float | None
    answer: NotRequired[RowAnswer]


class Journal:
    """Answers by row number, from 0. `charged` is the (possible) spending."""

    def __init__(self, file: BinaryIO, rows: int) -> None:
        self._file = file
        self._offsets = array("q", [NOWHERE]) * rows
        self._failed = bytearray(rows)
        self.charged = Amount()

    def done(self, row: int) -> bool:
        """Return whether the row has an answer, or a reason for having none."""
        return self._offsets[row] != NOWHERE

    def failed(self, row: int) -> bool:
        """Return whether the row's last answer is a failure, or simulated."""
        return bool(self._failed[row])

    def of(self, row: int) -> RowAnswer | None:
        """Return a row's answer."""
        if not self.done(row):
            return None
        self._file.seek(self._offsets[row])
        record: _Answered = json.loads(self._file.readline())
        return record["answer"]

    def sent(self, row: int, worst: Amount) -> None:
        """Note that a row is about to be asked, with this worst case."""
        self._append({"sent": row, "tokens": worst.tokens, "usd": worst.usd})

    async def add(self, row: int, answer: RowAnswer, charge: Amount) -> None:
        """Save an answer; it is on disk when this returns."""
        record: _Answered = {
            "row": row,
            "tokens": charge.tokens,
            "usd": charge.usd,
            "answer": answer,
        }
        self._take(self._append(record), record)
        await asyncio.to_thread(os.fsync, self._file.fileno())

    def _append(self, record: Mapping[str, object]) -> int:
        offset = self._file.seek(0, os.SEEK_END)
        self._file.write(line_of(record))
        self._file.flush()
        return offset

    def _take(self, offset: int, record: _Answered) -> None:
        row, answer = record["row"], record["answer"]
        self._offsets[row] = offset
        self._failed[row] = answer["status"] == "failed" or answer["provenance"] == "simulated"
        self.charged += Amount(record["tokens"], record["usd"])

    def read(self, path: Path, head: Mapping[str, object]) -> None:
        """Read an existing journal. Raises ConfigError if it belongs to another batch."""
        unanswered: dict[int, Amount] = {}
        lines = read_lines(path)
        check_head(path, KIND, next(lines, (0, None))[1], head)
        for offset, record in lines:
            if "sent" in record:
                unanswered[record["sent"]] = Amount(record["tokens"], record["usd"])
            else:
                unanswered.pop(record["row"], None)
                self._take(offset, record)
        self.charged = sum(unanswered.values(), self.charged)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_journal(
    path: Path | None, rows: int, head: Mapping[str, object], *, resume: bool
) -> Journal:
    """Open a new journal, an existing one (`resume`), or a temporary one (no path).

    Raises ConfigError if the file exists without `resume`, or belongs to another batch.
    """
    if path is None:
        return Journal(tempfile.TemporaryFile("w+b"), rows)
    exists = path.exists()
    if exists and not resume:
        raise ConfigError(f"{path} exists. Continue it with --resume, or name another --output.")
    if not exists:
        create(path, {KIND: dict(head)})
    journal = Journal(path.open("r+b"), rows)
    try:
        if exists:
            journal.read(path, head)
    except BaseException:
        journal.close()
        raise
    return journal
