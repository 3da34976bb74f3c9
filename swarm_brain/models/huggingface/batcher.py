"""Run requests to a local model in batches, one at a time, on one thread.

The experts of one step ask within milliseconds of each other. Together they cost little more than
one of them, because each token reads the weights once for all. A request that arrives during a
batch waits for the next one.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from swarm_brain.graph.errors import ModelError
from swarm_brain.models.binding import JsonSchema, Sampling

THREAD = "swarm-brain-huggingface"
MAX_ROWS = 8
# A batch starts when no request has arrived for this long; siblings on a busy machine do.
QUIET_SECONDS, MOST_SECONDS = 0.02, 0.2
END_SECONDS = 5.0  # how long `close` waits for the running step
UNFINISHED_CHARACTER = "\ufffd"  # how a tokenizer decodes the first bytes of a character

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Piece:
    """A part of a reply; the last one has `finish`."""

    text: str
    output_tokens: int
    finish: Finish | None = None


@dataclass(eq=False)
class Request:
    """One prompt and its options; `deliver` is called from the batch's thread.

    `cancelled` may be set from any thread; the reply then ends with its next token.
    """

    prompt: Sequence[int]
    sampling: Sampling
    deliver: Callable[[Piece | Exception], None]
    stop: Sequence[str] = ()
    schema: JsonSchema | None = None
    cancelled: bool = False


class ReplyText:
    """Decodes a growing reply up to its first stop word."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode, self._stop = decode, [word for word in stop if word]
        self._ids: list[int] = []
        # Each time decoding starts at the last piece, because a token's text depends on the tokens
        # before it. That piece is from `_from` to `_read`.
        self._from = self._read = 0
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """Return the text that this token completes; it may be empty."""
        self._ids.append(token)
        before, now = self._window()
        if len(now) <= len(before) or now.endswith(UNFINISHED_CHARACTER):
            return ""
        self._from, self._read = self._read, len(self._ids)
        return self._until_stop(now[len(before) :])

    def end(self) -> str:
        """Return the text held back, once no further token comes."""
        before, now = self._window()
        text = self._until_stop(now[len(before) :])
        held, self._held = self._held, ""
        return text + held

    def _window(self) -> tuple[str, str]:
        window = self._ids[self._from :]
        return self._decode(window[: self._read - self._from]), self._decode(window)

    def _until_stop(self, text: str) -> str:
        """Return text that cannot be part of a stop word, and hold the rest back."""
        if self.stopped:
            return ""
        text = self._held + text
        stops = [at for word in self._stop if (at := text.find(word)) >= 0]
        if stops:
            self.stopped, self._held = True, ""
            return text[: min(stops)]
        held = max((_overlap(text, word) for word in self._stop), default=0)
        cut = len(text) - held
        self._held = text[cut:]
        return text[:cut]


def _overlap(text: str, word: str) -> int:
    """Return how many characters at the end of `text` begin `word`."""
    sizes = range(min(len(text), len(word) - 1), 0, -1)
    return next((size for size in sizes if word.startswith(text[-size:])), 0)


@dataclass(eq=False)
class Generation:
    """One reply of a running batch. Tokens in `ends` end it and are not shown."""

    request: Request
    text: ReplyText
    ends: frozenset[int]
    drawn: int = 0
    finish: Finish | None = None

    @property
    def done(self) -> bool:
        """Whether further tokens are ignored."""
        return self.finish is not None or self.request.cancelled

    def take(self, token: int, complete: bool = False) -> None:
        """Take the next token and deliver its text; `complete` makes it the last."""
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
    """Gathers requests for a moment and passes up to `max_rows` of them to `run`.

    `run` blocks until every reply has ended. What it raises is delivered to each request.
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
        """Queue a request for the next batch; return at once."""
        self._waiting.put(request)

    def close(self) -> None:
        """Stop the thread; running requests end with the current step."""
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
        """Wait for a request, then briefly for more."""
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
            message = " ".join(str(error).split())[:300]
            failed = ModelError("server", f"{type(error).__name__} while generating: {message}")
            for request in rows:
                request.deliver(failed)
