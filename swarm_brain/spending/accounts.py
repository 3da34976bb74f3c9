"""Where it is kept what has been used: a file of this user's, or the Postgres that machines share.

`spending` is of a day and a payer, `arrivals` are the requests of the last minute.
"""

from __future__ import annotations

import threading
from functools import lru_cache

from swarm_brain.config import data_folder, variable
from swarm_brain.database.transactions import Database, Postgres, Sqlite

FILE = "accounts.sqlite"
WRITERS_LOCK = 7_305_641_211  # of Postgres's advisory locks
TABLES = (
    """CREATE TABLE IF NOT EXISTS spending (
         day TEXT NOT NULL, payer {name} NOT NULL, usd DOUBLE PRECISION NOT NULL,
         tokens BIGINT NOT NULL, PRIMARY KEY (day, payer))""",
    """CREATE TABLE IF NOT EXISTS arrivals (
         payer {name} NOT NULL, at DOUBLE PRECISION NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS arrivals_by_payer ON arrivals (payer, at)",
)
_opening = threading.Lock()


def book() -> Database:
    """The accounts; blocking. Raises MemoryUnavailable or ConfigError."""
    url = variable("SWARM_BRAIN_DATABASE_URL")
    with _opening:
        return _shared(url) if url else _own(str(data_folder() / FILE))


@lru_cache(maxsize=2)
def _own(path: str) -> Database:
    return Sqlite(path, TABLES)


@lru_cache(maxsize=2)
def _shared(url: str) -> Database:
    return Postgres(url, TABLES, WRITERS_LOCK)
