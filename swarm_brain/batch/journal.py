"""The answers of a batch as they come: on disk before anything else, found again by their row.

Its lines: what batch it is; {"sent": row, ...} before a row is asked within a budget; an answer.
A row that was sent and has no answer was in flight when its process ended: its worst case counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from swarm_brain.batch.records import Record, begin, check_same, complete, line_of
from swarm_brain.graph.errors import ConfigError
from swarm_brain.spending.ledger import Amount

KIND = "batch"  # what the first line of the file says it holds
NOWHERE = -1


class Journal:
    """Answers by row number, from 0. `charged` is what was spent, or may have been."""

    def __init__(self, file: BinaryIO, rows: int) -> None:
        self._file = file
        self._offsets = array("q", [NOWHERE]) * rows
        self._failed = bytearray(rows)
        self.charged = Amount()

    def done(self, row: int) -> bool:
        """Whether the row has an answer, or a reason why not."""
        return self._offsets[row] != NOWHERE

    def failed(self, row: int) -> bool:
        """Whether the row's last answer is a failure, or the simulation's."""
        return bool(self._failed[row])

    def of(self, row: int) -> Record | None:
        """A row's answer."""
        if not self.done(row):
            return None
        self._file.seek(self._offsets[row])
        record: Record = json.loads(self._file.readline())
        return record["answer"]  # type: ignore[no-any-return]

    def sent(self, row: int, worst: Amount) -> None:
        """A row is about to be asked, for so much at worst."""
        self._append({"sent": row, "tokens": worst.tokens, "usd": worst.usd})

    async def add(self, row: int, answer: Record, charge: Amount) -> None:
        """Keep an answer; it is on disk when this returns."""
        kept = {"row": row, "tokens": charge.tokens, "usd": charge.usd, "answer": answer}
        self._take(self._append(kept), kept)
        await asyncio.to_thread(os.fsync, self._file.fileno())

    def _append(self, record: Mapping[str, Any]) -> int:
        offset = self._file.seek(0, os.SEEK_END)
        self._file.write(line_of(record))
        self._file.flush()
        return offset

    def _take(self, offset: int, record: Record) -> None:
        row, answer = record["row"], record["answer"]
        self._offsets[row] = offset
        self._failed[row] = answer["status"] == "failed" or answer["provenance"] == "simulated"
        self.charged += Amount(record["tokens"], record["usd"])

    def read(self, path: Path, head: Mapping[str, Any]) -> None:
        """Take up what a journal holds. Raises ConfigError if it is another batch's."""
        flying: dict[int, Amount] = {}
        lines = complete(path)
        check_same(path, KIND, next(lines, (0, None))[1], head)
        for offset, record in lines:
            if "sent" in record:
                flying[record["sent"]] = Amount(record["tokens"], record["usd"])
            else:
                flying.pop(record["row"], None)
                self._take(offset, record)
        self.charged = sum(flying.values(), self.charged)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_journal(path: Path | None, rows: int, head: Mapping[str, Any], *, resume: bool) -> Journal:
    """A journal in a file, taken up where it stands with `resume`; without a path a passing one.

    Raises ConfigError if the file is there without `resume`, or is another batch's.
    """
    if path is None:
        return Journal(tempfile.TemporaryFile("w+b"), rows)
    exists = path.exists()
    if exists and not resume:
        raise ConfigError(f"{path} exists. Go on with --resume, or name another --output.")
    if not exists:
        begin(path, {KIND: dict(head)})
    journal = Journal(path.open("r+b"), rows)
    try:
        if exists:
            journal.read(path, head)
    except BaseException:
        journal.close()
        raise
    return journal
