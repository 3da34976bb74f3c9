"""Measure recall and writing with up to 100,000 memories in a file."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langgraph.store.base import Op

from swarm_brain.memory import embeddings
from swarm_brain.memory.embeddings import Embedder
from swarm_brain.memory.episodes import putting, recall, remember
from swarm_brain.memory.space import Space
from swarm_brain.memory.store import SqlStore
from swarm_brain.memory.tables import in_file

SIZES = (1_000, 10_000, 100_000)
DIMS, TOPICS = 256, 400
QUESTIONS, SINGLE, PROCESSES = 200, 100, 3
PORTION = 2_000
SENTENCE = "The deck sheds vortices whose rhythm is near its own, and little damps them. "
ANSWER = SENTENCE * 16  # about 250 tokens
SPACE = Space()


def vectors(texts: Sequence[str]) -> Any:
    """Return unit vectors of wordllama's size, clustered around TOPICS centres."""
    rows = np.empty((len(texts), DIMS), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        number = int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)
        row[:] = np.random.default_rng(number).standard_normal(DIMS, dtype=np.float32)
        row += np.random.default_rng(number % TOPICS).standard_normal(DIMS, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def question(number: int) -> str:
    """Return a unique question without digits, which a rule would compare."""
    words = "".join(chr(ord("a") + int(digit)) for digit in str(number))
    return f"Why does the bridge called {words} sway in a strong wind from the harbour?"


def episode(number: int) -> dict[str, Any]:
    """Return a memory of usual size."""
    return {
        "question": question(number),
        "answer": ANSWER,
        "verdict": "resonance",
        "agreement": 1.0,
        "provenance": "full",
        "model": "openai-compatible:a-model",
        "thread": f"thread-{number}",
        "run_id": hashlib.md5(str(number).encode()).hexdigest(),
    }


def opened(path: str) -> SqlStore:
    """Open a store with an embedder that costs almost nothing."""
    embedder = Embedder(embeddings.DEFAULT, vectors, embeddings.FLOOR)
    embeddings.chosen = lambda: embedder
    return SqlStore(in_file(path), embedder)


async def fill(store: SqlStore, start: int, end: int) -> None:
    """Add memories in batches."""
    for at in range(start, end, PORTION):
        ops: list[Op] = []
        for number in range(at, min(at + PORTION, end)):
            ops += putting(SPACE, episode(number))
        await store.abatch(ops)


async def recall_times(store: SqlStore, size: int, count: int) -> list[float]:
    """Return the seconds of each recall; every second question was asked before."""
    times = []
    for n in range(count):
        known = n % 2 == 0
        text = question((n * 7919) % size if known else 10**7 + n)
        started = time.perf_counter()
        recalled = await recall(store, SPACE, text, 5, None)
        times.append(time.perf_counter() - started)
        assert not recalled.note, recalled.note
        assert not known or recalled.items[0]["score"] > 0.999
    return times


async def write_times(store: SqlStore, start: int) -> list[float]:
    """Return the seconds of each single write."""
    times = []
    for number in range(start, start + SINGLE):
        started = time.perf_counter()
        problem = await remember(store, SPACE, episode(number))
        times.append(time.perf_counter() - started)
        assert problem is None, problem
    return times


def first(path: str, size: int, queue: Any) -> None:
    """Put the seconds of a process's first and second recall on the queue."""
    store = opened(path)
    queue.put(asyncio.run(recall_times(store, size, 2)))


def cold(path: Path, size: int) -> tuple[float, float]:
    """Return the medians of the first and the second recall in new processes."""
    spawn = multiprocessing.get_context("spawn")
    times = []
    for _ in range(PROCESSES):
        queue = spawn.Queue()
        process = spawn.Process(target=first, args=(str(path), size, queue))
        process.start()
        times.append(queue.get(timeout=120))
        process.join()
    return statistics.median(one for one, _ in times), statistics.median(two for _, two in times)


async def measure(path: Path) -> list[str]:
    """Return one table row for each size."""
    store, lines, there = opened(str(path)), [], 0
    for size in SIZES:
        await fill(store, there, size - SINGLE)
        written = await write_times(store, size - SINGLE)
        there = size
        await recall_times(store, size, 2)  # brings this process's index up to date
        recalled = await recall_times(store, size, QUESTIONS)
        new, _ = await asyncio.to_thread(cold, path, size)
        lines.append(
            f"| {size:,} | {milliseconds(statistics.median(recalled))} | "
            f"{milliseconds(max(recalled))} | {milliseconds(new)} | "
            f"{milliseconds(statistics.median(written))} | {milliseconds(max(written))} | "
            f"{path.stat().st_size / 1e6:.0f} MB |"
        )
    store.database.close()
    return lines


def milliseconds(seconds: float) -> str:
    """Format seconds as milliseconds for the table."""
    return f"{seconds * 1000:.1f} ms"


def main() -> None:
    """Print the table (target: 50 ms at the median for 100,000 memories, 2 cores)."""
    with tempfile.TemporaryDirectory() as folder:
        lines = asyncio.run(measure(Path(folder) / "memory.sqlite"))
    print(f"Vectors of {DIMS} dimensions; a median over {QUESTIONS} recalls and {SINGLE} writes.\n")
    print("| memories | recall | worst | first of a process | write | worst | file |")
    print("|---|---|---|---|---|---|---|")
    print(*lines, sep="\n")
