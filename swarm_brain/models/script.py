"""The file behind `scripted:FILE`: replies, and the requests that get them.

A file is a list of entries in YAML or JSON. The first entry that fits a request answers it:

    - expert: attention
      reply: {creative: 0.9, analytical: 0.9}
    - match: harbour bridge
      error: rate_limit
      times: 1
    - match: /harbou?r/
      reply: [First reply., Every later reply.]
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter, OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from swarm_brain import strict_yaml
from swarm_brain.graph.errors import ConfigError, ModelError, ModelUnavailable

Failure = Literal[
    "auth",
    "not_found",
    "refused_request",
    "context_overflow",
    "rate_limit",
    "server",
    "timeout",
    "connection",
    "no_reply",
    "unavailable",
]
STATUS = {"auth": 401, "not_found": 404, "refused_request": 400, "rate_limit": 429, "server": 500}
RUNS = 1_000  # whose counts are remembered
SHOWN = 200  # characters of a prompt in an error


def _texts(value: object) -> object:
    """Return a reply, or a list of replies, as a tuple of texts; objects become JSON."""
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str | dict) for item in items):
        raise ValueError('write text (in quotes, if it is "42" or "yes"), an object or a list')
    try:
        return tuple(x if isinstance(x, str) else json.dumps(x, default=str) for x in items)
    except (TypeError, RecursionError):  # keys such as dates, which JSON does not have
        raise ValueError("write an object that JSON can express, with text as keys") from None


def _pattern(value: object) -> object:
    """Return a compiled pattern for `/regex/` or for literal text."""
    if not isinstance(value, str) or not value.strip("/"):
        raise ValueError("write text that the prompt contains, or /a regular expression/")
    regex = value[1:-1] if value[0] == value[-1] == "/" else re.escape(value)
    try:
        return re.compile(regex)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None


class ScriptEntry(BaseModel):
    """One entry of a script: the requests that it fits, and their replies."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    expert: str | None = None
    match: Annotated[re.Pattern[str] | None, BeforeValidator(_pattern)] = None
    reply: Annotated[tuple[str, ...] | None, BeforeValidator(_texts)] = None
    error: Failure | None = None
    retry_after: float | None = Field(None, ge=0)
    delay: float = Field(0.0, ge=0)
    times: int | None = Field(None, ge=1)
    input_tokens: int | None = Field(None, ge=1)
    output_tokens: int | None = Field(None, ge=0)

    def fits(self, expert: str, prompt: str) -> bool:
        """Return whether this entry is for this request."""
        named = self.expert is None or self.expert == expert
        return named and (self.match is None or self.match.search(prompt) is not None)


@dataclass(frozen=True)
class Script:
    """A parsed file. Each run has its own count of each entry's uses."""

    name: str
    digest: str
    entries: tuple[ScriptEntry, ...]
    _uses: OrderedDict[str | None, Counter[int]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, expert: str, prompt: str, run: str | None) -> tuple[ScriptEntry, int]:
        """Return the entry for a request, and this run's earlier uses of it.

        Raises ModelError, naming the prompt, if no entry is left for it.
        """
        with self._lock:
            uses = self._uses.setdefault(run, Counter())
            self._uses.move_to_end(run)
            if len(self._uses) > RUNS:
                self._uses.popitem(last=False)
            for number, entry in enumerate(self.entries):
                used = uses[number]
                if entry.fits(expert, prompt) and (entry.times is None or used < entry.times):
                    uses[number] += 1
                    return entry, used
        raise ModelError("refused_request", self._unmatched(expert, prompt))

    def _unmatched(self, expert: str, prompt: str) -> str:
        shown = " ".join(prompt.split())
        if len(shown) > SHOWN:
            shown = f"{shown[: SHOWN // 2]} ... {shown[-SHOWN // 2 :]}"
        return (
            f"{self.name} has no entry for this request. Add one with `expert: {expert}` or with "
            f"`match:` and words of the prompt: {shown!r}"
        )


def open_script(place: str) -> Script:
    """Return the script in a file, read again if the file has changed.

    Raises ModelUnavailable if it cannot be read, ConfigError if it is not a script.
    """
    path = Path(place).expanduser()
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelUnavailable(
            f"scripted: {place} cannot be read ({reason}).",
            "Write scripted:FILE with a YAML or JSON file of replies.",
        ) from None
    return _parse(place, content)


@lru_cache(maxsize=64)
def _parse(place: str, content: bytes) -> Script:
    data = _loads(place, content)
    if not isinstance(data, list) or not data:
        raise ConfigError(f"{place}: write a list of entries, such as `- reply: Hello.`")
    entries = tuple(_entry(place, number, item) for number, item in enumerate(data, 1))
    return Script(f"scripted:{place}", hashlib.sha256(content).hexdigest()[:8], entries)


def _loads(place: str, content: bytes) -> object:
    with suppress(ValueError, RecursionError):  # JSON may be indented by tabs, which YAML may not
        return json.loads(content, object_pairs_hook=_unique)
    try:
        return strict_yaml.read(content)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{place} is not YAML or JSON: {error.problem}{line}.") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{place} is not YAML or JSON: {reason}.") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object. With a key stated twice, leave the report to the YAML reader."""
    if len(read := dict(pairs)) < len(pairs):
        raise ValueError
    return read


def _entry(place: str, number: int, item: object) -> ScriptEntry:
    where = f"{place}, entry {number}"
    if not isinstance(item, dict):
        raise ConfigError(f"{where}: write a mapping, such as `reply: Hello.`")
    try:
        entry = ScriptEntry.model_validate(item)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_problem(error)}") from None
    if (entry.reply is None) == (entry.error is None):
        raise ConfigError(f"{where}: write either `reply` or `error`.")
    if entry.retry_after is not None and entry.error is None:
        raise ConfigError(f"{where}: `retry_after` needs `error`.")
    return entry


def _problem(error: ValidationError) -> str:
    """Describe the first problem without quoting the file."""
    problem = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in problem["loc"][:1])
    if problem["type"] == "extra_forbidden":
        return f"unknown key `{key}`; known: {', '.join(ScriptEntry.model_fields)}."
    if key == "error":
        return f"error: write one of {', '.join(get_args(Failure))}."
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}."
