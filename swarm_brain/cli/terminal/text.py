"""Text for a terminal, which models and endpoints must not control."""

from __future__ import annotations

import asyncio
import shlex
import threading
import unicodedata
from collections.abc import Callable
from typing import Any

ALLOWED = "\n\t"


def printable(text: str) -> str:
    """Return the text without control characters and escape sequences."""
    return "".join(c for c in text if c in ALLOWED or unicodedata.category(c) != "Cc")


def resuming(thread: str) -> str:
    """Return the command that finishes a thread's run, quoted for a shell."""
    option = "-- " if thread.startswith("-") else ""
    return f"swarm-brain threads resume {option}{shlex.quote(thread)}"


async def read_line(prompt: str) -> str:
    """Read a line without blocking the event loop. Raises EOFError at the end.

    A daemon thread reads it, which does not keep the process alive.
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
