"""The store that the command line and PhiBrain use: a file, or Postgres where that is set."""

from __future__ import annotations

import logging
from typing import Any

from langgraph.store.base import BaseStore

from graph.errors import ConfigError, MemoryUnavailable
from swarm_brain.memory import embeddings
from swarm_brain.memory.database import CONNECTIONS, Postgres, Sqlite
from swarm_brain.memory.embeddings import Embedder
from swarm_brain.memory.store import SqlStore
from swarm_brain.models.settings import data_folder, variable

log = logging.getLogger(__name__)

FILE = "memory.sqlite"
NO_PGVECTOR = "pgvector is not installed in this database: vectors are compared in this process"


def open_store() -> BaseStore:
    """The user's store; blocking. Raises MemoryUnavailable, ConfigError or ModelUnavailable."""
    embedder = embeddings.chosen()
    url = variable("SWARM_BRAIN_DATABASE_URL")
    if url is None:
        return SqlStore(Sqlite(data_folder() / FILE), embedder)
    check_postgres()
    database = Postgres(url)
    if embedder is not None and _has_pgvector(database):
        database.close()
        return _with_pgvector(url, embedder)
    log.warning(NO_PGVECTOR)
    return SqlStore(database, embedder)


def in_process() -> SqlStore:
    """A store that lives as long as the process and starts empty."""
    return SqlStore(Sqlite(":memory:"), embeddings.chosen())


def close_store(store: BaseStore) -> None:
    """Let go of the store's file or connections."""
    if isinstance(store, SqlStore):
        store.database.close()
    elif pool := getattr(store, "conn", None):
        pool.close()


def check_postgres() -> None:
    """Raise ConfigError unless the extra `postgres` is installed."""
    from importlib.util import find_spec

    if find_spec("psycopg") is None or find_spec("langgraph.checkpoint.postgres") is None:
        raise ConfigError(
            "SWARM_BRAIN_DATABASE_URL is set, but the extra `postgres` is not installed "
            "(pip install 'swarm-brain[postgres]')."
        )


def _has_pgvector(database: Postgres) -> bool:
    with database.reading() as execute:
        return bool(execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'", ()))


def _with_pgvector(url: str, embedder: Embedder) -> BaseStore:
    """LangGraph's own store, which searches in the database (HNSW)."""
    import psycopg
    from langgraph.store.postgres import PostgresStore
    from psycopg.rows import dict_row
    from psycopg_pool import ConnectionPool

    def embed(texts: list[str]) -> list[list[float]]:
        rows: list[list[float]] = embedder.embed(texts).tolist()
        return rows

    pool: Any = ConnectionPool(
        url,
        min_size=1,
        max_size=CONNECTIONS,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
    )
    dims = len(embed(["dimensions"])[0])
    index: Any = {"dims": dims, "embed": embed, "fields": ["text"]}
    store = PostgresStore(pool, index=index)
    try:
        store.setup()
    except psycopg.Error as error:
        pool.close()
        raise MemoryUnavailable("the database of SWARM_BRAIN_DATABASE_URL", error) from None
    return store
