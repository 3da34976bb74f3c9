"""Open this user's store of threads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from swarm_brain.config import data_folder, variable
from swarm_brain.memory.opening import check_postgres
from swarm_brain.threads.saver import Threads

FILE = "threads.sqlite"


@asynccontextmanager
async def open_threads() -> AsyncIterator[Threads]:
    """Open the file in the data folder, or the Postgres of SWARM_BRAIN_DATABASE_URL.

    Raises MemoryUnavailable if threads cannot be saved there.
    """
    if url := variable("SWARM_BRAIN_DATABASE_URL"):
        check_postgres()
        from swarm_brain.threads.postgres import open_postgres  # needs the extra `postgres`

        async with open_postgres(url) as in_postgres:
            yield in_postgres
    else:
        from swarm_brain.threads.sqlite import open_sqlite  # loads aiosqlite only when used

        async with open_sqlite(data_folder() / FILE) as in_file:
            yield in_file
