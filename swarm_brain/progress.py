"""Show progress on a terminal: bars for answers and downloads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from swarm_brain.graph.context import Context
from swarm_brain.graph.topology import Topology
from swarm_brain.models import prepare


@dataclass
class Counted:
    """The counts beside the bar."""

    progress: Progress
    task: TaskID
    tokens: int = 0
    cost: float | None = 0.0
    failed: int = 0

    def add(self, record: Mapping[str, Any], *, failed: bool = False) -> None:
        """Count one more answer with `input_tokens`, `output_tokens` and `cost_usd`."""
        self.tokens += (record["input_tokens"] or 0) + (record["output_tokens"] or 0)
        known = self.cost is not None and record["cost_usd"] is not None
        self.cost = self.cost + record["cost_usd"] if known else None
        self.failed += failed
        self.progress.update(self.task, advance=1, counts=self.counts)

    @property
    def counts(self) -> str:
        """Return tokens, cost and failures in words."""
        cost = "cost unknown" if self.cost is None else f"${self.cost:.4g}"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.tokens:,} tokens, {cost}{failed}"


@contextmanager
def counting(err: Console, name: str, total: int, done: int = 0) -> Iterator[Counted]:
    """Show a bar of `total` answers, starting at `done`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        yield Counted(progress, progress.add_task(name, total=total, completed=done, counts=""))


def prepare_run(context: Context, topology: Topology, err: Console) -> Context:
    """Prepare a run's models, showing downloads, and print the model and reason."""
    with downloads(err) as progress:
        context, choice = prepare.prepare(context, topology, progress)
    err.print(f"model {choice.spec} ({choice.reason})", style="dim", markup=False, soft_wrap=True)
    return context


@contextmanager
def downloads(err: Console) -> Iterator[prepare.Progress]:
    """Show a bar for each model that is being downloaded."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    bars = Progress(*columns, console=err)
    tasks: dict[str, TaskID] = {}

    def update(model: str, done: int, total: int) -> None:
        if model not in tasks:
            bars.start()
            tasks[model] = bars.add_task(f"Fetching {model}")
        bars.update(tasks[model], completed=done, total=total)

    try:
        yield update
    finally:
        bars.stop()
