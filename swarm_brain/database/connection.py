"""Reaching the Postgres of SWARM_BRAIN_DATABASE_URL, and saying what is wrong without its password.

libpq quotes what it cannot read, and a password that is not percent-encoded ends up in there: so an
address is checked first, and refused in our own words. Needs the extra `postgres`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from swarm_brain.graph.errors import ConfigError, MemoryUnavailable

VARIABLE = "SWARM_BRAIN_DATABASE_URL"
WHERE = f"the database of {VARIABLE}"
FORM = "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
CONNECTIONS = 4
BUSY_SECONDS = 10.0
CONNECT_SECONDS = 5
PATIENCE_SECONDS = 1.0  # after which it is asked whether the server is busy, or gone
SILENT_SECONDS = 10.0  # nobody is made to wait for a silent server more than once in this time
SILENT = "it does not answer any more"
Configure = Callable[[Any], None]


class Pool(ConnectionPool[Any]):
    """A pool that fails at once for a while after the server was silent: a run asks it often."""

    def __init__(self, url: str, configure: Configure | None = None, **options: Any) -> None:
        self._again_at = 0.0
        super().__init__(
            url,
            min_size=1,
            max_size=CONNECTIONS,
            timeout=BUSY_SECONDS,
            check=ConnectionPool.check_connection,  # one that a restart has cut is replaced
            configure=configure,
            open=False,
            kwargs={"autocommit": True, "connect_timeout": CONNECT_SECONDS, **options},
        )

    def getconn(self, timeout: float | None = None) -> Any:
        """A connection. Raises PoolTimeout."""
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


def opened(url: str, configure: Configure | None = None, **options: Any) -> Pool:
    """A pool of connections that work; `configure` is done to each new one.

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
    """Connect once, because a pool would try for long and not say why it cannot.

    Raises ConfigError if this is no address, MemoryUnavailable if nobody lets us in there.
    """
    check(url)
    try:
        psycopg.connect(url, connect_timeout=CONNECT_SECONDS).close()
    except psycopg.Error as error:
        raise unavailable(error) from None


def unavailable(error: psycopg.Error) -> MemoryUnavailable:
    """What went wrong with the database, in one line."""
    return MemoryUnavailable(WHERE, " ".join(str(error).split()) or type(error).__name__)


def check(url: str) -> None:
    """Raise ConfigError unless this is the address of a Postgres; the message does not quote it."""
    if not re.match(r"postgres(ql)?://", url):
        raise ConfigError(f"{VARIABLE} is no address of a Postgres: {FORM}.")
    account = url.partition("://")[2].rpartition("@")[0]
    if re.search(r"[@/?#\s]", account):
        raise ConfigError(
            f"{VARIABLE}: in the user's name and the password write @ as %40, / as %2F, ? as %3F, "
            "# as %23 and a space as %20."
        )
    try:
        ports = str(conninfo_to_dict(url).get("port", "")).split(",")
    except psycopg.ProgrammingError as error:
        found = re.search(r'invalid URI query parameter: "([^"]*)"', str(error))
        why = f"there is no parameter {found[1]}" if found else FORM
        raise ConfigError(f"{VARIABLE} cannot be read: {why}.") from None
    if not all(re.fullmatch(r"\d*", port) for port in ports):
        raise ConfigError(f"{VARIABLE}: the port is no number: {FORM}.")
