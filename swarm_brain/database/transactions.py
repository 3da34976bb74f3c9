"""Transactions in a SQLite file or a Postgres database, behind one protocol.

Both take the same SQL with `?` for parameters. Tables use {serial}, {blob} and {name} for types
that the two call differently. There is one writer at a time, so ids grow in the order in which
transactions become visible; readers rely on it.
"""

from __future__ import annotations

import functools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from swarm_brain.graph.errors import MemoryUnavailable

if TYPE_CHECKING:
    from swarm_brain.database.connection import PoolConnection

Row = tuple[Any, ...]  # only the query knows the types of its columns
Execute = Callable[[str, Sequence[object]], list[Row]]

BUSY_SECONDS = 10.0
# Commits survive a killed process. A power cut may lose the last ones, and nothing else.
PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON", "foreign_keys=ON")


class Database(Protocol):
    """Read and write transactions. Errors are raised as MemoryUnavailable."""

    name: str

    def reading(self) -> AbstractContextManager[Execute]:
        """Open a transaction that reads committed data."""

    def writing(self) -> AbstractContextManager[Execute]:
        """Open a transaction that is saved whole or not at all."""

    def shred(self) -> None:
        """Overwrite deleted data, as far as the database allows it."""

    def close(self) -> None:
        """Close all connections."""


class Sqlite:
    """One connection, used by one thread at a time.

    A `:memory:` database lives as long as the object.
    """

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
        """Set the pragmas and make the tables.

        Retry while the file is locked: entering WAL mode ignores SQLite's timeout when another
        process opens a new file as well.
        """
        until = time.monotonic() + BUSY_SECONDS
        # AUTOINCREMENT never reuses the id of a deleted row.
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
        """Open a transaction that reads committed data."""
        with self._lock, self._translated():
            yield self._execute

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """Open a write transaction, which locks the file at once."""
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

    def _execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def shred(self) -> None:
        """Empty the write-ahead log, which still holds deleted data."""
        with self._lock, self._translated():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


class Postgres:
    """A small pool of connections. Missing tables are created.

    `lock` is the number of the advisory lock that admits one writer at a time.
    """

    def __init__(self, url: str, tables: Sequence[str], lock: int) -> None:
        from swarm_brain.database import connection  # needs the extra `postgres`

        self.name = connection.WHERE
        self._lock = lock
        self._pool = connection.opened(url)
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
        """Open a transaction that reads committed data."""
        with self._connected() as connection:
            yield functools.partial(_rows, connection)

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """Open a write transaction, one at a time among all processes."""
        with self._connected() as connection, connection.transaction():
            _rows(connection, "SELECT pg_advisory_xact_lock(?)", [self._lock])
            yield functools.partial(_rows, connection)

    @contextmanager
    def _connected(self) -> Iterator[PoolConnection]:
        import psycopg  # the extra `postgres`

        from swarm_brain.database.connection import unavailable

        try:
            with self._pool.connection() as connection:
                yield connection
        except psycopg.Error as error:
            raise unavailable(error) from None

    def shred(self) -> None:
        """Do nothing: the database's own VACUUM reuses the space."""

    def close(self) -> None:
        """Close the pool."""
        self._pool.close()


def _rows(connection: PoolConnection, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
    cursor = connection.execute(sql.replace("?", "%s"), parameters or None)
    return list(cursor.fetchall()) if cursor.description else []
