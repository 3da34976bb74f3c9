"""`graph`: the topology, or a thread's run on it, as Mermaid text, SVG or PNG."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm_brain.cli.console import err
from swarm_brain.cli.options import not_blank
from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.errors import ConfigError

if TYPE_CHECKING:
    from swarm_brain.graph.topology import Topology
    from swarm_brain.threads.history import Run


def graph(
    topology: Annotated[
        str | None, typer.Option(help="A shipped topology or a YAML file; default: eight.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it as SVG; - is standard output.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it as PNG; - is standard output.")
    ] = None,
    thread: Annotated[
        str | None, typer.Option(help="Draw this thread's last run on it.", callback=not_blank)
    ] = None,
    run: Annotated[
        int | None, typer.Option(min=1, help="With --thread: which of its runs, from 1.")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="Draw it for a dark page.")] = False,
) -> None:
    """Draw the graph, or a thread's run on it; without --svg or --png print it for Mermaid."""
    if run is not None and thread is None:
        raise ConfigError("--run counts the runs of a thread: name one with --thread.")
    if thread is not None and topology is not None:
        raise ConfigError("--thread: its run has a topology already; leave --topology out.")
    if thread is not None and not (svg or png):
        raise ConfigError("--thread: say where to draw it, with --svg FILE or --png FILE.")
    if not (svg or png):
        from swarm_brain.graph.brain import compile_brain
        from swarm_brain.graph.loading import load

        typer.echo(compile_brain(load(topology or "eight")).get_graph().draw_mermaid())
        return
    drawn, width, height = _drawn(topology or "eight", thread, run, dark)
    if svg:
        _write(svg, drawn.encode())
    if png:
        from swarm_brain.picture.png import png as as_png

        _write(png, as_png(drawn, width, height))


def _drawn(
    topology: str, thread: str | None, number: int | None, dark: bool
) -> tuple[str, float, float]:
    """The SVG, its width and its height."""
    from swarm_brain.graph.loading import load
    from swarm_brain.picture.layout import layout
    from swarm_brain.picture.overlay import course
    from swarm_brain.picture.svg import FOOT, HEAD, svg

    if thread is None:
        loaded = load(topology)
        picture = layout(loaded)
        levels = max(loaded.levels.values())
        facts = f"{len(loaded.experts)} experts in {levels} levels"
        drawn = svg(picture, f"Topology {loaded.name}", facts, dark=dark)
    else:
        from swarm_brain.cli.threads import ending

        run, loaded = asyncio.run(_run_of(thread, number))
        picture = layout(loaded, "activations")
        title = printable(run["question"])
        drawn = svg(picture, title, ending(run), course(loaded, run), dark=dark)
    return drawn, picture.width, picture.height + HEAD + FOOT


async def _run_of(thread: str, number: int | None) -> tuple[Run, Topology]:
    from swarm_brain.cli.terminal.session import session
    from swarm_brain.threads import history

    async with session(err, needed=True) as opened:
        return await history.run_of(opened.must(), thread, number)


def _write(path: Path, data: bytes) -> None:
    """Raises OSError naming the file."""
    if str(path) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        path.write_bytes(data)
