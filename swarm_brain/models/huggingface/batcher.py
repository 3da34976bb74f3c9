"""Requests to a local model run in batches: one thread, one batch at a time. Knows no vendor.

The experts of one wave ask within milliseconds of each other. Together they cost a processor little
more than one of them, because each step reads the weights once for all. A request that comes while
a batch runs waits for the next one.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from swarm_brain.graph.errors import ModelError
from swarm_brain.models.binding import Sampling

THREAD = "swarm-brain-huggingface"
MAX_ROWS = 8
# A batch begins when nothing new has come for this long; siblings on a busy machine come within it.
QUIET_SECONDS, MOST_SECONDS = 0.02, 0.2
END_SECONDS = 5.0  # how long `close` waits for the step under way
UNFINISHED_CHARACTER = "\ufffd"  # what a tokenizer makes of the first bytes of a character

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Piece:
    """A bit of a reply. The last one has `finish`; `output_tokens` counts from the beginning."""

    text: str
    output_tokens: int
    finish: Finish | None = None


@dataclass(eq=False)
class Request:
    """One prompt and how to answer it; `deliver` is called from the batch's thread.

    `cancelled` may be set from any thread: the sequence ends with its next token.
    """

    prompt: Sequence[int]
    sampling: Sampling
    deliver: Callable[[Piece | Exception], None]
    stop: Sequence[str] = ()
    schema: Mapping[str, Any] | None = None
    cancelled: bool = False


class Text:
    """A reply as it grows: token by token in, whole characters out, up to the first stop word."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode, self._stop = decode, [word for word in stop if word]
        self._ids: list[int] = []
        # Decoded anew each time from the last piece on: what a token reads like depends on those
        # before it. `_from` begins that piece, `_read` ends it.
        self._from = self._read = 0
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that this token completes; may be empty."""
        self._ids.append(token)
        before, now = self._window()
        if len(now) <= len(before) or now.endswith(UNFINISHED_CHARACTER):
            return ""
        self._from, self._read = self._read, len(self._ids)
        return self._until_stop(now[len(before) :])

    def end(self) -> str:
        """What was held back, once no further token comes."""
        before, now = self._window()
        text = self._until_stop(now[len(before) :])
        held, self._held = self._held, ""
        return text + held

    def _window(self) -> tuple[str, str]:
        window = self._ids[self._from :]
        return self._decode(window[: self._read - self._from]), self._decode(window)

    def _until_stop(self, text: str) -> str:
        """Text that cannot be part of a stop word; the rest is held until it is known."""
        if self.stopped:
            return ""
        text = self._held + text
        found = [at for word in self._stop if (at := text.find(word)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        held = max((_overlap(text, word) for word in self._stop), default=0)
        cut = len(text) - held
        self._held = text[cut:]
        return text[:cut]


def _overlap(text: str, word: str) -> int:
    """How many characters at the end of `text` begin `word`."""
    sizes = range(min(len(text), len(word) - 1), 0, -1)
    return next((size for size in sizes if word.startswith(text[-size:])), 0)


@dataclass(eq=False)
class Row:
    """One sequence of a running batch, with its own limits."""

    request: Request
    text: Text
    ends: frozenset[int]
    """Tokens that end a reply; none of them is shown."""
    drawn: int = 0
    finish: Finish | None = None

    @property
    def done(self) -> bool:
        """Whether no token of this sequence matters any more."""
        return self.finish is not None or self.request.cancelled

    def take(self, token: int, complete: bool = False) -> None:
        """Take the next token and pass on its text; `complete` ends the reply with this token."""
        self.drawn += 1
        text = "" if token in self.ends else self.text.add(token)
        if token in self.ends or complete or self.text.stopped:
            self.finish = "stop"
        elif self.drawn >= self.request.sampling.max_tokens:
            self.finish = "length"
        if self.finish:
            text += self.text.end()
        if text or self.finish:
            self.request.deliver(Piece(text, self.drawn, self.finish))


@dataclass(eq=False)
class Batcher:
    """Gathers requests for a moment and gives them to `run`, at most `max_rows` at once.

    `run` blocks until every reply has ended. What it raises goes to each of its requests.
    """

    run: Callable[[list[Request]], None]
    max_rows: int = MAX_ROWS
    _waiting: queue.Queue[Request | None] = field(default_factory=queue.Queue)
    _running: list[Request] = field(default_factory=list)
    _closed: bool = False

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._serve, name=THREAD, daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Have a request answered in the next batch; returns at once."""
        self._waiting.put(request)

    def close(self) -> None:
        """End the thread; requests under way end with the step they are in."""
        self._closed = True
        for request in self._running:
            request.cancelled = True
        self._waiting.put(None)
        self._thread.join(END_SECONDS)

    def _serve(self) -> None:
        while not self._closed:
            self._running = [request for request in self._gather() if not request.cancelled]
            if self._running and not self._closed:
                self._answer(self._running)

    def _gather(self) -> list[Request]:
        """Wait for a request, then for those that come right after it."""
        rows = [self._waiting.get()]
        deadline = time.monotonic() + MOST_SECONDS
        while len(rows) < self.max_rows and rows[-1] is not None:
            try:
                left = max(0.0, deadline - time.monotonic())
                rows.append(self._waiting.get(timeout=min(QUIET_SECONDS, left)))
            except queue.Empty:
                break
        return [row for row in rows if row is not None]

    def _answer(self, rows: list[Request]) -> None:
        try:
            self.run(rows)
        except Exception as error:  # noqa: BLE001  the thread must outlive any batch
            said = " ".join(str(error).split())[:300]
            failed = ModelError("server", f"{type(error).__name__} while generating: {said}")
            for request in rows:
                request.deliver(failed)
