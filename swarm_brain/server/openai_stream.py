"""A run as the pieces of a streamed chat completion.

The answer's words go out as they are generated and cannot be taken back. Where the run withdraws
them after all (a broken stream is retried, the answering expert fails at its end), what follows is
sent if it continues what was said; else the stream ends with an error that says so.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from swarm_brain.calls.client import writable
from swarm_brain.runs.stream import Event
from swarm_brain.server.openai_completion import (
    answering,
    check,
    ending,
    first_stop,
    formed,
    frame,
    progress,
    told,
    usage,
)
from swarm_brain.server.openai_schema import ChatRequest, buffered
from swarm_brain.server.problems import Problem

THINKING = re.compile(r"\s*<think>(.*?)(</think>|\Z)\s*", re.S)
_MAYBE, _END = "<think>", "</think>"
# Models whose chat template opens the thought, so that a reply has its end alone. Nobody can tell
# the first time, when the stream ends as withdrawn; from then on it waits for that end.
_begin_in_thought: set[str] = set()
_FIRST_HALF = re.compile("[\ud800-\udbff]\\Z")  # of a character whose other half is to come


@dataclass
class Answer:
    """What has been generated of the answer, and what of it was sent.

    One that is to be JSON (`formed`) waits for its end if it begins as anything else: the JSON is
    then taken out of what stands around it.
    """

    stops: tuple[str, ...]
    formed: bool = False
    in_thought: bool = False
    raw: str = ""
    sent: str = ""
    void: bool = False

    def take(self, text: str) -> str:
        """The words that may go out now that these have come."""
        self.raw += text
        return "" if self.void else self._send(self._safe())

    def _safe(self) -> str:
        """What surely belongs to the answer: no thoughts, no blanks that may be its end, nothing
        that may be the beginning of a word that ends it."""
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
        """Whether the end of a thought came whose beginning did not."""
        return _END in self.raw and not self.raw.lstrip().startswith(_MAYBE)

    def _send(self, text: str) -> str:
        new = text[len(self.sent) :]
        self.sent = max(self.sent, text, key=len)
        return writable(new)

    def end(self, final: str) -> str:
        """The rest of the answer. Raises Problem if it is another than what was sent."""
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
    """How much of the end of the text may be the beginning of a stop."""
    most = min(len(text), len(stop) - 1)
    return next((n for n in range(most, 0, -1) if text.endswith(stop[:n])), 0)


@dataclass
class Writer:
    """The pieces of one completion."""

    request: ChatRequest
    started: Event
    topology: str
    answering: str = ""
    model: str = ""
    answer: Answer = field(init=False)

    def __post_init__(self) -> None:
        self.answer = Answer(self.request.stops, formed(self.request))

    async def chunks(self, events: AsyncIterator[Event]) -> AsyncIterator[dict[str, Any]]:
        """All pieces, in order. Raises Problem where there is no answer."""
        yield self._piece({"role": "assistant", "content": ""})
        async for event in events:
            if event["event"] == "finished":
                for piece in self._last(event):
                    yield piece
            elif delta := self._delta(event):
                yield self._piece(delta)

    def _delta(self, event: Event) -> dict[str, str]:
        """What an event adds to the message."""
        if event["event"] == "woken" and event["expert"] == self.answering:
            self.model = event["model"]
            self.answer.in_thought = self.model in _begin_in_thought
        match event["event"]:
            case "begun":
                self.answering = answering(self.topology, event)
            case "token" if event["expert"] == self.answering and not buffered(self.request):
                return _some("content", self.answer.take(event["text"]))
            case "revised" if event["expert"] == self.answering:
                self.answer.void = True
            case "woken" | "said" if self._reasoning:
                return _some("reasoning_content", progress(event, self.answering))
        return {}

    @property
    def _reasoning(self) -> bool:
        wanted = self.request.swarm and self.request.swarm.reasoning
        return wanted is not False

    def _last(self, finished: Event) -> list[dict[str, Any]]:
        check(self.request, finished)
        if self.answer.began_in_thought:
            _begin_in_thought.add(self.model)
        text, why = ending(self.request, finished)
        rest = self.answer.end(text)
        end = self._piece({}, why) | {"swarm": told(self.started, finished)}
        pieces = [*([self._piece({"content": rest})] if rest else []), end]
        options = self.request.stream_options
        if options is None or not options.include_usage:
            end["usage"] = usage(finished)
            return pieces
        return [*pieces, {**self._piece({}), "choices": [], "usage": usage(finished)}]

    def _piece(self, delta: dict[str, str], why: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": why, "logprobs": None}
        return {**frame(self.request, self.started, "chat.completion.chunk"), "choices": [choice]}


def _some(name: str, text: str) -> dict[str, str]:
    return {name: text} if text else {}
