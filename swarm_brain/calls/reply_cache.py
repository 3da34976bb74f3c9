"""A cache of replies to identical requests, in memory or in SQLite.

The key covers provider, endpoint, model, every sampling parameter, the schema and the whole prompt.
Failures and simulated replies are never stored.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Literal, Protocol

from swarm_brain.config import cache_folder
from swarm_brain.models.binding import Binding, JsonSchema, Sampling

Kind = Literal["off", "memory", "sqlite"]
MEMORY_ENTRIES = 4096
BUSY_SECONDS = 10.0


class Cache(Protocol):
    """Stores texts by key."""

    def get(self, key: str) -> str | None:
        """Return a reply's text, or None."""

    def put(self, key: str, text: str) -> None:
        """Store a reply's text."""


def key_of(
    binding: Binding,
    sampling: Sampling,
    texts: Sequence[str],
    schema: JsonSchema | None,
    payer: str | None = None,
) -> str:
    """Return a SHA-256 of the user and of everything that determines a reply.

    Without the user, a hit would reveal what other users of a server have asked.
    """
    parts = [binding.spec, binding.endpoint, asdict(sampling), list(texts), schema, payer]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class _Memory:
    """The most recently used replies of this process."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> str | None:
        with self._lock:
            if key in self._texts:
                self._texts.move_to_end(key)
            return self._texts.get(key)

    def put(self, key: str, text: str) -> None:
        with self._lock:
            self._texts[key] = text
            while len(self._texts) > MEMORY_ENTRIES:
                self._texts.popitem(last=False)


class _Sqlite:
    """Replies in a file. An unusable file is treated as empty."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, text TEXT)")
        return connection

    def get(self, key: str) -> str | None:
        try:
            with closing(self._open()) as connection:
                row = connection.execute("SELECT text FROM replies WHERE key = ?", [key]).fetchone()
        except (sqlite3.Error, OSError):
            return None
        return str(row[0]) if row else None

    def put(self, key: str, text: str) -> None:
        try:
            with closing(self._open()) as connection, connection:
                connection.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", [key, text])
        except (sqlite3.Error, OSError):
            return


_memory = _Memory()


def cache(kind: Kind) -> Cache | None:
    """Return the cache of this kind, None for `off`."""
    match kind:
        case "off":
            return None
        case "memory":
            return _memory
        case "sqlite":
            return _Sqlite(cache_folder() / "replies.sqlite")
