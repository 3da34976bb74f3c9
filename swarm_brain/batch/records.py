"""Answers in a JSONL file: a first line says what they answer, each is on disk when it is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from swarm_brain.graph.errors import ConfigError

Record = dict[str, Any]
CHUNK = 1 << 20


def line_of(record: Mapping[str, Any]) -> bytes:
    """A record as a line."""
    return (json.dumps(record, ensure_ascii=False) + "\n").encode()


def begin(path: Path, head: Record) -> None:
    """Write a new file. Raises ConfigError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(line_of(head))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}).") from None


def complete(path: Path) -> Iterator[tuple[int, Any]]:
    """Offset and JSON of each line; what stands behind the last end of a line is cut away.

    It was being written when its process was killed. Raises ConfigError for any other line that is
    no JSON.
    """
    with path.open("rb+") as file:
        if (whole := _whole(file)) < file.seek(0, os.SEEK_END):
            file.truncate(whole)
        file.seek(0)
        offset = 0
        # Not splitlines(): answers may hold U+2028, which is no end of a line.
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
            except ValueError:
                raise ConfigError(
                    f"{path}, line {number}: is not JSON; mend or delete it."
                ) from None
            yield offset, record
            offset += len(line)


def _whole(file: BinaryIO) -> int:
    """How many bytes of a file are whole lines."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - CHUNK)
        file.seek(start)
        if (at := file.read(end - start).rfind(b"\n")) >= 0:
            return start + at + 1
        end = start
    return 0


def check_same(path: Path, kind: str, first: Any, now: Mapping[str, Any]) -> None:
    """Raise ConfigError, naming each difference, unless a file's first line says {kind: now}."""
    begun = first.get(kind) if isinstance(first, dict) else None
    if not isinstance(begun, dict):
        raise ConfigError(f"{path} holds no {kind}. Name another --output.")
    was, wanted = _flat(begun), _flat(json.loads(json.dumps(now)))
    changed = [name for name in {**was, **wanted} if was.get(name) != wanted.get(name)]
    if changed:
        told = ", ".join(
            f"{name} was {was.get(name)!r}, is {wanted.get(name)!r}" for name in changed
        )
        raise ConfigError(f"{path} was begun with other settings: {told}")


def _flat(head: Mapping[str, Any]) -> Record:
    """Settings within settings under names with a dot."""
    flat: Record = {}
    for name, value in head.items():
        inner = value if isinstance(value, Mapping) else None
        flat |= {f"{name}.{key}": one for key, one in inner.items()} if inner else {name: value}
    return flat
