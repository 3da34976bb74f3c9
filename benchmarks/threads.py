"""Measure a growing store of threads: listing, showing, asking once more."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from swarm_brain.graph.brain import Brain, compile_brain
from swarm_brain.models import choose
from swarm_brain.runs.resume import free
from swarm_brain.runs.saved import saved_runs
from swarm_brain.threads import history
from swarm_brain.threads.checkpoints import config_of, count_runs
from swarm_brain.threads.opening import FILE, open_threads
from swarm_brain.threads.saver import Threads
from tests.fakes import Script, bind_script

LONG, SHOWN, FEW, MANY = 500, 200, 20, 500  # questions of two threads; threads of two lists
TIMES = 15  # measurements of which the least is printed: all else is the machine's other work
LIMIT = 1.3  # of a question in the long thread against one in a new thread
TICK_SECONDS = 0.001


def main() -> None:
    """Print the table. Replies come at once, so that all time is this project's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SWARM_BRAIN_DATA_DIR"] = folder
        bind, script = choose.bind, Script()
        choose.bind = lambda spec, base_url=None: bind_script(script, spec)
        try:
            asyncio.run(measure(script, Path(folder) / FILE))
        finally:
            choose.bind = bind
            del os.environ["SWARM_BRAIN_DATA_DIR"]


async def measure(script: Script, file: Path) -> None:
    """Ask LONG questions in one thread, then copy it to have threads to list."""
    async with open_threads() as threads:
        brain = compile_brain(checkpointer=threads)
        await ask(brain, script, "one")
        for number in range(LONG):
            await ask(brain, script, "long")
            if number + 1 == SHOWN:
                copy(file, "long", ["shown"])
        copy(file, "one", [f"copy-{number}" for number in range(MANY)])
        print("| what | seconds | the event loop's longest wait |\n|---|---|---|")
        for name, work in {
            f"list {FEW} threads": lambda: listed(threads, FEW),
            f"list {MANY} threads": lambda: listed(threads, MANY),
            f"show a thread of {SHOWN} questions": lambda: saved_runs(threads, "shown"),
        }.items():
            pairs = [await watched(work) for _ in range(TIMES // 3)]
            seconds, longest = map(min, zip(*pairs, strict=True))
            print(f"| {name} | {seconds:.3f} | {longest * 1e3:.0f} ms |")
        new, late = [], []
        for number in range(TIMES):  # in turns, so that both meet the same machine
            new.append(await ask(brain, script, f"new-{number}"))
            late.append(await ask(brain, script, "long"))
    print(f"| a question in a new thread (CPU) | {min(new):.3f} | |")
    print(f"| a question in a thread of {LONG} (CPU) | {min(late):.3f} | |")
    print(f"\nratio {min(late) / min(new):.2f} (at most {LIMIT})")


async def ask(brain: Brain, script: Script, thread: str) -> float:
    """Return the CPU seconds of one question, including the check before it.

    SQLite works in this process, so its time is included; other processes' time is not.
    """
    script.requests.clear()
    started = time.process_time()
    await free(brain, thread, "resume")
    question = {"question": "Why is the subject what it is?"}
    context = {"model": "scripted:model", "use_memory": False, "effort": "high"}
    await brain.ainvoke(question, config_of(thread), context=context, durability="sync")
    return time.process_time() - started


async def listed(threads: Threads, limit: int) -> None:
    """List the threads as `threads list` does."""
    ids = (await threads.ids())[:limit]
    assert len(await count_runs(threads, ids)) == limit
    for thread in ids:
        await history.summary(threads, thread)


def copy(file: Path, thread: str, names: list[str]) -> None:
    """Copy a thread under other names."""
    with closing(sqlite3.connect(file)) as connection:
        for table in ("checkpoints", "writes"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")][1:]
            rest = ", ".join(columns)
            for name in names:
                connection.execute(
                    f"INSERT INTO {table} (thread_id, {rest}) "
                    f"SELECT ?, {rest} FROM {table} WHERE thread_id = ?",
                    [name, thread],
                )
        connection.commit()


async def watched(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Return the seconds of the work, and the event loop's longest wait meanwhile."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            longest = max(longest, time.perf_counter() - before - TICK_SECONDS)

    gc.collect()
    gc.freeze()  # a collection of all that the benchmark has made is not what is measured
    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0)
    started = time.perf_counter()
    await work()
    seconds = time.perf_counter() - started
    ticker.cancel()
    return seconds, longest
