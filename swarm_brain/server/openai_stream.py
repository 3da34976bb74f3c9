"""Turn a run into the chunks of a streamed chat completion.

The answer's words are sent as they are generated and cannot be taken back. The run may still
withdraw them, if a broken stream is retried or the answering expert fails at its end. Then the new
text is sent if it continues the old one. Otherwise the stream ends with an error.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from swarm_brain.calls.client import writable
from swarm_brain.graph.events import Event, Finished, Started
from swarm_brain.server.openai_completion import (
    answering,
    check,
    ending,
    first_stop,
    formed,
    frame,
    progress,
    swarm,
    usage,
)
from swarm_brain.server.openai_schema import ChatRequest, buffered
from swarm_brain.server.problems import Problem
from swarm_brain.server.question import Question

THINKING = re.compile(r"\s*<think>(.*?)(</think>|\Z)\s*", re.S)
_MAYBE, _END = "<think>", "</think>"
# Models whose chat template opens the thought, so that a reply has only its end. The first reply
# cannot show that in time and its stream ends as withdrawn; later ones wait for that end.
_begin_in_thought: set[str] = set()
_FIRST_HALF = re.compile("[\ud800-\udbff]\\Z")  # of a character whose other half is to come


@dataclass
class Answer:
    """The generated answer so far, and the part of it that was sent.

    An answer that must be JSON (`formed`) but begins differently is held back until its end. Then
    the JSON is extracted from the text around it.
    """

    stops: tuple[str, ...]
    formed: bool = False
    in_thought: bool = False
    raw: str = ""
    sent: str = ""
    void: bool = False

    def take(self, text: str) -> str:
        """Add generated text; return the text that may be sent now."""
        self.raw += text
        return "" if self.void else self._send(self._safe())

    def _safe(self) -> str:
        """Return the text that certainly belongs to the answer.

        Thoughts are left out, and so are final blanks and the possible beginning of a stop
        sequence.
        """
        raw = self.raw
        if self.in_thought and not raw.lstrip().startswith(_MAYBE):
            raw = raw.partition(_END)[2]
        text = THINKING.sub("", raw, count=1) if THINKING.match(raw) else raw
        text = text.lstrip()
        if _MAYBE.startswith(text) or (self.formed and text[0] not in "{["):
            return ""
        if (at := first_stop(text, self.stops)) is not None:
            return text[:at].rstrip()
        held = max((_overlap(text, stop) for stop in self.stops), default=0)
        return _FIRST_HALF.sub("", text[: len(text) - held].rstrip())

    @property
    def began_in_thought(self) -> bool:
        """Whether the text has the end of a thought without its beginning."""
        return _END in self.raw and not self.raw.lstrip().startswith(_MAYBE)

    def _send(self, text: str) -> str:
        new = text[len(self.sent) :]
        self.sent = max(self.sent, text, key=len)
        return writable(new)

    def end(self, final: str) -> str:
        """Return the rest of the answer. Raises Problem if it contradicts what was sent."""
        if not final.startswith(writable(self.sent)):
            raise Problem(
                502,
                "The answer was withdrawn after a part of it had been sent. Ask without `stream`, "
                "or read the whole of it in the thread.",
                type="server_error",
                code="answer_withdrawn",
            )
        return final[len(writable(self.sent)) :]


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end may begin this stop sequence."""
    most = min(len(text), len(stop) - 1)
    return next((n for n in range(most, 0, -1) if text.endswith(stop[:n])), 0)


@dataclass
class Writer:
    """Write one run as the chunks of a chat completion."""

    request: ChatRequest
    question: Question
    started: Started
    author: str = ""  # the expert that writes the answer
    model: str = ""  # the author's
    answer: Answer = field(init=False)

    def __post_init__(self) -> None:
        self.answer = Answer(self.request.stops, formed(self.request))

    async def chunks(self, events: AsyncIterator[Event]) -> AsyncGenerator[dict[str, Any]]:
        """Yield all chunks, in order. Raises Problem if no model wrote an answer."""
        yield self._chunk({"role": "assistant", "content": ""})
        async for event in events:
            if event["event"] == "finished":
                for chunk in self._last(event):
                    yield chunk
            elif delta := self._delta(event):
                yield self._chunk(delta)

    def _delta(self, event: Event) -> dict[str, str]:
        """Return an event's addition to the message."""
        if event["event"] == "begun":
            self.author = answering(self.question.topology, event)
        elif event["event"] == "token":
            if event["expert"] == self.author and not buffered(self.request):
                return _some("content", self.answer.take(event["text"]))
        elif event["event"] == "revised":
            self.answer.void = self.answer.void or event["expert"] == self.author
        elif event["event"] == "woken" or event["event"] == "answered":
            if event["event"] == "woken" and event["expert"] == self.author:
                self.model = event["model"]
                self.answer.in_thought = self.model in _begin_in_thought
            if self._reasoning:
                return _some("reasoning_content", progress(event, self.author))
        return {}

    @property
    def _reasoning(self) -> bool:
        return not self.request.swarm or self.request.swarm.reasoning is not False

    def _last(self, finished: Finished) -> list[dict[str, Any]]:
        check(self.request, self.question, finished)
        if self.answer.began_in_thought:
            _begin_in_thought.add(self.model)
        text, reason = ending(self.request, finished)
        rest = self.answer.end(text)
        end = self._chunk({}, reason) | {"swarm": swarm(self.started, finished)}
        chunks = [*([self._chunk({"content": rest})] if rest else []), end]
        options = self.request.stream_options
        if options is None or not options.include_usage:
            end["usage"] = usage(finished)
            return chunks
        return [*chunks, {**self._chunk({}), "choices": [], "usage": usage(finished)}]

    def _chunk(self, delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return {**frame(self.request, self.started, "chat.completion.chunk"), "choices": [choice]}


def _some(name: str, text: str) -> dict[str, str]:
    return {name: text} if text else {}
