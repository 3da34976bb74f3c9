"""The questions of a batch: a JSONL file, indexed once and read line by line."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from langchain_core.messages import BaseMessage, convert_to_messages

from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import BrainError
from swarm_brain.graph.state import BrainState
from swarm_brain.nodes.conversation import question_of

MOST_BYTES = 8_000_000  # of one line: far more than any model reads
SHOWN = 5  # bad rows that are shown before anything is sent
KEYS = {"question", "messages", "id", "settings", "metadata"}
# Settings that no row can have: nobody is there to decide, and order would change the answers.
REFUSED = {
    "pause_before": "a batch has no person to decide",
    "use_memory": "a batch uses no memories",
}


@dataclass(frozen=True)
class Row:
    """One line: its number from 1, the graph's input, and any `problem` with it."""

    line: int
    input: dict[str, object] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    id: str | int | None = None
    metadata: object = None
    problem: str | None = None

    @property
    def text(self) -> str:
        """Return all text of the row, for an upper bound of its tokens."""
        question = self.input.get("question") or ""
        return "\n".join([str(question), *(message.text for message in _messages(self.input))])


@dataclass(frozen=True)
class Rows:
    """The offsets of the rows, and the number and first problems of bad ones."""

    file: BinaryIO
    check: Callable[[Mapping[str, object]], object]
    offsets: array[int]
    lines: array[int]
    sha256: str
    bad: int
    problems: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.offsets)

    def at(self, number: int) -> Row:
        """Return a row by its number, from 0."""
        self.file.seek(self.offsets[number])
        return parse(self.file.readline(MOST_BYTES + 1), self.lines[number], self.check)


def index(file: BinaryIO, common: Mapping[str, object]) -> Rows:
    """Read a file once to index its rows and their problems.

    `common` are the settings of all rows; a row's own settings override them one by one.
    """

    def check(own: Mapping[str, object]) -> object:
        check_settings(own)
        return make_context({**common, **own})

    digest = hashlib.sha256()
    offsets, lines, problems, bad = array("Q"), array("Q"), [], 0
    for number, (offset, line) in enumerate(_lines(file, digest.update), 1):
        if not line.strip():
            continue
        offsets.append(offset)
        lines.append(number)
        if why := parse(line, number, check).problem:
            bad += 1
            problems += [f"line {number}: {why}"] if bad <= SHOWN else []
    return Rows(file, check, offsets, lines, digest.hexdigest(), bad, tuple(problems))


def _lines(file: BinaryIO, seen: Callable[[bytes], None]) -> Iterator[tuple[int, bytes]]:
    """Yield offset and text of each line; of an overlong one only the beginning."""
    offset = 0
    while line := file.readline(MOST_BYTES + 1):
        seen(line)
        end, part = offset + len(line), line
        while len(part) > MOST_BYTES and not part.endswith(b"\n"):
            part = file.readline(MOST_BYTES + 1)
            seen(part)
            end += len(part)
        yield offset, line
        offset = end


def check_settings(settings: Mapping[str, object]) -> None:
    """Raise ValueError for a setting that a row does not support."""
    for name in REFUSED.keys() & settings.keys():
        raise ValueError(f"settings: {name}: {REFUSED[name]}")


def parse(line: bytes, number: int, check: Callable[[Mapping[str, object]], object]) -> Row:
    """Parse a line; `problem` describes any error in it."""
    try:
        value = _value(line)
        row = Row(number, **_fields(value))
        question_of(cast(BrainState, {**row.input, "messages": _messages(row.input)}))
        if row.settings:
            check(row.settings)
    except (BrainError, ValueError, TypeError, NotImplementedError) as error:
        return Row(number, problem=" ".join(str(error).split()))
    return row


def _value(line: bytes) -> object:
    """Return the JSON of a line. Raises ValueError without quoting the text."""
    if len(line) > MOST_BYTES:
        raise ValueError(f"longer than {MOST_BYTES:,} bytes")
    try:
        value: object = json.loads(line.decode("utf-8-sig"))
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except UnicodeEncodeError:
        raise ValueError("contains half a character (a lone surrogate)") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    return value


def _fields(value: object) -> dict[str, Any]:
    """Return the fields of a Row that a line's JSON sets. Raises ValueError."""
    if isinstance(value, str):
        return {"input": {"question": value}}
    if not isinstance(value, dict):
        raise ValueError('not a question: write "..." or {"question": "..."} on each line')
    if unknown := sorted(value.keys() - KEYS):
        known = ", ".join(sorted(KEYS))
        raise ValueError(f"unknown keys {', '.join(unknown)}; known: {known}")
    if len(value.keys() & {"question", "messages"}) != 1:
        raise ValueError("write either question or messages")
    if isinstance(value.get("id"), bool) or not isinstance(value.get("id"), str | int | None):
        raise ValueError("id: must be text or a whole number")
    if not isinstance(value.get("settings", {}), dict):
        raise ValueError("settings: must be an object of settings by name")
    return {
        "input": {name: value[name] for name in ("question", "messages") if name in value},
        **{name: value[name] for name in ("id", "settings", "metadata") if name in value},
    }


def _messages(fields: Mapping[str, object]) -> list[BaseMessage]:
    """Return a row's conversation. Raises ValueError, TypeError and others."""
    messages = fields.get("messages", [])
    if not isinstance(messages, list):
        raise ValueError("messages: must be a list of messages")
    try:
        return convert_to_messages(messages)
    except (KeyError, AttributeError) as error:  # a message lacks what its role needs
        raise ValueError(f"messages: one of them is not a message ({error})") from None
