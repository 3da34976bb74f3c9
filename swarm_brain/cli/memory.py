"""`memory`: list, search, delete, export, import and consolidate memories."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from swarm_brain.cli.console import ERROR, note
from swarm_brain.cli.options import MODEL, Json, not_blank, settings_of, with_settings
from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.errors import ConfigError, MemoryUnavailable

T = TypeVar("T")
if TYPE_CHECKING:
    from langgraph.store.base import BaseStore, Item, SearchItem

    from swarm_brain.memory.space import Space

    Work = Callable[[BaseStore, Space], Awaitable[T]]

# The functions below import what they call: all of it imports LangGraph, which is slow.
app = typer.Typer(help="List, search, delete, export and import memories; distil facts from them.")
SpaceName = Annotated[
    str, typer.Option("--space", help="The space that holds the memories.", callback=not_blank)
]
TEXT_WIDTH = 90  # characters of a memory in a list


def _with_store(name: str, work: Work[T]) -> T:
    """Call `work` with the user's store and one of its spaces."""
    from swarm_brain.memory.opening import close_store, open_store
    from swarm_brain.memory.space import Space

    store = open_store()

    async def result() -> T:
        return await work(store, Space(name=name))

    try:
        return asyncio.run(result())
    finally:
        close_store(store)


@app.command("list")
def list_(space: SpaceName = "default", as_json: Json = False) -> None:
    """List memories, the latest first."""
    from swarm_brain.memory import maintenance

    _print(_with_store(space, maintenance.listed), as_json)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="The query.", callback=not_blank)],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Show at most this many.")] = 10,
    space: SpaceName = "default",
    as_json: Json = False,
) -> None:
    """List memories by similarity to a query, including those below the floor."""
    from swarm_brain.graph.state import MEMORY_KINDS

    async def work(store: BaseStore, space: Space) -> list[SearchItem]:
        items = [
            item
            for kind in MEMORY_KINDS
            for item in await store.asearch(space.of(kind), query=query, limit=limit)
        ]
        if any(item.score is None for item in items):
            raise MemoryUnavailable("the embedder", "none is installed, or it is off")
        return sorted(items, key=lambda item: -(item.score or 0))[:limit]

    _print(_with_store(space, work), as_json)


def _print(items: Sequence[SearchItem], as_json: bool) -> None:
    from swarm_brain.memory import maintenance

    if as_json:
        rows = [
            {**maintenance.brief(item), **({"score": item.score} if item.score is not None else {})}
            for item in items
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("id", "date", "kind", "score", "text"):
        table.add_column(name)
    for item in items:
        score = "" if item.score is None else f"{item.score:.2f}"
        text = Text(printable(maintenance.one_line(item))[:TEXT_WIDTH])
        facts = item.key[:12], item.value["date"][:10], item.value["kind"], score
        table.add_row(*map(Text, map(printable, facts)), text)  # no markup: imported ids
    Console(highlight=False).print(table)


@app.command()
def show(
    key: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="The memory's id, or at least the first 8 characters of it."
        ),
    ],
    space: SpaceName = "default",
    as_json: Json = False,
) -> None:
    """Show one memory in full."""
    from swarm_brain.memory import maintenance

    item = _with_store(space, lambda store, space: _item(store, space, key))
    facts = maintenance.brief(item)
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for name, value in facts.items():
        Console(highlight=False).print(Text(f"{name}: {printable(str(value))}"))


async def _item(store: BaseStore, space: Space, key: str) -> Item:
    """Return the memory with this id. Raises ConfigError if it does not exist."""
    from swarm_brain.memory import maintenance

    item = await maintenance.find(store, space, not_blank(key))
    if item is None:
        raise ConfigError(f"There is no memory {key}. `swarm-brain memory list` shows them.")
    return item


@app.command()
def forget(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="The memories' ids.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Delete all memories of the space.")
    ] = False,
    space: SpaceName = "default",
) -> None:
    """Delete memories, their vectors, and facts without any other source."""
    from swarm_brain.memory import maintenance

    if bool(keys) == everything:
        raise ConfigError("Name the memories to forget, or give --all.")

    async def work(store: BaseStore, space: Space) -> int:
        if everything:
            ids = [item.key for item in await maintenance.listed(store, space)]
        else:
            ids = [(await _item(store, space, key)).key for key in keys or []]
        return await maintenance.forget(store, space, ids)

    typer.echo(f"forgotten: {_with_store(space, work)}")


@app.command()
def export(
    file: Annotated[str, typer.Argument(help="The file to write; - is standard output.")] = "-",
    space: SpaceName = "default",
) -> None:
    """Write all memories as JSONL, without vectors."""
    from swarm_brain.memory import maintenance

    async def work(store: BaseStore, space: Space) -> list[str]:
        return [line async for line in maintenance.exported(store, space)]

    lines = _with_store(space, work)
    text = "".join(f"{line}\n" for line in lines)
    if file == "-":
        sys.stdout.write(text)
    else:
        Path(file).write_text(text, encoding="utf-8")
        typer.echo(f"exported: {len(lines)}")


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="The exported file; - is standard input.")],
    space: SpaceName = "default",
) -> None:
    """Read memories from JSONL. One invalid line stops the whole import."""
    from swarm_brain.memory import maintenance

    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        lines = data.decode().split("\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8 text.") from None
    count = _with_store(space, lambda store, space: maintenance.imported(store, space, lines))
    typer.echo(f"imported: {count}")


@app.command()
def stats(space: SpaceName = "default", as_json: Json = False) -> None:
    """Count memories, by kind and by embedder."""
    from swarm_brain.memory import maintenance

    counts = _with_store(space, maintenance.stats)
    if as_json:
        typer.echo(json.dumps(counts))
        return
    for name, value in counts.items():
        typer.echo(f"{name}: {value}")


@app.command()
def reindex(space: SpaceName = "default") -> None:
    """Embed all memories again with the current embedder."""
    from swarm_brain.memory import maintenance

    typer.echo(f"embedded: {_with_store(space, maintenance.reindex)}")


@app.command(cls=with_settings(only=MODEL))
def consolidate(
    context: typer.Context,
    tokens: Annotated[int | None, typer.Option(help="Use at most this many tokens.")] = None,
    space: SpaceName = "default",
    as_json: Json = False,
) -> None:
    """Distil facts from new answers, and remove near-duplicates."""
    from swarm_brain.graph.context import make_context
    from swarm_brain.memory.consolidation import consolidate as run

    limit = {} if tokens is None else {"consolidation_tokens": tokens}
    settings = make_context(settings_of(context) | limit)
    report = _with_store(space, lambda store, space: run(store, space, settings))
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    else:
        typer.echo(
            f"read {report.read}, facts {report.facts}, merged {report.merged}, duplicates removed "
            f"{report.duplicates}, left {report.left}, {report.tokens:,} tokens"
        )
    if report.why:
        note(report.why)
        raise typer.Exit(ERROR)
