"""The background event loop on which every model call of the process runs.

HTTP clients and rate limits belong to one loop, but callers come from many: each `asyncio.run`,
each notebook, each server worker, each thread of a synchronous `invoke`. With a loop of our own,
all of them share connections, and nothing is used after its loop was closed. Context variables and
cancellation are carried over.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")

THREAD = "swarm-brain-io"
_lock = threading.Lock()
_running: tuple[int, asyncio.AbstractEventLoop] | None = None


def background_loop() -> asyncio.AbstractEventLoop:
    """Return this process's loop, started on first use (again in a forked child)."""
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name=THREAD, daemon=True).start()
            _running = (os.getpid(), loop)
        return _running[1]


async def on_background(work: Coroutine[object, object, T]) -> T:
    """Await `work` on the background loop, from any loop."""
    loop = background_loop()
    if asyncio.get_running_loop() is loop:
        return await work
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


def wait_for(work: Coroutine[object, object, T]) -> T:
    """Run `work` on the background loop and block this thread until it is done.

    Raises RuntimeError on that loop itself, because it would wait for itself forever.
    """
    if threading.current_thread().name == THREAD:
        work.close()
        raise RuntimeError("blocking call inside a model call: await ainvoke or athink instead")
    future = asyncio.run_coroutine_threadsafe(work, background_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()  # a KeyboardInterrupt here must not leave calls running
        raise
