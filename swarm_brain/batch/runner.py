"""Run a batch: several rows at once, each saved on arrival, failing alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from swarm_brain.batch.answer import UNKNOWN_USAGE, RowAnswer, answer_of, failure, not_sent
from swarm_brain.batch.backend import Backend, Settings
from swarm_brain.batch.budget import BatchBudget
from swarm_brain.batch.journal import Journal
from swarm_brain.batch.rows import Row, Rows
from swarm_brain.graph.errors import (
    BrainError,
    BudgetTooSmall,
    ConfigError,
    InputError,
    ModelUnavailable,
)
from swarm_brain.spending.ledger import Amount

MOST_FAILURES = 25  # rows that fail one after the other, after which no more are sent
OVER_BUDGET, ALL_FAIL = "budget", f"{MOST_FAILURES} consecutive rows failed"


@dataclass
class Batch:
    """A running batch. `settings` apply to all rows."""

    rows: Rows
    journal: Journal
    backend: Backend
    settings: Settings
    budget: BatchBudget
    on_answer: Callable[[RowAnswer], None] = lambda answer: None
    concurrency: int = 4
    retry_failed: bool = False
    stopped: str | None = None  # why the rest is not sent
    failures: int = 0  # one after the other
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # to take the next row

    def pending(self) -> Iterator[int]:
        """Yield the rows that are to be asked."""
        for row in range(len(self.rows)):
            again = self.retry_failed and self.journal.failed(row)
            if again or not self.journal.done(row):
                yield row

    def answers(self) -> Iterator[RowAnswer]:
        """Yield all rows in the file's order, including those that were not sent."""
        return map(self.answer, range(len(self.rows)))

    def answer(self, number: int) -> RowAnswer:
        """Return a row's answer, or why it has none."""
        answer = self.journal.of(number)
        return answer or not_sent(self.rows.at(number), self.stopped or "interrupted")


@dataclass(frozen=True)
class Job:
    """A row to ask; the batch's budget has reserved its worst case."""

    number: int
    row: Row
    settings: Settings
    worst: Amount


async def run(batch: Batch) -> None:
    """Ask all pending rows. A failed row counts as answered.

    Raises OSError if answers cannot be saved.
    """
    pending = batch.pending()
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(batch.concurrency):
                tasks.create_task(_work(batch, pending))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _work(batch: Batch, pending: Iterator[int]) -> None:
    """Ask row after row until none is left."""
    while job := await _next(batch, pending):
        charge = job.worst
        try:
            answer = await ask(batch.backend, job.row, job.settings)
            charge = charge_of(answer, job.worst)
            await _save(batch, job.number, answer, charge)
        finally:
            if batch.budget.limited:
                await batch.budget.settle(job.worst, charge)
        _count(batch, answer)


async def _next(batch: Batch, pending: Iterator[int]) -> Job | None:
    """Return the next row that the budget covers, or None at the end.

    Only one worker asks at a time, so that the batch stops at a row instead of sending cheaper
    ones after it.
    """
    async with batch.turn:
        for number in pending:
            if batch.stopped:
                break
            try:
                job = await _job(batch, number, batch.rows.at(number))
            except BrainError as error:
                answer = failure(batch.rows.at(number), str(error))
                await _save(batch, number, answer, Amount())
                continue
            if not batch.budget.limited:
                return job
            if await batch.budget.reserve(job.worst):
                batch.journal.sent(number, job.worst)
                return job
            batch.stopped = batch.stopped or OVER_BUDGET
    return None


def _count(batch: Batch, answer: RowAnswer) -> None:
    """Stop the batch if every row fails."""
    batch.failures = batch.failures + 1 if answer["status"] == "failed" else 0
    if batch.failures >= MOST_FAILURES:
        batch.stopped = batch.stopped or ALL_FAIL


async def _job(batch: Batch, number: int, row: Row) -> Job:
    """Return a row with its worst case as a hard limit. Raises BrainError."""
    if row.problem is not None:
        raise ConfigError(row.problem)
    settings = {**batch.settings, **row.settings}
    if not batch.budget.limited:
        return Job(number, row, settings, Amount())
    worst = await batch.backend.worst(row, settings)
    if batch.budget.tokens is not None:
        settings["budget_tokens"] = worst.tokens
    if batch.budget.usd is not None:
        if worst.usd is None:
            raise ConfigError("its model has no known price, so dollars cannot be limited")
        settings["budget_usd"] = worst.usd or None  # what costs nothing needs no limit
    return Job(number, row, settings, worst)


async def _save(batch: Batch, number: int, answer: RowAnswer, charge: Amount) -> None:
    await batch.journal.add(number, answer, charge)
    batch.on_answer(answer)


async def ask(backend: Backend, row: Row, settings: Settings) -> RowAnswer:
    """Return a row's answer, or the reason for its failure."""
    started = time.monotonic()
    try:
        answer = answer_of(row, await backend.ask(row, settings))
    except (InputError, ConfigError, BudgetTooSmall, ModelUnavailable) as error:
        answer = failure(row, str(error))  # nothing was called, so nothing was spent
    except Exception as error:  # noqa: BLE001  one row must not end the others, whatever it is
        known = isinstance(error, BrainError)
        message = str(error) if known else f"{type(error).__name__}: {error}"
        answer = failure(row, message, UNKNOWN_USAGE)
    answer["duration_s"] = round(time.monotonic() - started, 3)
    return answer


def charge_of(answer: RowAnswer, worst: Amount) -> Amount:
    """Return an answer's usage, or the worst case if it is unknown."""
    usage = answer["usage"]
    inputs, outputs, usd = usage["input_tokens"], usage["output_tokens"], usage["cost_usd"]
    tokens = worst.tokens if inputs is None or outputs is None else inputs + outputs
    return Amount(tokens, worst.usd if usd is None else usd)
