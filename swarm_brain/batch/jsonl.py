"""JSONL files with a first line of metadata; each line is flushed to disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from swarm_brain.graph.errors import ConfigError

CHUNK = 1 << 20


def line_of(record: Mapping[str, object]) -> bytes:
    """Return a record as a line."""
    return (json.dumps(record, ensure_ascii=False) + "\n").encode()


def create(path: Path, head: Mapping[str, object]) -> None:
    """Write a new file with its first line. Raises ConfigError on failure."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(line_of(head))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}).") from None


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield offset and JSON of each line, after removing an incomplete last line.

    Such a line was being written when its process was killed. Raises ConfigError for any other
    line that is not JSON.
    """
    with path.open("rb+") as file:
        if (whole := _whole(file)) < file.seek(0, os.SEEK_END):
            file.truncate(whole)
        file.seek(0)
        offset = 0
        # Not splitlines(): answers may hold U+2028, which does not end a line.
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
            except ValueError:
                raise ConfigError(
                    f"{path}, line {number}: is not JSON; fix or delete it."
                ) from None
            yield offset, record
            offset += len(line)


def _whole(file: BinaryIO) -> int:
    """Return the number of bytes in complete lines."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - CHUNK)
        file.seek(start)
        if (at := file.read(end - start).rfind(b"\n")) >= 0:
            return start + at + 1
        end = start
    return 0


def check_head(path: Path, kind: str, first: object, expected: Mapping[str, object]) -> None:
    """Raise ConfigError with each difference between first line and `expected`."""
    head = first.get(kind) if isinstance(first, dict) else None
    if not isinstance(head, dict):
        raise ConfigError(f"{path} holds no {kind}. Name another --output.")
    before, now = _flat(head), _flat(json.loads(json.dumps(expected)))
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        differences = ", ".join(
            f"{name} was {before.get(name)!r}, is {now.get(name)!r}" for name in changed
        )
        raise ConfigError(f"{path} was started with other settings: {differences}")


def _flat(head: Mapping[str, object]) -> dict[str, object]:
    """Return nested settings as one level, under dotted names."""
    flat: dict[str, object] = {}
    for name, value in head.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat
