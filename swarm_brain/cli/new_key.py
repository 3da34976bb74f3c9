"""`serve --new-key`: create an API key and save its digest."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import typer

from swarm_brain.config import check_text, config_file, user_config_file
from swarm_brain.server.api_keys import new_key


def make_key(name: str) -> None:
    """Print a new key to standard output, and remarks to standard error.

    Raises ConfigError if the name is invalid or taken. If the file cannot be written, the lines to
    add to it are printed instead.
    """
    key, block = new_key(name)
    path = config_file() or user_config_file()
    try:
        _append(path, block)
    except OSError as error:
        why = error.strerror or type(error).__name__
        typer.echo(f"{path} cannot be written ({why}). Add this to it:\n\n{block}", err=True)
    else:
        typer.echo(f"The digest of the key {name} is in {path}.", err=True)
    typer.echo("This is the key. It is not saved and cannot be shown again:", err=True)
    typer.echo(key)


def _append(path: Path, block: str) -> None:
    """Append a table to the file and leave the rest unchanged, byte for byte.

    The file is replaced atomically, so no reader sees half of it.
    """
    path = path.resolve()  # a link stays a link
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else b""
    gap = b"" if not before else b"\n" if before.endswith(b"\n") else b"\n\n"
    after = before + gap + block.encode()
    check_text(path, after)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".swarm-brain-")  # mode 0600
    written = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(after)
            file.flush()
            os.fsync(file.fileno())
        if before:
            written.chmod(path.stat().st_mode & 0o777)
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
