"""The questions of a batch: a JSONL file, indexed once, read line by line when its turn comes."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from langchain_core.messages import convert_to_messages

from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import BrainError
from swarm_brain.nodes.conversation import question_of

MOST_BYTES = 8_000_000  # of one line: far more than any model reads
TOLD = 5  # bad rows that are told before anything is sent
KEYS = {"question", "messages", "id", "settings", "metadata"}
# What a row of a batch cannot do: nobody is there to decide, and order would change the answers.
REFUSED = {
    "pause_before": "nobody is there to decide",
    "use_memory": "rows of a batch recall and remember nothing",
}


@dataclass(frozen=True)
class Row:
    """One line: its number from 1, what the graph is given, and what is wrong with it if it is."""

    line: int
    input: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    id: str | int | None = None
    metadata: Any = None
    problem: str | None = None

    @property
    def text(self) -> str:
        """All that is said in it, for an upper bound of its tokens."""
        messages = convert_to_messages(self.input.get("messages") or [])
        return "\n".join([self.input.get("question") or "", *(m.text for m in messages)])


@dataclass(frozen=True)
class Rows:
    """Where each row stands in the file. `bad` rows are counted, the first ones told."""

    file: BinaryIO
    check: Callable[[Mapping[str, Any]], object]
    offsets: array[int]
    lines: array[int]
    sha256: str
    bad: int
    problems: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.offsets)

    def at(self, number: int) -> Row:
        """A row by its place, from 0."""
        self.file.seek(self.offsets[number])
        return parsed(self.file.readline(MOST_BYTES + 1), self.lines[number], self.check)


def indexed(file: BinaryIO, common: Mapping[str, Any]) -> Rows:
    """Read a file through once: where its rows are, and which are bad.

    `common` are the settings of all rows, which a row's own replace one by one.
    """

    def check(own: Mapping[str, Any]) -> object:
        refused(own)
        return make_context({**common, **own})

    digest = hashlib.sha256()
    offsets, lines, problems, bad = array("Q"), array("Q"), [], 0
    for number, (offset, line) in enumerate(_lines(file, digest.update), 1):
        if not line.strip():
            continue
        offsets.append(offset)
        lines.append(number)
        if why := parsed(line, number, check).problem:
            bad += 1
            problems += [f"line {number}: {why}"] if bad <= TOLD else []
    return Rows(file, check, offsets, lines, digest.hexdigest(), bad, tuple(problems))


def _lines(file: BinaryIO, seen: Callable[[bytes], None]) -> Iterator[tuple[int, bytes]]:
    """Offset and text of each line; of one that is too long only the beginning."""
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


def refused(settings: Mapping[str, Any]) -> None:
    """Raise ValueError for a setting that no row of a batch can have."""
    for name in REFUSED.keys() & settings.keys():
        raise ValueError(f"settings: {name}: {REFUSED[name]}")


def parsed(line: bytes, number: int, check: Callable[[Mapping[str, Any]], object]) -> Row:
    """One line as a row; `problem` says what is wrong with it."""
    try:
        value = _value(line)
        row = Row(number, **_fields(value))
        question_of({**row.input, "messages": _messages(row.input)})  # type: ignore[typeddict-item]
        if row.settings:
            check(row.settings)
    except (BrainError, ValueError, TypeError, NotImplementedError) as error:
        return Row(number, problem=" ".join(str(error).split()))
    return row


def _value(line: bytes) -> Any:
    """The JSON of a line. Raises ValueError saying what is wrong, without the line's text."""
    if len(line) > MOST_BYTES:
        raise ValueError(f"longer than {MOST_BYTES:,} bytes")
    try:
        value = json.loads(line.decode("utf-8-sig"))
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    return value


def _fields(value: Any) -> dict[str, Any]:
    """The fields of a Row that the JSON of its line gives. Raises ValueError."""
    if isinstance(value, str):
        return {"input": {"question": value}}
    if not isinstance(value, dict):
        raise ValueError('not a question: write "..." or {"question": "..."} on each line')
    if unknown := sorted(value.keys() - KEYS):
        known = ", ".join(sorted(KEYS))
        raise ValueError(f"unknown keys {', '.join(unknown)}; known are {known}")
    if len(value.keys() & {"question", "messages"}) != 1:
        raise ValueError("write either question or messages")
    if isinstance(value.get("id"), bool) or not isinstance(value.get("id"), str | int | None):
        raise ValueError("id: a text or a whole number")
    if not isinstance(value.get("settings", {}), dict):
        raise ValueError("settings: an object of settings by their names")
    given = {name: value[name] for name in ("question", "messages") if name in value}
    return {
        "input": given,
        **{name: value[name] for name in ("id", "settings", "metadata") if name in value},
    }


def _messages(given: Mapping[str, Any]) -> list[Any]:
    """The chat of a row, as LangChain reads it. Raises ValueError or the like."""
    if "messages" not in given:
        return []
    if not isinstance(given["messages"], list):
        raise ValueError("messages: a list of messages")
    try:
        return convert_to_messages(given["messages"])
    except (KeyError, AttributeError) as error:  # of a message that lacks what its role needs
        raise ValueError(f"messages: one is no message ({error})") from None
