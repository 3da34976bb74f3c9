"""`graph`: draw the topology, or a thread's run on it, as Mermaid, SVG or PNG.

Imports inside functions keep LangGraph out of `--help` and of completion.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm_brain.cli.console import err
from swarm_brain.cli.options import SHIPPED, Topology, not_blank
from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.errors import ConfigError

if TYPE_CHECKING:
    from swarm_brain.graph import topology as graph_topology
    from swarm_brain.runs.saved import Run


def graph(
    topology: Topology = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw an SVG; - is standard output.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw a PNG; - is standard output.")
    ] = None,
    thread: Annotated[
        str | None, typer.Option(help="Draw the last run of this thread.", callback=not_blank)
    ] = None,
    run: Annotated[
        int | None, typer.Option(min=1, help="With --thread: draw this run; the first is 1.")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="Draw for a dark background.")] = False,
) -> None:
    """Draw the graph, or a thread's run on it. Prints Mermaid by default."""
    if run is not None and thread is None:
        raise ConfigError("--run needs --thread: it chooses one of the thread's runs.")
    if thread is not None and topology is not None:
        raise ConfigError(
            "--thread and --topology cannot be combined: a run has a topology of its own."
        )
    if thread is not None and not (svg or png):
        raise ConfigError("--thread needs --svg FILE or --png FILE.")
    if not (svg or png):
        from swarm_brain.graph.brain import compile_brain
        from swarm_brain.graph.loading import load

        typer.echo(compile_brain(load(topology or SHIPPED)).get_graph().draw_mermaid())
        return
    drawn, width, height = _drawn(topology or SHIPPED, thread, run, dark)
    if svg:
        _write(svg, drawn.encode())
    if png:
        from swarm_brain.picture.png import png as as_png

        _write(png, as_png(drawn, width, height))


def _drawn(
    topology: str, thread: str | None, number: int | None, dark: bool
) -> tuple[str, float, float]:
    """Return the SVG, its width and its height."""
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


async def _run_of(thread: str, number: int | None) -> tuple[Run, graph_topology.Topology]:
    from swarm_brain.cli.terminal.session import session
    from swarm_brain.runs.saved import run_of

    async with session(err, needed=True) as opened:
        return await run_of(opened.require_threads(), thread, number)


def _write(path: Path, data: bytes) -> None:
    """Write a picture to a file or to standard output. Raises OSError."""
    if str(path) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        path.write_bytes(data)
