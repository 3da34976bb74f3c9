"""The tables of memories and their vectors, in SQLite or Postgres."""

from __future__ import annotations

from pathlib import Path

from swarm_brain.database.transactions import Postgres, Sqlite

WRITERS_LOCK = 7_305_641_209  # of Postgres's advisory locks
TABLES = (
    """CREATE TABLE IF NOT EXISTS memory_items (
         id {serial}, namespace {name} NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
         created_at TEXT NOT NULL, updated_at TEXT NOT NULL, UNIQUE (namespace, key))""",
    """CREATE TABLE IF NOT EXISTS memory_vectors (
         item BIGINT PRIMARY KEY REFERENCES memory_items (id) ON DELETE CASCADE,
         namespace {name} NOT NULL, embedder TEXT NOT NULL, vector {blob} NOT NULL)""",
    """CREATE INDEX IF NOT EXISTS memory_vectors_by_namespace
         ON memory_vectors (namespace, embedder, item)""",
)


def in_file(path: Path | str) -> Sqlite:
    """Open memories in a SQLite file. Raises MemoryUnavailable."""
    return Sqlite(path, TABLES)


def in_postgres(url: str) -> Postgres:
    """Open memories in a database. Raises ConfigError or MemoryUnavailable."""
    return Postgres(url, TABLES, WRITERS_LOCK)
