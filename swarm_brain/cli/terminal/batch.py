"""Run a batch from the command line: read, ask, write, report."""

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
from typing import BinaryIO

from filelock import FileLock, Timeout
from rich.console import Console

from swarm_brain.batch.answer import RowAnswer
from swarm_brain.batch.backend import Backend, RemoteBackend, local_backend
from swarm_brain.batch.budget import BatchBudget
from swarm_brain.batch.journal import open_journal
from swarm_brain.batch.output import Stream, Total, write
from swarm_brain.batch.rows import Row, Rows, check_settings, index
from swarm_brain.batch.runner import OVER_BUDGET, Batch, run
from swarm_brain.cli.console import ANSWERED, ERROR, PAUSED, SIMULATED, err, note
from swarm_brain.cli.options import SHIPPED, Settings
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
    """The options of a batch; `budget` limits its total tokens and dollars."""

    file: Path
    output: Path
    settings: Settings
    topology: str | None = None
    url: str | None = None
    concurrency: int = 4
    resume: bool = False
    retry_failed: bool = False
    budget: tuple[int | None, float | None] = (None, None)

    @property
    def limits(self) -> dict[str, float]:
        """The batch's budgets, by the names of the settings that limit one run."""
        budgets = zip(("budget_tokens", "budget_usd"), self.budget, strict=True)
        return {name: limit for name, limit in budgets if limit is not None}

    @property
    def journal(self) -> Path | None:
        """The file that saves answers as they come; None if the batch is not resumable."""
        return None if self.output == STREAM else Path(f"{self.output}.journal")


def default_output(file: Path) -> Path:
    """Return the default output file. Raises ConfigError for a folder."""
    if not file.name:
        raise ConfigError(f"{file} is not a file.")
    return STREAM if file == STREAM else file.with_suffix(".answers.jsonl")


def answer(request: BatchRequest) -> int:
    """Run a batch and return the exit code. Raises BrainError before sending."""
    _check(request)
    with _questions(request.file) as file, _alone(request.journal):
        rows = index(file, request.settings)
        _report_bad(rows)
        try:
            return asyncio.run(_answered(request, rows))
        except KeyboardInterrupt:  # what is saved has been reported
            return ERROR


def _check(request: BatchRequest) -> None:
    """Raise ConfigError for options that contradict each other."""
    if request.output == STREAM and request.resume:
        raise ConfigError("--resume needs a file to continue: name it with --output.")
    if request.url and request.topology:
        raise ConfigError("--topology: cannot be used with --url; the server decides.")
    for name in request.limits:
        if request.url and name not in request.settings:
            raise ConfigError(
                f"--{name.replace('_', '-')} with --url: the most a row can use on the server is "
                f"unknown. Limit each row with --setting {name}=..."
            )
    try:
        check_settings(request.settings)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    make_context(request.settings)
    journal = request.journal
    if journal and request.output.exists() and not (request.resume and journal.exists()):
        ways = "delete it" if request.resume else "continue it with --resume"
        raise ConfigError(f"{request.output} exists. Name another --output, or {ways}.")


@contextmanager
def _questions(path: Path) -> Iterator[BinaryIO]:
    """Open the questions. Standard input is copied, because it is read twice."""
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
    """Lock the answers. Raises ConfigError if another process has the lock."""
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


def _report_bad(rows: Rows) -> None:
    """Report rows with problems. Raises ConfigError if no row is left."""
    problems = "; ".join(rows.problems) + ("; ..." if rows.bad > len(rows.problems) else "")
    if rows.bad == len(rows):
        raise ConfigError(f"No row can be asked: {problems or 'the file is empty'}")
    if rows.bad:
        note(f"{rows.bad:,} of {len(rows):,} rows cannot be asked: {problems}")


async def _answered(request: BatchRequest, rows: Rows) -> int:
    backend, settings, about = await _backend(request, rows)
    head = {"questions": rows.sha256, "rows": len(rows), "settings": settings, **about}
    journal = open_journal(request.journal, len(rows), head, resume=request.resume)
    batch = Batch(
        rows,
        journal,
        backend,
        settings,
        BatchBudget(*request.budget, spent=journal.charged),
        concurrency=request.concurrency,
        retry_failed=request.retry_failed,
    )
    try:
        total = await _run(request, batch)
    except asyncio.CancelledError:
        note(_interrupted(request, batch))
        raise
    finally:
        journal.close()
    _report(request, batch, total)
    return _code(batch, total)


async def _backend(request: BatchRequest, rows: Rows) -> tuple[Backend, Settings, dict[str, str]]:
    """Return the backend, its settings, and its identity in the journal.

    Raises BrainError if it cannot answer.
    """
    settings: Settings = {**request.settings, "use_memory": False}
    if request.url:
        remote = RemoteBackend(connect(request.url))
        await remote.check()
        err.print(f"asking {remote.brain.url}", style="dim", markup=False, soft_wrap=True)
        return remote, settings, {"server": remote.brain.url}
    topology = load(request.topology or SHIPPED)
    context = await asyncio.to_thread(prepare_run, make_context(settings), topology, err)
    settings["model"] = context.model
    backend = local_backend(topology, _prepare_silently(topology))
    first = next(filter(_good, map(rows.at, range(len(rows)))))
    with suppress(InputError):  # reported as this row's answer
        await backend.worst(first, {**request.limits, **settings})
    return backend, settings, {"topology": topology.hash}


def _good(row: Row) -> bool:
    return row.problem is None


def _prepare_silently(topology: Topology) -> Callable[[Context], Context]:
    """Return a function that fetches weights for models that rows name."""
    silent = Console(stderr=True, quiet=True)
    return lambda context: prepare_run(context, topology, silent)


async def _run(request: BatchRequest, batch: Batch) -> Total:
    """Ask with a progress bar; write the answers at the end or as they come."""
    done = sum(batch.journal.done(row) for row in range(len(batch.rows)))
    total = Total()
    stream = Stream(batch, total) if request.output == STREAM else None
    with counting(err, "batch", len(batch.rows), done) as counted:

        def on_answer(answer: RowAnswer) -> None:
            counted.add(answer["usage"], failed=answer["status"] == "failed")
            if stream:
                stream.flush()

        batch.on_answer = on_answer
        await run(batch)
    if stream:
        stream.flush(end=True)
    else:
        write(request.output, map(total.add, batch.answers()))
    return total


def _interrupted(request: BatchRequest, batch: Batch) -> str:
    done = sum(batch.journal.done(row) for row in range(len(batch.rows)))
    text = f"Interrupted: {done:,} of {len(batch.rows):,} rows are answered"
    if request.journal is None:
        return f"{text}; nothing is saved, because --output is standard output."
    return f"{text} and saved in {request.journal}. Continue with `{_again(request)}`"


def _again(request: BatchRequest, option: str = "--resume") -> str:
    """Return the command that continues the batch, shortened."""
    return f"swarm-brain batch {shlex.quote(str(request.file))} ... {option}"


def _report(request: BatchRequest, batch: Batch, total: Total) -> None:
    """Print the totals, and how to continue if rows are left."""
    where = "" if request.output == STREAM else f" · {request.output}"
    err.print(printable(f"{total}{where}"), style="dim", markup=False, soft_wrap=True)
    whole = total.rows["answered"] == len(batch.rows)
    if request.journal is None:
        return
    if whole:
        request.journal.unlink()
    elif batch.stopped:
        why = f"budget: {batch.budget}" if batch.stopped == OVER_BUDGET else batch.stopped
        note(f"Not all rows were sent ({why}). Continue with `{_again(request)}`")
    elif total.rows["failed"] > batch.rows.bad:
        note(f"Ask the failed rows again with `{_again(request, '--retry-failed')}`")


def _code(batch: Batch, total: Total) -> int:
    """Return the exit code. PAUSED means that the budget ran out."""
    if batch.stopped == OVER_BUDGET:
        return PAUSED
    if total.rows["answered"] < len(batch.rows):
        return ERROR
    return SIMULATED if total.simulated else ANSWERED
