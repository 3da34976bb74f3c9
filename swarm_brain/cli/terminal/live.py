"""Show the experts at work on a terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.events import Event
from swarm_brain.graph.state import Result
from swarm_brain.graph.topology import Topology

FRAMES_PER_SECOND = 8
FIRST_WORDS = 60  # characters of a reply shown beside its expert
OTHER_COLUMNS = 48  # characters that the table takes without them
MARKS = {"awake": "◐", "ok": "●", "simulated": "○", "failed": "✗", "skipped": "·"}
STYLES = {"awake": "yellow", "ok": "green", "simulated": "magenta", "failed": "red"}


@dataclass
class Row:
    """One run of one expert."""

    name: str
    step: int
    started: float = field(default_factory=time.monotonic)
    seconds: float | None = None
    tokens: int | None = None
    status: str = "awake"
    words: str = ""


class Board:
    """Rows of experts and the growing answer, shown live inside a `with` block."""

    def __init__(self, console: Console, topology: Topology, *, live: bool) -> None:
        self._console, self._topology = console, topology
        self._rows: list[Row] = []
        self._answer = ""
        self._note = ""
        self._live = (
            Live(
                console=console,
                get_renderable=self._render,
                refresh_per_second=FRAMES_PER_SECOND,
                transient=True,
            )
            if live
            else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, event: Event) -> None:
        """Apply an event of the run to the board."""
        if event["event"] == "woken":
            self._rows.append(Row(event["expert"], event["step"]))
        elif event["event"] == "token":
            self._write(event["expert"], printable(event["text"]))
        elif event["event"] == "answered":
            row = self._row(event["expert"])
            row.status, row.seconds = event["status"], event["latency_s"]
            row.tokens = event["output_tokens"]
        elif event["event"] == "revised":
            self._row(event["expert"]).words = ""
            if event["expert"] == self._topology.synthesis.name:
                self._answer, self._note = "", f"revised: {event['reason']}"

    def _write(self, expert: str, text: str) -> None:
        row = self._row(expert)
        row.words += text
        row.tokens = (row.tokens or 0) + bool(text)
        if expert == self._topology.synthesis.name:
            self._answer += text

    def _row(self, expert: str) -> Row:
        return next((row for row in reversed(self._rows) if row.name == expert), Row(expert, 0))

    def _render(self) -> RenderableType:
        words = max(0, min(FIRST_WORDS, self._console.width - OTHER_COLUMNS))
        parts: list[RenderableType] = [self._table(words)]
        if self._note:
            parts.append(Text(self._note, style="yellow"))
        if self._answer:
            parts.append(Padding(self._tail(), (1, 0, 0, 0)))
        return Group(*parts)

    def _table(self, words: int) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("", "expert"):
            table.add_column(name, no_wrap=True)
        for name in ("step", "seconds", "tokens"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True, overflow="ellipsis")
        for row in self._rows:
            spent = row.seconds if row.seconds is not None else time.monotonic() - row.started
            table.add_row(
                Text(MARKS[row.status], style=STYLES.get(row.status, "dim")),
                row.name,
                str(row.step),
                f"{spent:.1f}",
                "" if row.tokens is None else str(row.tokens),
                Text(" ".join(row.words.split())[:words], style="dim"),
            )
        return table

    def _tail(self) -> Text:
        """Return the last lines of the growing answer that fit under the table."""
        width, height = self._console.size
        room = max(3, height - len(self._rows) - 6)
        lines = Text(self._answer).wrap(self._console, max(20, width - 1))
        return Text("\n").join(lines[-room:])

    def experts(self, result: Result) -> None:
        """Print each expert that was asked, and its outcome."""
        if self._live and self._rows:
            self._console.print(self._table(0))
        elif self._rows:
            done = [f"{e['name']} {e['status']}" for e in result["experts"]]
            self._console.print(f"experts: {', '.join(done)}", soft_wrap=True)

    def summary(self, result: Result) -> None:
        """Print the run's usage and provenance."""
        whole = not self._console.is_terminal  # no line breaks of ours in a log
        self._console.print(Text(summary(result), style="dim"), soft_wrap=whole)
        for line in recalled(result):
            self._console.print(Text(printable(line), style="dim"), soft_wrap=whole)
        for remark in (result["error"], *result["notes"]):
            if remark:
                self._console.print(Text(printable(remark), style="yellow"), soft_wrap=whole)


def summary(result: Result) -> str:
    """Return one line: steps, calls, tokens, cost, agreement, provenance."""
    usage = result["usage"]

    def known(value: int | None, unit: str) -> str:
        return f"unknown {unit}" if value is None else f"{value:,} {unit}"

    cost = "cost unknown" if usage["cost_usd"] is None else f"${usage['cost_usd']:.6g}"
    facts = [
        f"{result['provenance']} ({result['stop_reason']})",
        f"effort {result['effort']}",
        f"{result['steps']} steps",
        f"{usage['calls']} calls",
        known(usage["input_tokens"], "tokens in"),
        known(usage["output_tokens"], "out"),
        cost,
    ]
    if result["agreement"] is not None:
        facts.append(f"agreement {result['agreement']:.2f}")
    if result["thread_id"] is not None:
        facts.append(f"thread {result['thread_id']}")
    return " · ".join(facts)


def recalled(result: Result) -> list[str]:
    """Return one line for each recalled memory."""
    return [
        f"recalled {item['score']:.2f}: {item['text'].splitlines()[0]} ({item['origin']}, "
        f"{item['date'][:10]})"
        for item in result["recalled"]
    ]
