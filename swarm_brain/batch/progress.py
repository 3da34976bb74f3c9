"""A progress bar over many answers: done, failed, tokens, cost, time left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


@dataclass
class Counted:
    """What the progress bar tells."""

    progress: Progress
    task: TaskID
    tokens: int = 0
    cost: float | None = 0.0
    failed: int = 0

    def add(self, record: Mapping[str, Any], *, failed: bool = False) -> None:
        """One more answer; a record has `input_tokens`, `output_tokens` and `cost_usd`."""
        self.tokens += (record["input_tokens"] or 0) + (record["output_tokens"] or 0)
        known = self.cost is not None and record["cost_usd"] is not None
        self.cost = self.cost + record["cost_usd"] if known else None
        self.failed += failed
        self.progress.update(self.task, advance=1, told=self.told)

    @property
    def told(self) -> str:
        """Tokens, cost and failures in words."""
        cost = "cost unknown" if self.cost is None else f"${self.cost:.4g}"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.tokens:,} tokens, {cost}{failed}"


@contextmanager
def counting(err: Console, name: str, total: int, done: int = 0) -> Iterator[Counted]:
    """A progress bar; `done` of `total` are there already."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        yield Counted(progress, progress.add_task(name, total=total, completed=done, told=""))
