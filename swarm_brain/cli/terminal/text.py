"""Text of others on a terminal: what a model or an endpoint said must not command it."""

from __future__ import annotations

import asyncio
import shlex
import threading
import unicodedata
from collections.abc import Callable
from typing import Any

KEPT = "\n\t"


def printable(text: str) -> str:
    """`text` without control characters, escape sequences' ESC among them."""
    return "".join(c for c in text if c in KEPT or unicodedata.category(c) != "Cc")


def resuming(thread: str) -> str:
    """The command that finishes a thread's run, as a shell takes it."""
    option = "-- " if thread.startswith("-") else ""
    return f"swarm-brain threads resume {option}{shlex.quote(thread)}"


async def read_line(prompt: str) -> str:
    """A line that the user types, while the event loop goes on. Raises EOFError at the end.

    In a daemon thread: one that waits for input must not keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        try:
            text = input(prompt)
        except (EOFError, OSError, RuntimeError, ValueError) as error:
            # RuntimeError: there is no standard input; ValueError: it is not text.
            ended = EOFError(str(error))
            loop.call_soon_threadsafe(_settle, line.set_exception, ended)
        else:
            loop.call_soon_threadsafe(_settle, line.set_result, text)

    def _settle(how: Callable[[Any], None], value: Any) -> None:
        if not line.done():
            how(value)

    threading.Thread(target=read, daemon=True).start()
    return await line
