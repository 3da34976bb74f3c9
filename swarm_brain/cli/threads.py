"""`threads`: list, show, resume, fork, delete and prune what was saved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.columns import Columns
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from swarm_brain.cli.console import PAUSED, err
from swarm_brain.cli.options import BUDGETS, Json, not_blank, settings_of, with_settings
from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.errors import ConfigError, MemoryUnavailable, ThreadError

if TYPE_CHECKING:
    from swarm_brain.threads.saver import Threads

app = typer.Typer(help="Threads: what was asked, step by step; resume, fork, delete, prune.")
Thread = Annotated[str, typer.Argument(help="The thread's id.", callback=not_blank)]
WORDS = 70  # characters of a question in a list


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All saved threads, the latest first."""
    rows = asyncio.run(_listed())
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("thread", "date", "questions", "state", "last question"):
        table.add_column(name, overflow="fold")
    for row in rows:
        facts = row["thread"], row["date"][:16], str(row["questions"]), row["state"]
        # As Text: a thread's id may look like rich's markup.
        table.add_row(*map(Text, map(printable, facts)), Text(printable(row["question"])[:WORDS]))
    Console().print(table)


async def _listed() -> list[dict[str, Any]]:
    from swarm_brain.cli.terminal.session import session
    from swarm_brain.threads.checkpoints import count_runs

    async with session(err, needed=True) as opened:
        threads = opened.must()
        counts = await count_runs(threads, await threads.ids())
        return [await _row(threads, thread, number) for thread, number in counts.items()]


async def _row(threads: Threads, thread: str, questions: int) -> dict[str, Any]:
    """One line of the list, also for a thread whose only question could not be asked."""
    from swarm_brain.threads.history import summary

    row = {"thread": thread, "questions": 0, "state": "not begun", "question": "", "date": ""}
    if not questions:
        return row
    try:
        last = await summary(threads, thread)
    except (ThreadError, MemoryUnavailable):  # one of them must not hide the others
        return row | {"state": "unreadable"}
    return {
        "thread": thread,
        "date": last["date"],
        "questions": questions,
        "state": last["provenance"] or ("paused" if last["paused"] else "unfinished"),
        "question": last["question"],
    }


@app.command()
def show(thread: Thread, as_json: Json = False) -> None:
    """A thread's runs, superstep by superstep: who was woken by what, said what, for how much."""
    runs = asyncio.run(_runs(thread))
    if as_json:
        typer.echo(json.dumps(runs, ensure_ascii=False))
        return
    console = Console(highlight=False)
    for run in runs:
        console.print(Text(f"\n{printable(run['question'])}", style="bold"))
        for step in run["steps"]:
            console.print(_step(step))
        console.print(Text(ending(run), style="dim"))


async def _runs(thread: str) -> list[Any]:
    from swarm_brain.cli.terminal.session import session
    from swarm_brain.threads import checkpoints, history

    async with session(err, needed=True) as opened:
        await checkpoints.latest(opened.must(), thread)  # raises where there is none
        return await history.runs(opened.must(), thread)


def _step(step: dict[str, Any]) -> Group:
    """One superstep: a heading, then each expert's words."""
    parts: list[Any] = [Text(f"\nstep {step['step']}", style="cyan")]
    for said in step["experts"]:
        parts += [_title(said), Padding(Text(printable(said["content"].strip())), (0, 0, 0, 4))]
        if said["error"]:
            parts.append(Text(printable(said["error"]), style="yellow"))
    return Group(*parts)


def _title(said: dict[str, Any]) -> Text:
    woken = ", ".join(f"{edge['from']} {edge['activation']:.2f}" for edge in said["woken_by"])
    tokens = "tokens unknown" if said["tokens"] is None else f"{said['tokens']:,} tokens"
    cost = "" if said["cost_usd"] is None else f", ${said['cost_usd']:.6g}"
    by_hand = {None: "", "written": ", written by a person"}
    human = by_hand.get(said["human"], f", {said['human']} at a pause")
    return Text(
        f"{said['expert']} ({said['status']}{human}) woken by {woken}; {tokens}{cost}, "
        f"{said['latency_s']:.1f} s",
        style="bold",
    )


def ending(run: Mapping[str, Any]) -> str:
    """How a run ended, or what it waits for, in one line."""
    from swarm_brain.cli.terminal.live import summary

    if run["result"]:
        return summary(run["result"])
    waiting = ", ".join(pause["expert"] for pause in run["paused"])
    return f"paused before {waiting}" if waiting else f"unfinished; next: {', '.join(run['next'])}"


@app.command(cls=with_settings(only=BUDGETS))
def resume(
    context: typer.Context,
    thread: Thread,
    as_json: Json = False,
    decide: Annotated[
        str | None, typer.Option(help="At a pause: approve, edit, skip or stop.")
    ] = None,
    sees: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With edit: what the expert is shown.")
    ] = None,
) -> None:
    """Finish an unfinished run: no finished call is made again, the settings are the run's own."""
    from swarm_brain.cli.terminal.approval import decision_of
    from swarm_brain.cli.terminal.outcome import outcome
    from swarm_brain.cli.terminal.resume import resumed

    progress: dict[str, Any] = {}
    budgets, decision = settings_of(context), decision_of(decide, sees)
    work = resumed(thread, budgets, decision, as_json, progress)
    raise typer.Exit(outcome(work, as_json, progress))


@app.command()
def fork(
    thread: Thread,
    step: Annotated[int, typer.Option(min=1, help="The superstep to change.")],
    edit: Annotated[
        list[str], typer.Option(metavar="EXPERT=FILE", help="Its words instead; repeatable.")
    ],
    as_json: Json = False,
) -> None:
    """Run on from a past step with an expert's words replaced; both answers side by side."""
    edits = {}
    for item in edit:
        name, sign, file = item.partition("=")
        if not (sign and name and file):
            raise ConfigError(f"--edit {item!r}: write EXPERT=FILE")
        edits[name.strip()] = _words(Path(file))
    progress: dict[str, Any] = {}
    from swarm_brain.cli.terminal.resume import forked_run

    both = asyncio.run(forked_run(thread, step, edits, progress))
    if as_json:
        typer.echo(json.dumps(both, ensure_ascii=False))
    if not both["fork"]:
        raise typer.Exit(PAUSED)
    if as_json:
        return
    panels = [
        Panel(Text(printable(result["final_output"])), title=name, width=_half())
        for name, result in both.items()
    ]
    Console(highlight=False).print(Columns(panels))


def _half() -> int:
    return max(30, Console().width // 2 - 1)


def _words(file: Path) -> str:
    from swarm_brain.cli.terminal.approval import read

    return read(file)


@app.command()
def delete(threads: Annotated[list[str], typer.Argument(help="The threads' ids.")]) -> None:
    """Delete threads with all their checkpoints. Memories of them stay: memory forget."""
    asyncio.run(_deleted(threads))
    typer.echo(f"deleted {', '.join(threads)}")


async def _deleted(threads: list[str]) -> None:
    from swarm_brain.cli.terminal.resume import forget_calls
    from swarm_brain.cli.terminal.session import session

    async with session(err, needed=True) as opened:
        kept = opened.must()
        if unknown := sorted(set(threads) - set(await kept.ids())):
            raise ThreadError(f"There is no thread {', '.join(unknown)}; nothing was deleted.")
        for thread in threads:
            with kept.alone(thread):
                await forget_calls(opened, thread)
                await kept.adelete_thread(thread)
        await kept.shred()


@app.command()
def prune(
    keep_last: Annotated[int, typer.Option(min=1, help="Checkpoints that each thread keeps.")],
) -> None:
    """Delete old checkpoints of all threads. They go on; older steps can no longer be shown."""
    typer.echo(f"deleted {asyncio.run(_pruned(keep_last))} checkpoints")


async def _pruned(keep_last: int) -> int:
    from swarm_brain.cli.terminal.session import session

    async with session(err, needed=True) as opened:
        return await opened.must().keep_last(keep_last)
