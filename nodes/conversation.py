"""The question and the turns before it: what is heard word for word, what only as a digest.

A thread's state keeps its last KEPT messages. What falls out leaves a line in the digest, and is an
episode of the long-term memory where that is used; so a thread grows with its questions, no faster.
"""

from __future__ import annotations

import re
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
)

from swarm_brain.graph.errors import BlankQuestion, NotText
from swarm_brain.graph.state import BrainState, EarlierMessage
from swarm_brain.nodes.parse import read_verdict

HEARD = 8  # messages before the question that are heard word for word
KEPT = 12  # messages that stay in the state
DIGEST_CHARS = 2_000
QUESTION_CHARS, ANSWER_CHARS = 120, 160
LEFT_OUT = "({} earlier lines are left out)"
_LEFT_OUT = re.compile(r"\A\((\d+) earlier lines are left out\)\n?")
_SENTENCE = re.compile(r"(?<=[.!?])\s")


def question_of(state: BrainState) -> tuple[str, list[AnyMessage]]:
    """The question and the messages before it. `question` wins over the last human message."""
    messages = list(state.get("messages") or [])
    given: Any = state.get("question")
    if given is not None:
        if not isinstance(given, str):
            raise NotText(given)
        last = messages[-1:]
        if last and isinstance(last[0], HumanMessage) and last[0].text == given:
            messages.pop()
        return asked(given), messages
    for at in range(len(messages) - 1, -1, -1):
        if isinstance(messages[at], HumanMessage):
            return asked(_text(messages[at])), messages[:at]
    raise BlankQuestion


def instructions_of(state: BrainState) -> str:
    """What the system messages of this thread say: how to answer, whatever is asked."""
    told = [m for m in state.get("messages") or [] if isinstance(m, SystemMessage)]
    return "\n\n".join(asked(_text(message)) for message in told if _text(message).strip())


def asked(text: str) -> str:
    """A question without the blanks around it. Raises BlankQuestion or NotText."""
    if not text.strip():
        raise BlankQuestion
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates: what Python makes of undecodable bytes
        raise NotText(text) from None
    return text.strip()


def _text(message: BaseMessage) -> str:
    """A message's words. Raises NotText if it holds only pictures or the like."""
    if message.content and not message.text.strip() and not isinstance(message.content, str):
        raise NotText(message.content)
    return message.text


def turns(messages: list[AnyMessage]) -> list[EarlierMessage]:
    """All messages of user and assistant that have words."""
    return [
        {"role": "user" if isinstance(message, HumanMessage) else "assistant", "text": message.text}
        for message in messages
        if isinstance(message, HumanMessage | AIMessage) and message.text.strip()
    ]


def short_term(earlier: list[AnyMessage], dropped: str) -> tuple[list[EarlierMessage], str, str]:
    """What is heard word for word, the digest of all before, and that of what leaves the state.

    `dropped` is the digest of what has left the state in earlier runs.
    """
    said = turns(earlier)
    leaving = turns(earlier[: len(earlier) - KEPT]) if len(earlier) > KEPT else []
    told = said[-HEARD:]
    dropped_now = extended(dropped, leaving)
    digest = extended(dropped_now, said[len(leaving) : len(said) - len(told)])
    return told, digest, dropped_now


def leaving(earlier: list[AnyMessage]) -> list[RemoveMessage]:
    """The removal of the messages that leave the state. Instructions hold for the whole thread."""
    gone = earlier[: len(earlier) - KEPT] if len(earlier) > KEPT else []
    return [
        RemoveMessage(id=message.id)
        for message in gone
        if message.id and not isinstance(message, SystemMessage)
    ]


def extended(digest: str, said: list[EarlierMessage]) -> str:
    """A digest with a line for each further turn; the oldest lines fall away and are counted."""
    if not said:
        return digest
    found = _LEFT_OUT.match(digest)
    left_out = int(found[1]) if found else 0
    lines = digest[found.end() if found else 0 :].splitlines() + [_line(turn) for turn in said]
    while sum(map(len, lines)) + len(lines) > DIGEST_CHARS:
        lines.pop(0)
        left_out += 1
    return "\n".join([*([LEFT_OUT.format(left_out)] if left_out else []), *lines])


def _line(turn: EarlierMessage) -> str:
    """A question's beginning; an answer's verdict, else its first sentence."""
    if turn["role"] == "user":
        return f"user: {_cut(turn['text'], QUESTION_CHARS)}"
    text = read_verdict(turn["text"]) or _SENTENCE.split(turn["text"].strip(), maxsplit=1)[0]
    return f"assistant: {_cut(text, ANSWER_CHARS)}"


def _cut(text: str, most: int) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= most else f"{plain[: most - 3].rstrip()}..."


def exchanged(state: BrainState, text: str) -> list[AnyMessage]:
    """What this run adds to the thread: the question if it is not there yet, and the answer."""
    messages = state.get("messages") or []
    last = messages[-1] if messages else None
    there = isinstance(last, HumanMessage) and last.text.strip() == state["query"]
    return [*([] if there else [HumanMessage(state["query"])]), AIMessage(text)]
