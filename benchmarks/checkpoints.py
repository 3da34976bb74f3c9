"""Measure a thread's size on disk after many hard questions."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from rich.console import Console

from swarm_brain.cli.terminal.session import session
from swarm_brain.graph.loading import load
from swarm_brain.models import choose
from swarm_brain.threads.checkpoints import config_of
from tests.fakes import Script, bind_script

QUESTIONS, WORDS = 100, 520  # about 700 tokens
SHOWN = (1, 10, 25, 50, 100)
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Print the bytes after a number of questions, and how long the last one took."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SWARM_BRAIN_DATA_DIR"] = folder
        bind, script = choose.bind, talkative()
        choose.bind = lambda spec, base_url=None: bind_script(script, spec)
        try:
            asyncio.run(measure(script, Path(folder) / "threads.sqlite"))
        finally:
            choose.bind = bind
            del os.environ["SWARM_BRAIN_DATA_DIR"]


def talkative() -> Script:
    """Return a model whose replies are WORDS words of this project's prose."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))]
    vocabulary = " ".join(texts).split()
    draw = random.Random(1)
    script = Script()
    for name in set(script.says) - {"attention", "meta_cognitive"}:
        script.says[name] = lambda _: " ".join(draw.choices(vocabulary, k=WORDS))
    return script


async def measure(script: Script, file: Path) -> None:
    """Ask many questions in one thread and print a row now and then."""
    print("| questions | checkpoints and writes | the last one |\n|---|---|---|")
    async with session(Console(stderr=True)) as opened:
        brain = opened.brain(load())
        for number in range(1, QUESTIONS + 1):
            script.requests.clear()  # the fake model records every request
            question = {"question": f"Why is the subject number {number} what it is?"}
            started = time.perf_counter()
            await brain.ainvoke(
                question,
                config_of("t"),
                context={"effort": "high"},
                durability="sync",
            )
            seconds = time.perf_counter() - started
            if number in SHOWN:
                print(f"| {number} | {stored(file) / 1e3:,.0f} kB | {seconds:.2f} s |")


def stored(file: Path) -> int:
    """Return the bytes in all checkpoints and writes."""
    with closing(sqlite3.connect(file)) as connection:
        (size,) = connection.execute(
            "SELECT (SELECT SUM(LENGTH(checkpoint) + LENGTH(metadata)) FROM checkpoints)"
            " + (SELECT SUM(LENGTH(value)) FROM writes)"
        ).fetchone()
    return int(size)
