"""`make dev` itself: ready in seconds, and nothing leaves the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from langgraph_sdk import get_sync_client

from tests.integration.processes import (
    CANARY,
    REPO,
    free_port,
    healthy,
    plain_environment,
    process,
    until,
)
from tests.integration.studio.dev_server import GUARD, HARD, fresh_root

pytestmark = pytest.mark.slow

VENV = Path(sys.executable).parents[1]


@contextmanager
def make_dev(root: Path, **env: str) -> Iterator[tuple[str, Path, float]]:
    """`make dev` where look-ups are noted and refused: address, the notes, seconds until ready."""
    port, log = free_port(), root / "guard.log"
    # uvloop looks names up in C, past the guard: without it the server takes asyncio's loop.
    (root / "uvloop.py").write_text("raise ImportError('not in this test')\n")
    (root / ".env.example").symlink_to(REPO / ".env.example")
    environment = plain_environment(
        root,
        PYTHONPATH=os.pathsep.join([str(GUARD), str(root), str(REPO)]),
        GUARD_LOG=str(log),
        GUARD_PORTS=str(port),
        SWARM_BRAIN_MODEL="simulation:",
        **env,
    )
    command = ("make", "-f", REPO / "Makefile", "-o", "install", f"VENV={VENV}", "dev",
               f"DEV=--port {port} --no-reload")  # fmt: skip
    started = time.monotonic()
    with (
        (root / "server.log").open("w") as sink,
        process(*command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=sink,
                stderr=sink) as child,
    ):  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        until(lambda: healthy(f"{url}/ok"), 60, child)
        yield url, log, time.monotonic() - started


def answered(url: str) -> None:
    result = get_sync_client(url=url, api_key=None).runs.wait(
        None, "brain", input={"question": HARD}
    )
    assert result["provenance"] == "simulated"


def test_nothing_leaves_the_machine(tmp_path: Path):
    """Not even with LangSmith's key, for which the server would send traces and its usage."""
    with make_dev(fresh_root(tmp_path), LANGSMITH_API_KEY=CANARY) as (url, log, seconds):
        answered(url)
        time.sleep(2)  # what is sent in the background
    assert seconds < 30
    assert not log.exists(), log.read_text()
    assert CANARY not in (tmp_path / "server.log").read_text()


def test_tracing_is_on_where_it_is_asked_for(tmp_path: Path):
    """And the guard sees what such a server sends."""
    root = fresh_root(tmp_path)
    (root / ".env").write_text(f"LANGSMITH_API_KEY={CANARY}\nLANGSMITH_TRACING=true\n")
    with make_dev(root) as (url, log, _):
        answered(url)
        deadline = time.monotonic() + 15
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
    assert "look-up api.smith.langchain.com" in log.read_text()
