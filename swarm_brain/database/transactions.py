"""A file of SQLite, or a database of Postgres. Transactions, no more.

Both take the same SQL with `?` for parameters. Tables are written with {serial}, {blob} and {name},
which are called differently. Writers come one after the other, so that what they number grows in
the order in which their transactions become visible; readers rely on it.
"""

from __future__ import annotations

import functools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from swarm_brain.graph.errors import MemoryUnavailable

Row = tuple[Any, ...]
Execute = Callable[[str, Sequence[Any]], list[Row]]

BUSY_SECONDS = 10.0
# What is committed survives a killed process; a power cut may take the last commits, no more.
PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON", "foreign_keys=ON")


class Database(Protocol):
    """Reading and writing transactions. Raises MemoryUnavailable for what the database refuses."""

    name: str

    def reading(self) -> Any:
        """A context manager that gives an Execute."""

    def writing(self) -> Any:
        """The same for one transaction that is there whole or not at all."""

    def shred(self) -> None:
        """Leave nothing behind of what was deleted, as far as that is ours to do."""

    def close(self) -> None:
        """Let go of all connections."""


class Sqlite:
    """One connection, one user at a time. `:memory:` lives as long as the object."""

    def __init__(self, path: Path | str, tables: Sequence[str]) -> None:
        self.name = str(path)
        self._tables = tables
        self._lock = threading.RLock()
        try:
            if self.name != ":memory:":
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
            self._set_up()
        except (sqlite3.Error, OSError) as error:
            raise MemoryUnavailable(self.name, error) from None

    def _set_up(self) -> None:
        """Settings and tables. Where others open a new file too, SQLite says at once that it is
        locked, whatever its timeout: the way into WAL mode waits for nobody."""
        until = time.monotonic() + BUSY_SECONDS
        # AUTOINCREMENT never gives the id of a deleted row to another.
        kinds = {"serial": "INTEGER PRIMARY KEY AUTOINCREMENT", "blob": "BLOB", "name": "TEXT"}
        steps = [f"PRAGMA {pragma}" for pragma in PRAGMAS]
        steps += [table.format(**kinds) for table in self._tables]
        while steps:
            try:
                self._connection.execute(steps[0])
                steps.pop(0)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    @contextmanager
    def reading(self) -> Iterator[Execute]:
        """Read what is committed."""
        with self._lock, self._translated():
            yield self._execute

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """Write in one transaction; the lock on the file is taken at once."""
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._execute
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise MemoryUnavailable(self.name, error) from None

    def _execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def shred(self) -> None:
        """Let nothing that was deleted stay behind in the write-ahead log."""
        with self._lock, self._translated():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


class Postgres:
    """A small pool of connections to a database; the tables are made where they are missing.

    `lock` is the number of the advisory lock that lets one writer in at a time.
    """

    def __init__(self, url: str, tables: Sequence[str], lock: int) -> None:
        from swarm_brain.database import connection as connecting

        self.name = connecting.WHERE
        self._lock = lock
        self._pool = connecting.opened(url)
        # Names are compared byte by byte, whatever the database's language.
        kinds = {"serial": "BIGSERIAL PRIMARY KEY", "blob": "BYTEA", "name": 'TEXT COLLATE "C"'}
        try:
            with self.writing() as execute:
                for table in tables:
                    execute(table.format(**kinds), ())
        except MemoryUnavailable:
            self._pool.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Execute]:
        """Read what is committed."""
        with self._connected() as connection:
            yield functools.partial(_rows, connection)

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """Write in one transaction, one writer at a time over all processes."""
        with self._connected() as connection, connection.transaction():
            _rows(connection, "SELECT pg_advisory_xact_lock(?)", [self._lock])
            yield functools.partial(_rows, connection)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        import psycopg

        from swarm_brain.database.connection import unavailable

        try:
            with self._pool.connection() as connection:
                yield connection
        except psycopg.Error as error:
            raise unavailable(error) from None

    def shred(self) -> None:
        """Nothing to do here: space is given back by the database's own VACUUM."""

    def close(self) -> None:
        """Close the pool."""
        self._pool.close()


def _rows(connection: Any, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
    cursor = connection.execute(sql.replace("?", "%s"), parameters or None)
    return list(cursor.fetchall()) if cursor.description else []
