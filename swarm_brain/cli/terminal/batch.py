"""`batch`: open the file, its journal and who answers; run; write the answers; say what it took."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console

from swarm_brain.batch.backend import Asker, There, here
from swarm_brain.batch.journal import open_journal
from swarm_brain.batch.output import Stream, Total, write
from swarm_brain.batch.purse import Purse
from swarm_brain.batch.records import Record
from swarm_brain.batch.rows import Rows, indexed, refused
from swarm_brain.batch.runner import BUDGET, Batch, run
from swarm_brain.cli.console import ANSWERED, ERROR, PAUSED, SIMULATED, err
from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.context import Context, make_context
from swarm_brain.graph.errors import ConfigError, InputError
from swarm_brain.graph.loading import load
from swarm_brain.graph.topology import Topology
from swarm_brain.progress import counting, prepare_run
from swarm_brain.remote import connect

STREAM = Path("-")


@dataclass(frozen=True)
class BatchRequest:
    """What the user asked for. `budget` is tokens and dollars of the whole batch."""

    file: Path
    output: Path
    settings: dict[str, Any]
    topology: str | None = None
    url: str | None = None
    concurrency: int = 4
    resume: bool = False
    retry_failed: bool = False
    budget: tuple[int | None, float | None] = (None, None)

    @property
    def limits(self) -> dict[str, float]:
        """The budgets that are given, by the names of the settings that limit one run."""
        names = ("budget_tokens", "budget_usd")
        given = zip(names, self.budget, strict=True)
        return {name: limit for name, limit in given if limit is not None}

    @property
    def journal(self) -> Path | None:
        """Where answers are kept as they come; None where nothing can be gone on with."""
        return None if self.output == STREAM else Path(f"{self.output}.journal")


def default_output(file: Path) -> Path:
    """Where the answers go if nobody says."""
    if not file.name:
        raise ConfigError(f"{file} is no file.")
    return STREAM if file == STREAM else file.with_suffix(".answers.jsonl")


def answer(wanted: BatchRequest) -> int:
    """Run a batch to its end; the exit code. Raises BrainError before anything is sent."""
    _check(wanted)
    with _questions(wanted.file) as file, _alone(wanted.journal):
        rows = indexed(file, wanted.settings)
        _tell_bad(rows)
        try:
            return asyncio.run(_answered(wanted, rows))
        except KeyboardInterrupt:  # what is kept has been told
            return ERROR


def _check(wanted: BatchRequest) -> None:
    """Raise ConfigError for what cannot be wanted together."""
    if wanted.output == STREAM and wanted.resume:
        raise ConfigError("--resume needs a file that it can go on with: name one by --output.")
    if wanted.url and wanted.topology:
        raise ConfigError("--topology: not with --url, it is the server that answers.")
    for name in wanted.limits:
        if wanted.url and name not in wanted.settings:
            raise ConfigError(
                f"--{name.replace('_', '-')} with --url: what a row takes there at worst is not "
                f"known here. Say it for each row: --setting {name}=..."
            )
    try:
        refused(wanted.settings)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    make_context(wanted.settings)
    journal = wanted.journal
    if journal and wanted.output.exists() and not (wanted.resume and journal.exists()):
        ways = "delete it" if wanted.resume else "go on with --resume"
        raise ConfigError(f"{wanted.output} exists. Name another --output, or {ways}.")


@contextmanager
def _questions(path: Path) -> Iterator[BinaryIO]:
    """The file of questions; standard input is copied, because it is read twice."""
    if path == STREAM:
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.seek(0)
            yield copy
        return
    try:
        file = path.open("rb")
        file.peek(1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}).") from None
    with file:
        yield file


@contextmanager
def _alone(journal: Path | None) -> Iterator[None]:
    """No other process writes the same answers meanwhile. Raises ConfigError."""
    from filelock import FileLock, Timeout

    if journal is None:
        yield
        return
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{journal}.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"Another process is writing {journal}.") from None
    except OSError as error:
        raise ConfigError(f"{journal} cannot be written ({error.strerror}).") from None
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()


def _tell_bad(rows: Rows) -> None:
    """Say which rows cannot be asked. Raises ConfigError if none can."""
    told = "; ".join(rows.problems) + ("; ..." if rows.bad > len(rows.problems) else "")
    if rows.bad == len(rows):
        raise ConfigError(f"No row can be asked: {told or 'the file is empty'}")
    if rows.bad:
        _note(f"{rows.bad:,} of {len(rows):,} rows cannot be asked: {told}")


def _note(text: str) -> None:
    err.print(printable(text), style="yellow", markup=False, soft_wrap=True)


async def _answered(wanted: BatchRequest, rows: Rows) -> int:
    asker, settings, about = await _asker(wanted, rows)
    head = {"questions": rows.sha256, "rows": len(rows), "settings": settings, **about}
    journal = open_journal(wanted.journal, len(rows), head, resume=wanted.resume)
    purse = Purse(*wanted.budget, spent=journal.charged)
    batch = Batch(
        rows,
        journal,
        asker,
        settings,
        purse,
        _ignored,
        wanted.concurrency,
        wanted.retry_failed,
    )
    try:
        total = await _run(wanted, batch)
    except asyncio.CancelledError:
        _note(_interrupted(wanted, batch))
        raise
    finally:
        journal.close()
    _tell(wanted, batch, total)
    return _code(batch, total)


def _ignored(number: int, found: Record) -> None:
    """Nobody listens."""


async def _asker(wanted: BatchRequest, rows: Rows) -> tuple[Asker, dict[str, Any], dict[str, Any]]:
    """Who answers, with which settings, and what tells this one from another.

    Raises BrainError if it can answer nothing.
    """
    settings = {**wanted.settings, "use_memory": False}
    if wanted.url:
        there = There(connect(wanted.url))
        await there.ready()
        err.print(f"asking {there.brain.url}", style="dim", markup=False, soft_wrap=True)
        return there, settings, {"server": there.brain.url}
    topology = load(wanted.topology or "eight")
    context = await asyncio.to_thread(prepare_run, make_context(settings), topology, err)
    settings["model"] = context.model
    asker = here(topology, _quietly(topology))
    first = next(filter(_good, map(rows.at, range(len(rows)))))
    with suppress(InputError):  # that is this row's own fault
        await asker.worst(first, {**wanted.limits, **settings})
    return asker, settings, {"topology": topology.hash}


def _good(row: Any) -> bool:
    return row.problem is None


def _quietly(topology: Topology) -> Callable[[Context], Context]:
    """Fetches the weights of rows that name models of their own."""
    silent = Console(stderr=True, quiet=True)
    return lambda context: prepare_run(context, topology, silent)


async def _run(wanted: BatchRequest, batch: Batch) -> Total:
    """Ask, with a progress bar; then, or meanwhile on standard output, write the answers."""
    done = sum(batch.journal.done(row) for row in range(len(batch.rows)))
    total = Total()
    stream = Stream(batch, total) if wanted.output == STREAM else None
    with counting(err, "batch", len(batch.rows), done) as counted:

        def told(number: int, found: Record) -> None:
            counted.add(found["usage"], failed=found["status"] == "failed")
            if stream:
                stream.flush()

        batch.told = told
        await run(batch)
    if stream:
        stream.flush(end=True)
    else:
        write(wanted.output, map(total.add, batch.answers()))
    return total


def _interrupted(wanted: BatchRequest, batch: Batch) -> str:
    done = sum(batch.journal.done(row) for row in range(len(batch.rows)))
    told = f"Interrupted: {done:,} of {len(batch.rows):,} rows are answered"
    if wanted.journal is None:
        return f"{told}; nothing is kept, because --output is no file."
    return f"{told} and kept in {wanted.journal}. Go on with `{_again(wanted)}`"


def _again(wanted: BatchRequest, option: str = "--resume") -> str:
    """The command that goes on, in short."""
    return f"swarm-brain batch {shlex.quote(str(wanted.file))} ... {option}"


def _tell(wanted: BatchRequest, batch: Batch, total: Total) -> None:
    """What came of it, and how to go on where something is left."""
    where = "" if wanted.output == STREAM else f" · {wanted.output}"
    err.print(printable(f"{total}{where}"), style="dim", markup=False, soft_wrap=True)
    whole = total.rows["answered"] == len(batch.rows)
    if wanted.journal is None:
        return
    if whole:
        wanted.journal.unlink()
    elif batch.stopped:
        why = f"budget: {batch.purse.told()}" if batch.stopped == BUDGET else batch.stopped
        _note(f"Not all were sent ({why}). Go on with `{_again(wanted)}`")
    elif total.rows["failed"] > batch.rows.bad:
        _note(f"Ask the failed ones again with `{_again(wanted, '--retry-failed')}`")


def _code(batch: Batch, total: Total) -> int:
    """The exit code, as `ask` has them; PAUSED: there is more to do, for more money."""
    if batch.stopped == BUDGET:
        return PAUSED
    if total.rows["answered"] < len(batch.rows):
        return ERROR
    return SIMULATED if total.simulated else ANSWERED
