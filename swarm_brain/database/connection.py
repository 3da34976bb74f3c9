"""Connect to the Postgres of SWARM_BRAIN_DATABASE_URL (extra `postgres`).

No error shows the password. libpq quotes the part of an address that it cannot read, which may hold
a password that is not percent-encoded, so addresses are checked here before libpq sees them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from swarm_brain.graph.errors import ConfigError, MemoryUnavailable

VARIABLE = "SWARM_BRAIN_DATABASE_URL"
WHERE = f"the database of {VARIABLE}"
FORM = "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
CONNECTIONS = 4
BUSY_SECONDS = 10.0
CONNECT_SECONDS = 5
PATIENCE_SECONDS = 1.0  # how long to wait before checking whether the server is busy or gone
SILENT_SECONDS = 10.0  # how long to fail at once after the server was unreachable
SILENT = "it no longer answers"
PoolConnection = Connection[Any]  # the rows are of the type that each user of a pool asks for
Configure = Callable[[PoolConnection], None]


class Pool(ConnectionPool[PoolConnection]):
    """A pool that fails at once while the server is unreachable."""

    def __init__(self, url: str, configure: Configure | None = None, **options: object) -> None:
        self._again_at = 0.0
        super().__init__(
            url,
            min_size=1,
            max_size=CONNECTIONS,
            timeout=BUSY_SECONDS,
            check=ConnectionPool.check_connection,  # replaces those that a restart has cut
            configure=configure,
            open=False,
            kwargs={"autocommit": True, "connect_timeout": CONNECT_SECONDS, **options},
        )

    def getconn(self, timeout: float | None = None) -> PoolConnection:
        """Return a connection. Raises PoolTimeout."""
        if time.monotonic() < self._again_at:
            raise PoolTimeout(SILENT)
        try:
            return super().getconn(PATIENCE_SECONDS)
        except PoolTimeout:
            self._must_be_there()
            return super().getconn(timeout)  # it is only busy

    def _must_be_there(self) -> None:
        try:
            reach(str(self.conninfo))
        except MemoryUnavailable:
            self._again_at = time.monotonic() + SILENT_SECONDS
            raise PoolTimeout(SILENT) from None


def opened(url: str, configure: Configure | None = None, **options: object) -> Pool:
    """Open a pool of working connections; `configure` is called with each new one.

    Raises ConfigError or MemoryUnavailable.
    """
    reach(url)
    pool = Pool(url, configure, **options)
    try:
        pool.open(wait=True, timeout=BUSY_SECONDS)
    except psycopg.Error as error:
        pool.close()
        raise unavailable(error) from None
    return pool


def reach(url: str) -> None:
    """Connect once, and fail quickly with the reason, unlike a pool.

    Raises ConfigError for an invalid address and MemoryUnavailable for one that refuses us.
    """
    check(url)
    try:
        psycopg.connect(url, connect_timeout=CONNECT_SECONDS).close()
    except psycopg.Error as error:
        raise unavailable(error) from None


def unavailable(error: psycopg.Error) -> MemoryUnavailable:
    """Return MemoryUnavailable with the database's error in one line."""
    return MemoryUnavailable(WHERE, " ".join(str(error).split()) or type(error).__name__)


def check(url: str) -> None:
    """Raise ConfigError for an invalid address, without quoting it."""
    if not re.match(r"postgres(ql)?://", url):
        raise ConfigError(f"{VARIABLE} is not the address of a Postgres database: {FORM}.")
    account = url.partition("://")[2].rpartition("@")[0]
    if re.search(r"[@/?#\s]", account):
        raise ConfigError(
            f"{VARIABLE}: in the user name and the password, write @ as %40, / as %2F, ? as %3F, "
            "# as %23 and a space as %20."
        )
    try:
        ports = str(conninfo_to_dict(url).get("port", "")).split(",")
    except psycopg.ProgrammingError as error:
        parameter = re.search(r'invalid URI query parameter: "([^"]*)"', str(error))
        why = f"there is no parameter {parameter[1]}" if parameter else FORM
        raise ConfigError(f"{VARIABLE} cannot be read: {why}.") from None
    if not all(re.fullmatch(r"\d*", port) for port in ports):
        raise ConfigError(f"{VARIABLE}: the port is not a number: {FORM}.")
