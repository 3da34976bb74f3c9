"""Running a batch: so many rows at once, each kept when it is answered, each failing alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from swarm_brain.batch.backend import Asker
from swarm_brain.batch.journal import Journal
from swarm_brain.batch.purse import Purse
from swarm_brain.batch.records import Record
from swarm_brain.batch.rows import Row, Rows
from swarm_brain.graph.errors import (
    BrainError,
    BudgetTooSmall,
    ConfigError,
    InputError,
    ModelUnavailable,
)
from swarm_brain.graph.state import RESULT_KEYS
from swarm_brain.spending.ledger import Amount

SENT_IN_VAIN = 25  # rows that failed one after the other, after which no more are sent
NOTHING = {"calls": 0, "input_tokens": 0, "output_tokens": 0, "cached_tokens": 0, "cost_usd": 0.0}
BUDGET, VAIN = "budget", f"{SENT_IN_VAIN} rows failed one after the other"


@dataclass
class Batch:
    """A batch under way. `settings` are those of all rows; `told` hears of each answer."""

    rows: Rows
    journal: Journal
    asker: Asker
    settings: Mapping[str, Any]
    purse: Purse
    told: Callable[[int, Record], None]
    concurrency: int = 4
    retry_failed: bool = False
    stopped: str | None = None  # why the rest is not sent
    in_vain: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # to take the next row

    def pending(self) -> Iterator[int]:
        """The rows that are to be asked."""
        for row in range(len(self.rows)):
            again = self.retry_failed and self.journal.failed(row)
            if again or not self.journal.done(row):
                yield row

    def answers(self) -> Iterator[Record]:
        """All rows in the file's order, also those that were not sent."""
        return map(self.answer, range(len(self.rows)))

    def answer(self, number: int) -> Record:
        """What is known of a row."""
        found = self.journal.of(number)
        return found or not_sent(self.rows.at(number), self.stopped or "interrupted")


@dataclass(frozen=True)
class Taken:
    """A row that is to be asked; the purse holds its worst case."""

    number: int
    row: Row
    settings: Mapping[str, Any]
    worst: Amount


async def run(batch: Batch) -> None:
    """Ask what is pending. Rows that fail are answers; OSError means that none can be kept."""
    pending = batch.pending()
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(batch.concurrency):
                tasks.create_task(_work(batch, pending))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _work(batch: Batch, pending: Iterator[int]) -> None:
    """One of those who ask at once: row after row, until none is left."""
    while taken := await _next(batch, pending):
        charge = taken.worst
        try:
            answer = await answered(batch.asker, taken.row, taken.settings)
            charge = charged(answer, taken.worst)
            await _keep(batch, taken.number, answer, charge)
        finally:
            if batch.purse.limited:
                await batch.purse.settle(taken.worst, charge)
        _count(batch, answer)


async def _next(batch: Batch, pending: Iterator[int]) -> Taken | None:
    """The next row that can be asked, within the purse. None: nothing more is to be sent.

    One at a time, so that a batch stops at a row and does not send cheaper ones behind it.
    """
    async with batch.turn:
        for number in pending:
            if batch.stopped:
                break
            try:
                taken = await _limited(batch, number, batch.rows.at(number))
            except BrainError as error:
                row = batch.rows.at(number)
                await _keep(batch, number, failed(row, str(error)), Amount())
                continue
            if not batch.purse.limited:
                return taken
            if await batch.purse.hold(taken.worst):
                batch.journal.sent(number, taken.worst)
                return taken
            batch.stopped = batch.stopped or BUDGET
    return None


def _count(batch: Batch, answer: Record) -> None:
    """Where nothing is answered any more, there is no sense in sending the rest."""
    batch.in_vain = batch.in_vain + 1 if answer["status"] == "failed" else 0
    if batch.in_vain >= SENT_IN_VAIN:
        batch.stopped = batch.stopped or VAIN


async def _limited(batch: Batch, number: int, row: Row) -> Taken:
    """A row with its worst case, which its settings make a hard limit. Raises BrainError."""
    if row.problem is not None:
        raise ConfigError(row.problem)
    settings = {**batch.settings, **row.settings}
    if not batch.purse.limited:
        return Taken(number, row, settings, Amount())
    worst = await batch.asker.worst(row, settings)
    if batch.purse.tokens is not None:
        settings["budget_tokens"] = worst.tokens
    if batch.purse.usd is not None:
        if worst.usd is None:
            raise ConfigError("its model has no known price, so dollars cannot be limited")
        settings["budget_usd"] = worst.usd or None  # what costs nothing needs no limit
    return Taken(number, row, settings, worst)


async def _keep(batch: Batch, number: int, answer: Record, charge: Amount) -> None:
    await batch.journal.add(number, answer, charge)
    batch.told(number, answer)


async def answered(asker: Asker, row: Row, settings: Mapping[str, Any]) -> Record:
    """A row's answer, or why there is none."""
    started = time.monotonic()
    try:
        result = await asker.ask(row, settings)
    except (InputError, ConfigError, BudgetTooSmall, ModelUnavailable) as error:
        # Nothing was called, so nothing was spent.
        answer = failed(row, str(error))
    except Exception as error:  # noqa: BLE001  one row must not end the others, whatever it is
        told = str(error) if isinstance(error, BrainError) else f"{type(error).__name__}: {error}"
        answer = failed(row, told) | {"usage": dict.fromkeys(NOTHING)}
    else:
        bad = result["stop_reason"] == "failed" and result["provenance"] != "simulated"
        answer = {**_labelled(row, "failed" if bad else "answered"), **result}
    return {**answer, "duration_s": round(time.monotonic() - started, 3)}


def charged(answer: Mapping[str, Any], worst: Amount) -> Amount:
    """What an answer took; where that is not known, the worst case."""
    usage = answer["usage"]
    known = usage["input_tokens"] is not None and usage["output_tokens"] is not None
    tokens = usage["input_tokens"] + usage["output_tokens"] if known else worst.tokens
    return Amount(tokens, worst.usd if usage["cost_usd"] is None else usage["cost_usd"])


def failed(row: Row, why: str) -> Record:
    """The answer of a row that has none; `usage` is what nothing costs."""
    nothing = {"experts": [], "dissent": [], "recalled": [], "notes": [], "usage": {**NOTHING}}
    empty = {**dict.fromkeys(RESULT_KEYS), "stop_reason": "failed", **nothing, "error": why}
    return {**_labelled(row, "failed"), **empty, "duration_s": 0.0}


def not_sent(row: Row, why: str) -> Record:
    """The answer of a row that was not asked."""
    return failed(row, f"not sent: {why}") | {"status": "not sent", "stop_reason": None}


def _labelled(row: Row, status: str) -> Record:
    told = {} if row.metadata is None else {"metadata": row.metadata}
    return {"line": row.line, "id": row.id, "status": status, **told}
