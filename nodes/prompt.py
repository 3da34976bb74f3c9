"""Build an expert's prompt. Pure, except for counting tokens.

A prompt is a system message with the expert's procedure and a user message of tagged parts. If it
does not fit the model's context, earlier messages are left out first, the oldest before the others;
then the signals heard, the least salient first; then drafts are cut at their ends, the longest
first. The question is never cut. The signal records what was left out.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from swarm_brain.graph.errors import ModelError
from swarm_brain.graph.kinds import Kind
from swarm_brain.graph.propagation import usable
from swarm_brain.graph.signal import Signal
from swarm_brain.graph.state import Recall
from swarm_brain.graph.topology import Expert, Topology
from swarm_brain.models.binding import Layout
from swarm_brain.nodes.turn import ExpertTurn

FORM = (
    "The answer is one JSON value that fits this JSON schema, and nothing else: no words around "
    "it, no line for a verdict or a dissent."
)
SHORTEST_DRAFT = 200  # characters; a shorter draft would say nothing
CUT = " [...]"
NEVER = math.inf
TURNS_RANK = 1.0  # parts of a lower rank are earlier messages
TURNS_LEFT_OUT = "earlier turns of the conversation left out to fit the model's context"
SIGNALS_CUT = "prompt trimmed to fit the model's context: signals left out or drafts cut"
SHARED = ("instructions", "earlier", "question", "heard")  # parts that experts of a step share
RECALLED_CHARS = 1_200  # of one memory
ATTRIBUTE_CHARS = 300  # of an attribute in a tag
_TAG = re.compile(r"<(?=\s*/?\s*[a-z_]+)", re.I)
_BREAKING = re.compile(r"[\"<>\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x1f\x7f]")  # except those that break a line
MESSAGE_OVERHEAD = 16  # tokens of a chat template around two messages, rounded up


@dataclass(frozen=True)
class Part:
    """A tagged part of a prompt; the lowest `rank` is left out first."""

    tag: str
    text: str
    rank: float = NEVER
    cuttable: bool = False

    def __str__(self) -> str:
        return f"<{self.tag}>\n{self.text}\n</{self.tag.split()[0]}>"


def drafts(topology: Topology, signals: Iterable[Signal]) -> list[Signal]:
    """Return the last usable draft of each proposer."""
    last = {
        signal["source"]: signal
        for signal in signals
        if topology.experts[signal["source"]].traits.drafts and usable(signal)
    }
    return list(last.values())


def answer(topology: Topology, signals: Iterable[Signal]) -> Signal | None:
    """Return the last usable answer of synthesis."""
    name = topology.synthesis.name
    return next((s for s in reversed(list(signals)) if s["source"] == name and usable(s)), None)


def heard(turn: ExpertTurn) -> list[Signal]:
    """Return the signals that this expert is shown as context, by step."""
    expert, workspace = turn.expert, turn.state["workspace"]
    entries = workspace["broadcasts"] if turn.context.use_global_workspace else []
    broadcast = {(entry["source"], entry["step"]) for entry in entries}
    return [
        signal
        for signal in turn.signals
        if usable(signal)
        and (signal["source"] in expert.hears or (signal["source"], signal["step"]) in broadcast)
        and signal["source"] != expert.name
        and turn.topology.experts[signal["source"]].kind not in expert.traits.apart
    ]


def parts(turn: ExpertTurn) -> list[Part]:
    """Return all parts of the user message, in order."""
    return [
        *_instructions(turn),
        *_conversation(turn),
        Part("question", turn.state["query"]),
        *_own_parts(turn, BEFORE_HEARD),
        *(
            Part(_heard_from(turn, signal), signal["content"], 1 + signal["salience"])
            for signal in heard(turn)
        ),
        *_own_parts(turn, AFTER_HEARD),
        *_form(turn),
    ]


def _instructions(turn: ExpertTurn) -> list[Part]:
    """Return the caller's system messages as a part."""
    text = turn.state.get("instructions", "")
    return [Part("instructions", text)] if text and turn.expert.traits.instructions else []


def _form(turn: ExpertTurn) -> list[Part]:
    """Return the JSON schema of the answer as a part for its author."""
    if turn.context.answer_schema is None or not turn.answers:
        return []
    schema = json.dumps(turn.context.answer_schema, ensure_ascii=False)
    return [Part("form", f"{FORM}\n{schema}")]


def _heard_from(turn: ExpertTurn, signal: Signal) -> str:
    """Return the tag of a signal; a memory expert's tag states the origin."""
    tag = f'heard from="{signal["source"]}"'
    if not turn.topology.experts[signal["source"]].traits.recalls:
        return tag
    recalled = turn.state["memory"]["recalled"]
    known = "recalled, and the model's own knowledge" if recalled else "the model's own knowledge"
    return f'{tag} origin="{known}"'


def _conversation(turn: ExpertTurn) -> list[Part]:
    if not turn.expert.traits.conversation:
        return []
    turns, digest = turn.state["memory"]["turns"], turn.state["memory"]["digest"]
    before = [Part('earlier kind="digest"', digest, rank=-1)] if digest else []
    return before + [
        Part(f'earlier by="{message["role"]}"', message["text"], rank=at / (len(turns) + 1))
        for at, message in enumerate(turns)
    ]


def _own_parts(turn: ExpertTurn, parts: KindParts) -> list[Part]:
    """Return the parts that only experts of this kind see."""
    own = parts.get(turn.expert.kind)
    return own(turn) if own else []


def _gated_experts(turn: ExpertTurn) -> list[Part]:
    listed = "\n".join(f"{other.name}: {other.role}" for other in turn.topology.gated)
    return [Part("experts", listed)]


def _memories(turn: ExpertTurn) -> list[Part]:
    return recalled(turn.state["memory"]["recalled"])


def recalled(items: Iterable[Recall]) -> list[Part]:
    """Return memories in the form that a memory expert is shown."""
    return [
        Part(
            f'recalled from="{_plain(item["origin"])}" date="{_plain(item["date"])}"',
            quoted(item["text"]),
            rank=1 + item["score"],
        )
        for item in items
    ]


def quoted(text: str) -> str:
    """Quote untrusted text: a bar starts each line, and no tag can close ours."""
    cut = text if len(text) <= RECALLED_CHARS else text[:RECALLED_CHARS] + CUT
    plain = _CONTROL.sub("\ufffd", _TAG.sub("‹", cut))
    return "\n".join(f"| {line}" for line in plain.splitlines())


def _plain(text: str) -> str:
    """Return text that can stand inside a tag."""
    return _BREAKING.sub(" ", text)[:ATTRIBUTE_CHARS]


def _drafts(turn: ExpertTurn) -> list[Part]:
    """Return every usable draft, whole and anonymous, in an order set by the seed."""
    texts = [signal["content"] for signal in drafts(turn.topology, turn.signals)]
    random.Random(turn.state["seed"]).shuffle(texts)  # noqa: S311
    shown = [
        Part(f'draft name="{chr(ord("A") + at % 26)}"', text, cuttable=True)
        for at, text in enumerate(texts)
    ]
    return [*shown, *_earlier_answer(turn)]


def _earlier_answer(turn: ExpertTurn) -> list[Part]:
    """Return the answer and its defects, for a revision."""
    current = answer(turn.topology, turn.signals)
    if current is None:
        return []
    defects = [defect for signal in turn.signals for defect in signal["defects"]]
    listed = "\n".join(f'- "{defect["quote"]}": {defect["problem"]}' for defect in defects)
    return [Part("earlier_answer", current["content"], cuttable=True), Part("defects", listed)]


def _answer(turn: ExpertTurn) -> list[Part]:
    current = answer(turn.topology, turn.signals)
    return [Part("answer", current["content"], cuttable=True)] if current else []


KindParts = Mapping[Kind, Callable[[ExpertTurn], list[Part]]]
BEFORE_HEARD: KindParts = {"gate": _gated_experts, "memory": _memories}
AFTER_HEARD: KindParts = {"synthesis": _drafts, "critic": _answer}


def messages(
    expert: Expert,
    shown: Sequence[Part],
    layout: Layout = "role_first",
    edited: str | None = None,
) -> list[BaseMessage]:
    """Return the two messages of a call.

    `role_first`: the expert's procedure, then the parts. `shared_first`: the parts that experts
    share, then this expert's own parts and its procedure. `edited` text replaces all parts.
    """
    if layout == "role_first":
        return [SystemMessage(expert.prompt), HumanMessage(edited or joined(shown))]
    if edited:
        return [SystemMessage(edited), HumanMessage(expert.prompt)]
    common = [part for part in shown if part.tag.split()[0] in SHARED]
    own = [part for part in shown if part not in common]
    return [
        SystemMessage(joined(common)),
        HumanMessage(f"{joined(own)}\n\n{expert.prompt}".strip()),
    ]


def joined(shown: Sequence[Part]) -> str:
    """Return all parts as one text."""
    return "\n\n".join(str(part) for part in shown)


def fit(
    expert: Expert,
    shown: Sequence[Part],
    room: Callable[[], int | None],
    count: Callable[[str], int],
) -> tuple[list[Part], str | None]:
    """Return the parts that fit into `room()` tokens, and a note on what was cut.

    A text has at most as many tokens as bytes, so most prompts need neither `count` nor `room`.
    Raises ModelError if the parts that cannot be cut are too long.
    """
    fitted = list(shown)
    trimmed: str | None = None
    while _too_long(expert, fitted, room, count):
        lowest = min(fitted, key=lambda part: part.rank)
        trimmed = TURNS_LEFT_OUT if lowest.rank < TURNS_RANK else SIGNALS_CUT
        if lowest.rank < NEVER:
            fitted.remove(lowest)
            continue
        longest = max(fitted, key=lambda part: len(part.text) if part.cuttable else 0)
        if not longest.cuttable or len(longest.text) <= SHORTEST_DRAFT:
            raise ModelError("context_overflow", f"the prompt of {expert.name} does not fit")
        shortened = longest.text.removesuffix(CUT)[: len(longest.text) * 3 // 4] + CUT
        fitted[fitted.index(longest)] = replace(longest, text=shortened)
    return fitted, trimmed


SURELY_FITS = 2_000  # bytes; the context of every model in use has at least 2,000 tokens


def _too_long(
    expert: Expert,
    shown: Sequence[Part],
    room: Callable[[], int | None],
    count: Callable[[str], int],
) -> bool:
    text = "\n".join(message.text for message in messages(expert, shown))
    size = len(text.encode()) + MESSAGE_OVERHEAD
    if size <= SURELY_FITS:
        return False
    limit = room()
    return limit is not None and size > limit and count(text) + MESSAGE_OVERHEAD > limit
