"""A limit in dollars for all runs of this machine's user in a day (UTC), kept on disk.

For a server's owner: SWARM_BRAIN_DAILY_USD. Each request reserves its worst case here too, and
settles afterwards; what a killed process had reserved stays charged.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

from graph.errors import ConfigError, ModelError
from swarm_brain.models.settings import data_folder, positive_number, variable

VARIABLE = "SWARM_BRAIN_DAILY_USD"
BUSY_SECONDS = 10.0


def limit() -> float | None:
    """Dollars a day, None if unlimited. Raises ConfigError if the variable is no number."""
    return positive_number(VARIABLE, variable("SWARM_BRAIN_DAILY_USD"))


def reserve(usd: float | None) -> None:
    """Set a request's worst case aside. Raises ModelError("budget") if the day has not so much."""
    most = limit()
    if most is None:
        return
    if usd is None:
        raise ModelError("budget", f"{VARIABLE} is set, and the price of this model is unknown")
    with closing(_open()) as connection, connection:
        connection.execute("INSERT OR IGNORE INTO spent VALUES (?, 0)", [_today()])
        changed = connection.execute(
            "UPDATE spent SET usd = usd + ? WHERE day = ? AND usd + ? <= ?",
            [usd, _today(), usd, most],
        )
        if changed.rowcount == 0:
            raise ModelError("budget", f"{VARIABLE}: the {most:g} dollars of this day are spent")


def settle(reserved: float | None, actual: float | None) -> None:
    """Exchange a reservation for what the request cost; an unknown cost stays as reserved."""
    if limit() is None or reserved is None or actual is None:
        return
    with closing(_open()) as connection, connection:
        connection.execute(
            "UPDATE spent SET usd = max(0, usd + ?) WHERE day = ?", [actual - reserved, _today()]
        )


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _open() -> sqlite3.Connection:
    """The file with the days' sums. A limit that cannot be kept is an error, not a shrug."""
    path = data_folder() / "spent.sqlite"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        connection.execute("CREATE TABLE IF NOT EXISTS spent (day TEXT PRIMARY KEY, usd REAL)")
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"{VARIABLE} is set, but {path} cannot be written: {error}") from None
    return connection
