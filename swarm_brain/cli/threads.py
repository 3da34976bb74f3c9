"""`threads`: list, show, resume, fork, delete and prune saved threads.

Imports inside functions keep LangGraph out of `--help` and of completion.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typing_extensions import TypedDict

from swarm_brain.cli.console import PAUSED, err
from swarm_brain.cli.options import BUDGETS, Json, not_blank, settings_of, with_settings
from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.errors import ConfigError, MemoryUnavailable, ThreadError

if TYPE_CHECKING:
    from swarm_brain.runs.saved import ExpertStep, Run, Step
    from swarm_brain.threads.saver import Threads

app = typer.Typer(help="List, show, resume, fork, delete and prune saved threads.")
Thread = Annotated[str, typer.Argument(help="The thread's id.", callback=not_blank)]
WORDS = 70  # characters of a question in a list


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List all saved threads, the latest first."""
    rows = asyncio.run(_rows())
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


class _Row(TypedDict):
    """One line of the list."""

    thread: str
    date: str
    questions: int
    state: str
    question: str


async def _rows() -> list[_Row]:
    from swarm_brain.cli.terminal.session import session
    from swarm_brain.threads.checkpoints import count_runs

    async with session(err, needed=True) as opened:
        threads = opened.require_threads()
        counts = await count_runs(threads, await threads.ids())
        return [await _row(threads, thread, number) for thread, number in counts.items()]


async def _row(threads: Threads, thread: str, questions: int) -> _Row:
    from swarm_brain.threads.history import summary

    row: _Row = {"thread": thread, "date": "", "questions": 0, "state": "not begun", "question": ""}
    if not questions:  # the only question could not be asked
        return row
    try:
        last = await summary(threads, thread)
    except (ThreadError, MemoryUnavailable):  # one of them must not hide the others
        return {**row, "state": "unreadable"}
    return {
        "thread": thread,
        "date": last["date"],
        "questions": questions,
        "state": last["provenance"] or ("paused" if last["paused"] else "unfinished"),
        "question": last["question"],
    }


@app.command()
def show(thread: Thread, as_json: Json = False) -> None:
    """Show a thread's runs step by step, with each expert's words and costs."""
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


async def _runs(thread: str) -> list[Run]:
    from swarm_brain.cli.terminal.session import session
    from swarm_brain.runs.saved import saved_runs
    from swarm_brain.threads import checkpoints

    async with session(err, needed=True) as opened:
        await checkpoints.latest(opened.require_threads(), thread)  # raises if there is none
        return await saved_runs(opened.require_threads(), thread)


def _step(step: Step) -> Group:
    """Render a step: a heading, then each expert's words."""
    parts: list[RenderableType] = [Text(f"\nstep {step['step']}", style="cyan")]
    for expert in step["experts"]:
        words = Text(printable(expert["content"].strip()))
        parts += [_title(expert), Padding(words, (0, 0, 0, 4))]
        if expert["error"]:
            parts.append(Text(printable(expert["error"]), style="yellow"))
    return Group(*parts)


def _title(expert: ExpertStep) -> Text:
    woken = ", ".join(f"{edge['from']} {edge['activation']:.2f}" for edge in expert["woken_by"])
    tokens = "tokens unknown" if expert["tokens"] is None else f"{expert['tokens']:,} tokens"
    cost = "" if expert["cost_usd"] is None else f", ${expert['cost_usd']:.6g}"
    by_hand = {None: "", "written": ", written by a person"}
    human = by_hand.get(expert["human"], f", {expert['human']} at a pause")
    return Text(
        f"{expert['expert']} ({expert['status']}{human}) woken by {woken}; {tokens}{cost}, "
        f"{expert['latency_s']:.1f} s",
        style="bold",
    )


def ending(run: Run) -> str:
    """Return one line: how a run ended, or its pending decision."""
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
    """Finish an unfinished run. Finished calls are not repeated."""
    from swarm_brain.cli.terminal.approval import decision_of
    from swarm_brain.cli.terminal.outcome import Progress, failures_as_json, outcome
    from swarm_brain.cli.terminal.resume import resumed

    progress = Progress()
    with failures_as_json(as_json, progress):
        budgets = settings_of(context)
    decision = decision_of(decide, sees)
    work = resumed(thread, budgets, decision, as_json, progress)
    raise typer.Exit(outcome(work, as_json, progress))


@app.command()
def fork(
    thread: Thread,
    step: Annotated[int, typer.Option(min=1, help="The step to change.")],
    edit: Annotated[
        list[str],
        typer.Option(metavar="EXPERT=FILE", help="The file with its new words; repeatable."),
    ],
    as_json: Json = False,
) -> None:
    """Run again from a past step with new words for an expert; show both answers."""
    from swarm_brain.cli.terminal.approval import read
    from swarm_brain.cli.terminal.resume import forked_run

    edits = {}
    for item in edit:
        name, sign, file = item.partition("=")
        if not (sign and name and file):
            raise ConfigError(f"--edit {item!r}: write EXPERT=FILE")
        edits[name.strip()] = read(Path(file))
    original, fork = asyncio.run(forked_run(thread, step, edits, {}))
    if as_json:
        typer.echo(json.dumps({"original": original, "fork": fork}, ensure_ascii=False))
    if fork is None:
        raise typer.Exit(PAUSED)
    if as_json:
        return
    half = max(30, Console().width // 2 - 1)
    panels = [
        Panel(Text(printable(result["final_output"])), title=name, width=half)
        for name, result in (("original", original), ("fork", fork))
    ]
    Console(highlight=False).print(Columns(panels))


@app.command()
def delete(threads: Annotated[list[str], typer.Argument(help="The threads' ids.")]) -> None:
    """Delete threads and their checkpoints. Memories stay: see `memory forget`."""
    asyncio.run(_deleted(threads))
    typer.echo(f"deleted {', '.join(threads)}")


async def _deleted(threads: list[str]) -> None:
    from swarm_brain.cli.terminal.resume import forget_calls
    from swarm_brain.cli.terminal.session import session

    async with session(err, needed=True) as opened:
        saved = opened.require_threads()
        if unknown := sorted(set(threads) - set(await saved.ids())):
            raise ThreadError(f"There is no thread {', '.join(unknown)}; nothing was deleted.")
        for thread in threads:
            with saved.alone(thread):
                await forget_calls(opened, thread)
                await saved.adelete_thread(thread)
        await saved.shred()


@app.command()
def prune(
    keep_last: Annotated[
        int, typer.Option(min=1, help="The number of checkpoints to keep of each thread.")
    ],
) -> None:
    """Delete old checkpoints. Threads can continue; older steps are lost."""
    typer.echo(f"deleted {asyncio.run(_pruned(keep_last))} checkpoints")


async def _pruned(keep_last: int) -> int:
    from swarm_brain.cli.terminal.session import session

    async with session(err, needed=True) as opened:
        return await opened.require_threads().keep_last(keep_last)
