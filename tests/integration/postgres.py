"""A private PostgreSQL: made in a temporary folder, on loopback, ended by its process id."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.processes import Child, end, free_port, until

ADMIN = "admin"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
}


def binaries() -> Path:
    """Where PostgreSQL's programs are; skips the test where they are not."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if not versions:
        pytest.skip("PostgreSQL is not installed: there is no initdb (apt-get install postgresql)")
    return versions[-1].parent


def _version(path: Path) -> float:
    return float(path.parents[1].name)


def binaries_with_pgvector() -> Path:
    """The same of the wheel `pgserver`, which brings pgvector."""
    spec = importlib.util.find_spec("pgserver")
    if spec is None or spec.origin is None:
        pytest.skip("no PostgreSQL with pgvector here (pip install pgserver)")
    return Path(spec.origin).parent / "pginstall" / "bin"


@dataclass
class Cluster:
    """A server and its data. It runs as somebody else where the tests are run by root."""

    programs: Path
    folder: Path
    user: str | None
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: f"pg-{secrets.token_hex(8)}")
    child: Child | None = None

    def url(self, database: str, user: str = ADMIN, password: str | None = None) -> str:
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def initialise(self) -> None:
        """Make the data folder."""
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self.user:
            for path in (self.folder, secret):
                shutil.chown(path, self.user)
        self._do(
            "initdb", "-D", self.data, "-U", ADMIN, f"--pwfile={secret}", "--no-sync",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
        )  # fmt: skip

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def _do(self, program: str, *words: str | Path) -> None:
        done = subprocess.run(
            [self.programs / program, *words], capture_output=True, text=True, **self._options
        )
        if done.returncode and "ermission denied" in done.stderr:
            pytest.skip(f"{self.user} may not run {program}: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr

    @property
    def _options(self) -> dict[str, Any]:
        there: dict[str, Any] = {"cwd": self.folder}
        return there | ({"user": self.user, "group": _group(self.user)} if self.user else {})

    def start(self) -> None:
        """Start the server, if it does not run, and wait until it answers."""
        if self.child:
            return
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("a") as log:
            self.child = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, "-p", str(self.port), *settings],
                stdout=log, stderr=log, text=True, start_new_session=True, **self._options,
            )  # fmt: skip
        until(self._answers, 20, self.child)

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop the server at once; who is connected is cut off."""
        if self.child:
            self.child.send_signal(signal.SIGINT)
            self.child.wait(20)
            end(self.child)
            self.child = None

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Rows of a statement, as the administrator."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(sql)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def create(self, *options: str) -> str:
        """A new, empty database; its name."""
        name = f"swarm_{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 {' '.join(options)}")
        return name


def _group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def _somebody_else() -> str | None:
    """Who runs the server where the tests are run by root, which PostgreSQL refuses."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@contextmanager
def cluster(programs: Path) -> Iterator[Cluster]:
    """A running cluster of these programs; nothing of it stays."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    made = Cluster(programs, folder, _somebody_else())
    try:
        made.initialise()
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
