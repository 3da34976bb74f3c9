"""The store of memories: a SQLite file, or Postgres if a database is set."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from langgraph.store.base import BaseStore

from swarm_brain.config import data_folder, variable
from swarm_brain.graph.errors import ConfigError
from swarm_brain.memory import embeddings
from swarm_brain.memory.store import SqlStore
from swarm_brain.memory.tables import in_file, in_postgres

if TYPE_CHECKING:
    from swarm_brain.memory.embeddings import Embedder

FILE = "memory.sqlite"
HERE = "exact, in this process"


def open_store() -> BaseStore:
    """Open the user's store. Blocking.

    Raises MemoryUnavailable, ConfigError or ModelUnavailable.
    """
    embedder = embeddings.chosen()
    url = variable("SWARM_BRAIN_DATABASE_URL")
    if url is None:
        return SqlStore(in_file(data_folder() / FILE), embedder)
    check_postgres()
    return _postgres_store(url, embedder)


def _postgres_store(url: str, embedder: Embedder | None) -> BaseStore:
    """Open LangGraph's store if pgvector is available, else our own."""
    database = in_postgres(url)
    try:
        if embedder is None:
            return SqlStore(database)
        from swarm_brain.memory.pgvector import open_pgvector, why_not  # the extra `postgres`

        if why := why_not(database):
            return SqlStore(database, embedder, f"{HERE}: {why}")
        store = open_pgvector(url, embedder)
    except BaseException:
        database.close()
        raise
    database.close()
    return store


def searching(store: BaseStore) -> str:
    """Describe how this store finds memories by meaning."""
    if isinstance(store, SqlStore):
        return store.how if store.embedder else "not at all: there is no embedder"
    indexed = getattr(store, "indexed", None)
    if indexed is None:
        return type(store).__name__
    return f"in the database: pgvector, {'HNSW' if indexed else 'exact'}"


def in_process() -> SqlStore:
    """Return an empty store in this process's memory."""
    return SqlStore(in_file(":memory:"), embeddings.chosen())


def close_store(store: BaseStore) -> None:
    """Close the store's file or connections."""
    if isinstance(store, SqlStore):
        store.database.close()
    elif pool := getattr(store, "conn", None):
        pool.close()


def check_postgres() -> None:
    """Raise ConfigError unless the extra `postgres` is installed."""
    if find_spec("psycopg") is None or find_spec("langgraph.checkpoint.postgres") is None:
        raise ConfigError(
            "SWARM_BRAIN_DATABASE_URL is set, but the extra `postgres` is not installed "
            "(pip install 'swarm-brain[postgres]')."
        )
