"""`memory`: look at what is remembered, forget it, carry it elsewhere, distil facts from it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from swarm_brain.cli.console import ERROR, err
from swarm_brain.cli.options import MODEL, Json, not_blank, settings_of, with_settings
from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.errors import ConfigError, MemoryUnavailable

app = typer.Typer(help="Memories: answered questions (episodes) and facts distilled from them.")
SpaceName = Annotated[str, typer.Option("--space", help="Whose memories.", callback=not_blank)]
T = TypeVar("T")
Work = Callable[[Any, Any], Awaitable[T]]
WORDS = 90  # characters of a memory in a list


def _with_store(name: str, work: Work[T]) -> T:
    """Do something with the user's store and a space of it."""
    from swarm_brain.memory.opening import close_store, open_store
    from swarm_brain.memory.space import Space

    store = open_store()
    try:
        return asyncio.run(work(store, Space(name=name)))  # type: ignore[arg-type]
    finally:
        close_store(store)


@app.command("list")
def list_(space: SpaceName = "default", as_json: Json = False) -> None:
    """All memories, the latest first."""
    from swarm_brain.memory import maintenance

    _print(_with_store(space, maintenance.listed), as_json)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What they should be about.", callback=not_blank)],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 10,
    space: SpaceName = "default",
    as_json: Json = False,
) -> None:
    """Memories by similarity, with their scores; those below the floor too."""
    from swarm_brain.graph.state import MEMORY_KINDS

    async def work(store: Any, place: Any) -> list[Any]:
        found = [
            item
            for kind in MEMORY_KINDS
            for item in await store.asearch(place.of(kind), query=query, limit=limit)
        ]
        if any(item.score is None for item in found):
            raise MemoryUnavailable("the embedder", "none is installed, or it is off")
        return sorted(found, key=lambda item: -item.score)[:limit]

    _print(_with_store(space, work), as_json)


def _print(items: list[Any], as_json: bool) -> None:
    from swarm_brain.memory import maintenance

    if as_json:
        rows = [
            {**maintenance.brief(item), **({"score": item.score} if item.score is not None else {})}
            for item in items
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("id", "date", "kind", "score", "about"):
        table.add_column(name)
    for item in items:
        score = "" if item.score is None else f"{item.score:.2f}"
        words = Text(printable(maintenance.one_line(item))[:WORDS])
        facts = item.key[:12], item.value["date"][:10], item.value["kind"], score
        table.add_row(*map(Text, map(printable, facts)), words)  # no markup: imported ids
    Console(highlight=False).print(table)


@app.command()
def show(
    key: Annotated[str, typer.Argument(metavar="ID", help="A memory's id, or its beginning.")],
    space: SpaceName = "default",
    as_json: Json = False,
) -> None:
    """One memory, whole."""
    from swarm_brain.memory import maintenance

    item = _with_store(space, lambda store, place: _found(store, place, key))
    facts = maintenance.brief(item)
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for name, value in facts.items():
        Console(highlight=False).print(Text(f"{name}: {printable(str(value))}"))


async def _found(store: Any, place: Any, key: str) -> Any:
    from swarm_brain.memory import maintenance

    item = await maintenance.find(store, place, not_blank(key))
    if item is None:
        raise ConfigError(f"There is no memory {key}. `swarm-brain memory list` shows them.")
    return item


@app.command()
def forget(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Memories' ids.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of the space.")] = False,
    space: SpaceName = "default",
) -> None:
    """Delete memories with their vectors, and the facts that came from nothing else."""
    from swarm_brain.memory import maintenance

    if bool(keys) == everything:
        raise ConfigError("Name the memories to forget, or say --all.")

    async def work(store: Any, place: Any) -> int:
        if everything:
            found = [item.key for item in await maintenance.listed(store, place)]
        else:
            found = [(await _found(store, place, key)).key for key in keys or []]
        return await maintenance.forget(store, place, found)

    typer.echo(f"forgotten: {_with_store(space, work)}")


@app.command()
def export(
    file: Annotated[str, typer.Argument(help="A file; - is standard output.")] = "-",
    space: SpaceName = "default",
) -> None:
    """Write all memories as JSONL, without vectors."""
    from swarm_brain.memory import maintenance

    async def work(store: Any, place: Any) -> list[str]:
        return [line async for line in maintenance.exported(store, place)]

    lines = _with_store(space, work)
    text = "".join(f"{line}\n" for line in lines)
    if file == "-":
        sys.stdout.write(text)
    else:
        Path(file).write_text(text, encoding="utf-8")
        typer.echo(f"exported: {len(lines)}")


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="A file from export; - is standard input.")],
    space: SpaceName = "default",
) -> None:
    """Read memories from JSONL; all lines or none."""
    from swarm_brain.memory import maintenance

    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        lines = data.decode().split("\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8 text.") from None
    count = _with_store(space, lambda store, place: maintenance.imported(store, place, lines))
    typer.echo(f"imported: {count}")


@app.command()
def stats(space: SpaceName = "default", as_json: Json = False) -> None:
    """How many memories there are, and by which embedder."""
    from swarm_brain.memory import maintenance

    found = _with_store(space, maintenance.stats)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, value in found.items():
        typer.echo(f"{name}: {value}")


@app.command()
def reindex(space: SpaceName = "default") -> None:
    """Embed all memories with the embedder that is set now."""
    from swarm_brain.memory import maintenance

    typer.echo(f"embedded: {_with_store(space, maintenance.reindex)}")


@app.command(cls=with_settings(only=MODEL))
def consolidate(
    context: typer.Context,
    tokens: Annotated[int | None, typer.Option(help="Tokens it may take at most.")] = None,
    space: SpaceName = "default",
    as_json: Json = False,
) -> None:
    """Distil facts from the answers that are new since the last time; remove near-duplicates."""
    from swarm_brain.graph.context import make_context
    from swarm_brain.memory.consolidation import consolidate as run

    limit = {} if tokens is None else {"consolidation_tokens": tokens}
    settings = make_context(settings_of(context) | limit)
    report = _with_store(space, lambda store, place: run(store, place, settings))
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    else:
        typer.echo(
            f"read {report.read}, facts {report.facts}, merged {report.merged}, duplicates removed "
            f"{report.duplicates}, left {report.left}, {report.tokens:,} tokens"
        )
    if report.why:
        err.print(printable(report.why), style="yellow", markup=False, soft_wrap=True)
        raise typer.Exit(ERROR)
