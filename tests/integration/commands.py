"""The command `swarm-brain`, run in this process (which saves 1.5 s of imports) or in its own.

Both read a plain environment, standard input and a folder, and give back a finished process. What
a test says about signals, terminals, descriptors or two processes at once takes a process.
"""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from swarm_brain.cli import main

COMMAND = Path(sys.executable).with_name("swarm-brain")
TRACEBACK = "Traceback (most recent call last)"
SECONDS = 60.0

Finished = subprocess.CompletedProcess[str]


def run_here(*words: str, cwd: Path, env: Mapping[str, str], stdin: str | bytes = b"") -> Finished:
    """Run the command in this process."""
    out, err = _stream(), _stream()
    with _surroundings(words, cwd, env, stdin), redirect_stdout(out), redirect_stderr(err):
        code = _exit_code()
    return subprocess.CompletedProcess(words, code, _text(out), _text(err))


def run_alone(*words: str, cwd: Path, env: Mapping[str, str], stdin: str | bytes = b"") -> Finished:
    """Run the command in a process of its own."""
    done = subprocess.run(
        [COMMAND, *words], cwd=cwd, env=env, input=_bytes(stdin), capture_output=True,
        timeout=SECONDS,
    )  # fmt: skip
    return subprocess.CompletedProcess(
        words, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@contextmanager
def _surroundings(
    words: tuple[str, ...], cwd: Path, env: Mapping[str, str], stdin: str | bytes
) -> Iterator[None]:
    """Arguments, folder, environment and input of a process; logs go where it has set them up."""
    with (
        patch.object(sys, "argv", [str(COMMAND), *words]),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(_bytes(stdin)), "utf-8")),
        patch.object(logging.root, "handlers", []),
        patch.dict(os.environ, env, clear=True),
        chdir(cwd),
    ):
        yield


def _exit_code() -> int:
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:  # noqa: BLE001  as the interpreter ends
        traceback.print_exc()
        return 1
    return 0


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
