"""The question and the messages before it.

The last HEARD messages are shown to the experts word for word, and earlier ones as a digest. The
state of a thread keeps its last KEPT messages. A message that leaves the state leaves a line in
the digest. If long-term memory is used, it leaves an episode there too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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

HEARD = 8  # messages before the question that are shown word for word
KEPT = 12  # messages that stay in the state
DIGEST_CHARS = 2_000
QUESTION_CHARS, ANSWER_CHARS = 120, 160
LEFT_OUT = "({} earlier lines are left out)"
_LEFT_OUT = re.compile(r"\A\((\d+) earlier lines are left out\)\n?")
_SENTENCE = re.compile(r"(?<=[.!?])\s")


@dataclass(frozen=True)
class Conversation:
    """The part of its thread that a run reads. `removed` messages leave the state."""

    question: str
    instructions: str
    messages: list[EarlierMessage]
    digest: str
    dropped: str
    removed: list[RemoveMessage]

    @property
    def text(self) -> str:
        """The longest text that a prompt may contain of it."""
        messages = (message["text"] for message in self.messages)
        return "\n".join([self.instructions, self.digest, *messages, self.question])


def read_conversation(state: BrainState) -> Conversation:
    """Return the conversation in a state. Raises BlankQuestion or NotText."""
    question, earlier = question_of(state)
    memory = state.get("memory")
    messages, digest, dropped = short_term(earlier, memory["dropped"] if memory else "")
    instructions = instructions_of(state)
    return Conversation(question, instructions, messages, digest, dropped, removals(earlier))


def question_of(state: BrainState) -> tuple[str, list[AnyMessage]]:
    """Return the question and the messages before it.

    `question` has precedence over the last human message. Raises BlankQuestion or NotText.
    """
    messages = list(state.get("messages") or [])
    question: object = state.get("question")
    if question is not None:
        if not isinstance(question, str):
            raise NotText(question)
        last = messages[-1:]
        if last and isinstance(last[0], HumanMessage) and last[0].text == question:
            messages.pop()
        return asked(question), messages
    for at in range(len(messages) - 1, -1, -1):
        if isinstance(messages[at], HumanMessage):
            return asked(_text(messages[at])), messages[:at]
    raise BlankQuestion


def instructions_of(state: BrainState) -> str:
    """Return the thread's system messages: how to answer every question."""
    system = [m for m in state.get("messages") or [] if isinstance(m, SystemMessage)]
    return "\n\n".join(asked(_text(message)) for message in system if _text(message).strip())


def asked(text: str) -> str:
    """Return a question without surrounding white space. Raises BlankQuestion."""
    if not text.strip():
        raise BlankQuestion
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates: what Python makes of undecodable bytes
        raise NotText(text) from None
    return text.strip()


def _text(message: BaseMessage) -> str:
    """Return a message's text. Raises NotText if it has only pictures or the like."""
    if message.content and not message.text.strip() and not isinstance(message.content, str):
        raise NotText(message.content)
    return message.text


def turns(messages: list[AnyMessage]) -> list[EarlierMessage]:
    """Return the messages of user and assistant that have text."""
    return [
        {"role": "user" if isinstance(message, HumanMessage) else "assistant", "text": message.text}
        for message in messages
        if isinstance(message, HumanMessage | AIMessage) and message.text.strip()
    ]


def short_term(earlier: list[AnyMessage], dropped: str) -> tuple[list[EarlierMessage], str, str]:
    """Return the messages to show, the digest of earlier ones, and the new digest.

    `dropped` is the digest of messages that left the state in earlier runs. The new one adds the
    messages that leave it now.
    """
    leaving = turns(earlier[: len(earlier) - KEPT]) if len(earlier) > KEPT else []
    all_turns = turns(earlier)
    shown = all_turns[-HEARD:]
    dropped_now = extended(dropped, leaving)
    digest = extended(dropped_now, all_turns[len(leaving) : len(all_turns) - len(shown)])
    return shown, digest, dropped_now


def removals(earlier: list[AnyMessage]) -> list[RemoveMessage]:
    """Return the removal of messages that leave the state, except system messages."""
    leaving = earlier[: len(earlier) - KEPT] if len(earlier) > KEPT else []
    return [
        RemoveMessage(id=message.id)
        for message in leaving
        if message.id and not isinstance(message, SystemMessage)
    ]


def extended(digest: str, messages: list[EarlierMessage]) -> str:
    """Return a digest with a line for each of these messages.

    The oldest lines are dropped if it gets too long, and counted in its first line.
    """
    if not messages:
        return digest
    match = _LEFT_OUT.match(digest)
    left_out = int(match[1]) if match else 0
    lines = digest[match.end() if match else 0 :].splitlines() + [_line(m) for m in messages]
    while sum(map(len, lines)) + len(lines) > DIGEST_CHARS:
        lines.pop(0)
        left_out += 1
    return "\n".join([*([LEFT_OUT.format(left_out)] if left_out else []), *lines])


def _line(message: EarlierMessage) -> str:
    """Return the start of a question, or an answer's verdict or first sentence."""
    text = message["text"]
    if message["role"] == "user":
        return f"user: {_cut(text, QUESTION_CHARS)}"
    text = read_verdict(text) or _SENTENCE.split(text.strip(), maxsplit=1)[0]
    return f"assistant: {_cut(text, ANSWER_CHARS)}"


def _cut(text: str, length: int) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= length else f"{plain[: length - 3].rstrip()}..."


def exchanged(state: BrainState, text: str) -> list[AnyMessage]:
    """Return the messages that a run adds: the answer, and a missing question.

    The messages have ids of the run, so a run that finishes again replaces its old answer.
    """
    messages, run = state.get("messages") or [], state["run_id"]
    answer = AIMessage(text, id=f"answer-{run}")
    before = [message for message in messages if message.id != answer.id]
    last = before[-1] if before else None
    if isinstance(last, HumanMessage) and last.text.strip() == state["query"]:
        return [answer]
    return [HumanMessage(state["query"], id=f"question-{run}"), answer]
