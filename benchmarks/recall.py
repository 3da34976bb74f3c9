"""Recall from 100,000 memories in a file, and whether writing slows as they become more."""

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
ANSWER = SENTENCE * 16  # some 250 tokens
SPACE = Space()


def vectors(texts: Sequence[str]) -> Any:
    """Unit vectors of wordllama's size around TOPICS centres: many near ones, as in real life."""
    rows = np.empty((len(texts), DIMS), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        number = int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)
        row[:] = np.random.default_rng(number).standard_normal(DIMS, dtype=np.float32)
        row += np.random.default_rng(number % TOPICS).standard_normal(DIMS, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def question(number: int) -> str:
    """A question like no other, without a number that would set it apart by rule."""
    words = "".join(chr(ord("a") + int(digit)) for digit in str(number))
    return f"Why does the bridge called {words} sway in a strong wind from the harbour?"


def episode(number: int) -> dict[str, Any]:
    """A memory of usual size."""
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
    """The store with embeddings that cost next to nothing: those of a model come on top."""
    embedder = Embedder(embeddings.DEFAULT, vectors, embeddings.FLOOR)
    embeddings.chosen = lambda: embedder
    return SqlStore(in_file(path), embedder)


async def fill(store: SqlStore, start: int, end: int) -> None:
    """Memories up to so many, in portions."""
    for at in range(start, end, PORTION):
        ops: list[Op] = []
        for number in range(at, min(at + PORTION, end)):
            ops += putting(SPACE, episode(number))
        await store.abatch(ops)


async def recall_times(store: SqlStore, size: int, count: int) -> list[float]:
    """Seconds of each recall; every second question has been asked before."""
    taken = []
    for n in range(count):
        known = n % 2 == 0
        asked = question((n * 7919) % size if known else 10**7 + n)
        started = time.perf_counter()
        found = await recall(store, SPACE, asked, 5, None)
        taken.append(time.perf_counter() - started)
        assert not found.note, found.note
        assert not known or found.items[0]["score"] > 0.999
    return taken


async def write_times(store: SqlStore, start: int) -> list[float]:
    """Seconds of each single memory."""
    taken = []
    for number in range(start, start + SINGLE):
        started = time.perf_counter()
        problem = await remember(store, SPACE, episode(number))
        taken.append(time.perf_counter() - started)
        assert problem is None, problem
    return taken


def first(path: str, size: int, told: Any) -> None:
    """In a new process: seconds of its first recall, and of the second."""
    store = opened(path)
    told.put(asyncio.run(recall_times(store, size, 2)))


def cold(path: Path, size: int) -> tuple[float, float]:
    """Median of the first and of the second recall over some new processes."""
    spawn = multiprocessing.get_context("spawn")
    taken = []
    for _ in range(PROCESSES):
        told = spawn.Queue()
        process = spawn.Process(target=first, args=(str(path), size, told))
        process.start()
        taken.append(told.get(timeout=120))
        process.join()
    return statistics.median(one for one, _ in taken), statistics.median(two for _, two in taken)


async def measured(path: Path) -> list[str]:
    """One line for each size."""
    store, lines, there = opened(str(path)), [], 0
    for size in SIZES:
        await fill(store, there, size - SINGLE)
        written = await write_times(store, size - SINGLE)
        there = size
        await recall_times(store, size, 2)  # the index of this process is brought up to date
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
    """Seconds for a table."""
    return f"{seconds * 1000:.1f} ms"


def main() -> None:
    """Print the table. The target: 50 ms at the median for 100,000 memories on two cores."""
    with tempfile.TemporaryDirectory() as folder:
        lines = asyncio.run(measured(Path(folder) / "memory.sqlite"))
    print(f"Vectors of {DIMS} dimensions; a median over {QUESTIONS} recalls and {SINGLE} writes.\n")
    print("| memories | recall | worst | first of a process | write | worst | file |")
    print("|---|---|---|---|---|---|---|")
    print(*lines, sep="\n")
