"""A user of the command line: a folder of their own, and the scripted endpoint asked from it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes import DEFAULTS, Endpoint, Script
from tests.integration.commands import COMMAND, Finished, run_alone, run_here
from tests.integration.processes import plain_environment, process, until

HARD = "Why is the subject what it is?"
EIGHT = ["perception", "attention", "memory", "reasoning", "creative", "analytical", "synthesis",
         "meta_cognitive"]  # fmt: skip
LONG = 30.0  # seconds that the slow expert's reply takes until it is released


class Slow:
    """Lets one expert's replies wait until they are released."""

    def __init__(self, script: Script) -> None:
        self.script, self.held, self.seconds = script, "", LONG
        for name in EIGHT:
            script.says[name] = self._says(name)

    def _says(self, name: str) -> Any:
        def say(_: dict[str, Any]) -> Any:
            end = time.monotonic() + self.seconds
            while self.held == name and time.monotonic() < end:
                time.sleep(0.02)
            return DEFAULTS[name]

        return say


@dataclass
class User:
    """A user's folder, and the endpoint that is asked from there."""

    folder: Path
    served: Endpoint
    slow: Slow

    @property
    def here(self) -> tuple[str, ...]:
        return ("--model", "openai-compatible:m", "--base-url", self.served.url)

    @property
    def environment(self) -> dict[str, str]:
        data = {"SWARM_BRAIN_DATA_DIR": str(self.folder / "data")}
        key = {"OPENAI_COMPATIBLE_API_KEY": "k"}
        return plain_environment(self.folder, **data, **key)

    def run(self, *words: str, stdin: str | bytes = b"", **more: str) -> Finished:
        """Run the command in this process, which saves the time to start one."""
        return run_here(*words, cwd=self.folder, env=self.environment | more, stdin=stdin)

    def alone(self, *words: str, stdin: str | bytes = b"", **more: str) -> Finished:
        """Run the command in a process of its own."""
        return run_alone(*words, cwd=self.folder, env=self.environment | more, stdin=stdin)

    def json(self, *words: str, **more: str) -> Any:
        done = self.run(*words, "--json", **more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def started(self, *words: str) -> Any:
        """Start the command; it goes on by itself until the block ends."""
        return process(COMMAND, *words, cwd=self.folder, env=self.environment,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    def written(self) -> int:
        """How many experts' signals have reached the checkpointer."""
        path = self.folder / "data" / "threads.sqlite"
        if not path.exists():
            return 0
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            try:
                sql = "SELECT COUNT(DISTINCT task_id) FROM writes WHERE channel = 'signals'"
                return int(connection.execute(sql).fetchone()[0])
            except sqlite3.OperationalError:
                return 0

    def asked(self) -> Counter[str]:
        return Counter(self.served.script.askers)

    def kill_in(self, expert: str, finished: set[str], *words: str) -> None:
        """Ask, and kill the process when all of `finished` are saved and `expert` is asked.

        `begin` writes an (empty) list of signals, too.
        """
        self.slow.held = expert
        with self.started("ask", HARD, *self.here, "--thread", "t", *words) as child:
            until(lambda: self.written() == len(finished) + 1 and self.asked()[expert] == 1,
                  60, child)  # fmt: skip
            os.kill(child.pid, signal.SIGKILL)
            child.wait(10)
        self.slow.held = ""
