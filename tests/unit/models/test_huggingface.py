"""What of the local pipeline needs no torch: batches, texts, rows, the folder of a GGUF file."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_brain.calls.retry import RETRYABLE_KINDS
from swarm_brain.graph.errors import ConfigError, ModelError, ModelUnavailable
from swarm_brain.models.binding import Sampling
from swarm_brain.models.huggingface import provider, weights
from swarm_brain.models.huggingface.batcher import Batcher, Generation, Piece, ReplyText, Request

END = 0


def decode(tokens: Sequence[int]) -> str:
    """Tokens are bytes here, as in a byte-level tokenizer; END shows as nothing."""
    return bytes(token for token in tokens if token != END).decode(errors="replace")


def asked(prompt: int = 1, max_tokens: int = 8) -> tuple[Request, list[Piece | Exception]]:
    pieces: list[Piece | Exception] = []
    return Request([prompt], Sampling(0.7, 0.9, max_tokens), pieces.append), pieces


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_pieces_are_the_text(text: str):
    grown = ReplyText(decode)
    pieces = [grown.add(token) for token in text.encode()]
    assert "".join(pieces) + grown.end() == text


def test_no_half_character_is_shown():
    grown = ReplyText(decode)
    assert [grown.add(token) for token in "é€".encode()] == ["", "é", "", "", "€"]


@given(st.text(alphabet="ab#", max_size=30), st.lists(st.text("ab#", min_size=1, max_size=3)))
def test_text_ends_before_the_first_stop_word(text: str, stop: list[str]):
    grown, shown = ReplyText(decode, stop), ""
    for token in text.encode():
        shown += grown.add(token)
        if grown.stopped:
            break
    shown += grown.end()
    assert text.startswith(shown)
    assert not any(word in shown for word in stop)
    assert (shown == text) == (not any(word in text for word in stop))


def test_row_ends_at_its_stop_token_which_is_counted_but_not_shown():
    request, pieces = asked()
    row = Generation(request, ReplyText(decode), frozenset({END}))
    for token in (*b"ok", END):
        row.take(token)
    assert pieces == [Piece("o", 1), Piece("k", 2), Piece("", 3, "stop")]
    assert row.done


def test_row_ends_at_its_own_limit():
    request, pieces = asked(max_tokens=2)
    row = Generation(request, ReplyText(decode), frozenset({END}))
    row.take(ord("a"))
    assert not row.done
    row.take(ord("b"))
    assert pieces[-1] == Piece("b", 2, "length")


def test_row_of_a_cancelled_request_is_done():
    request, _ = asked()
    row = Generation(request, ReplyText(decode), frozenset())
    request.cancelled = True
    assert row.done


class Recorder:
    """Runs batches by noting their sizes; each ends when it is let go on."""

    def __init__(self, *, hold: bool = False) -> None:
        self.batches: list[list[Request]] = []
        self.going = threading.Event()
        if not hold:
            self.going.set()

    def __call__(self, requests: list[Request]) -> None:
        self.batches.append(requests)
        assert self.going.wait(10)
        for request in requests:
            request.deliver(Piece("", 1, "stop"))

    def until(self, count: int) -> None:
        deadline = time.monotonic() + 10
        while len(self.batches) < count:
            assert time.monotonic() < deadline, self.batches
            time.sleep(0.005)


def test_requests_that_come_together_are_one_batch():
    run = Recorder()
    batcher = Batcher(run)
    for number in range(5):
        batcher.submit(asked(number)[0])
    run.until(1)
    batcher.close()
    assert [len(batch) for batch in run.batches] == [5]


def test_a_request_during_a_batch_waits_for_the_next():
    run = Recorder(hold=True)
    batcher = Batcher(run)
    batcher.submit(asked()[0])
    run.until(1)
    for _ in range(2):
        batcher.submit(asked()[0])
    run.going.set()
    run.until(2)
    batcher.close()
    assert [len(batch) for batch in run.batches] == [1, 2]


def test_a_batch_has_at_most_max_rows():
    run = Recorder()
    batcher = Batcher(run, max_rows=3)
    for number in range(7):
        batcher.submit(asked(number)[0])
    run.until(3)
    batcher.close()
    assert [len(batch) for batch in run.batches] == [3, 3, 1]


def test_a_request_cancelled_while_it_waits_never_runs():
    run = Recorder(hold=True)
    batcher = Batcher(run)
    batcher.submit(asked()[0])
    run.until(1)
    waiting, staying = asked()[0], asked()[0]
    batcher.submit(waiting)
    batcher.submit(staying)
    waiting.cancelled = True
    run.going.set()
    run.until(2)
    batcher.close()
    assert run.batches[1] == [staying]


def test_a_batch_that_fails_tells_each_request_and_the_next_one_runs():
    calls: list[int] = []

    def run(requests: list[Request]) -> None:
        calls.append(len(requests))
        if len(calls) == 1:
            raise RuntimeError("out of\nmemory")
        requests[0].deliver(Piece("", 1, "stop"))

    batcher = Batcher(run)
    first, told = asked()
    batcher.submit(first)
    while not told:
        time.sleep(0.005)
    second, answered = asked()
    batcher.submit(second)
    while not answered:
        time.sleep(0.005)
    batcher.close()
    error = told[0]
    assert isinstance(error, ModelError)
    assert error.kind in RETRYABLE_KINDS
    assert "out of memory" in str(error)


@pytest.mark.parametrize(
    ("model", "settings", "said"),
    [
        ("", {}, "names no model"),
        ("a/b", {"quantization": "2bit"}, "none, 8bit or 4bit"),
        ("a/b", {"dtype": "int3"}, "float32, float16 or bfloat16"),
    ],
)
def test_settings_that_mean_nothing_are_refused(model: str, settings: dict[str, str], said: str):
    with pytest.raises(ConfigError, match=said):
        provider.bind(model, **settings)  # type: ignore[arg-type]


def test_a_path_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ModelUnavailable, match=r"nowhere"):
        provider.bind(str(tmp_path / "nowhere"))


@pytest.fixture
def gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWARM_BRAIN_CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "small.gguf"
    file.write_bytes(b"GGUF")
    return file


def _fill(file: Path, folder: Path) -> None:
    (folder / "made").write_text(str(os.getpid()))


def test_conversion_is_made_once_and_anew_when_the_file_changes(gguf: Path):
    made: list[Path] = []

    def convert(file: Path, folder: Path) -> None:
        made.append(folder)
        _fill(file, folder)

    first = weights.converted(gguf, "float32", convert)
    assert weights.converted(gguf, "float32", convert) == first
    assert len(made) == 1
    assert weights.converted(gguf, "bfloat16", convert) != first
    gguf.write_bytes(b"GGUF again")
    second = weights.converted(gguf, "float32", convert)
    assert second != first
    assert not first.exists()
    assert len(list(second.parent.glob("*-*"))) == 2


def test_what_a_killed_conversion_left_is_removed(gguf: Path):
    def killed(file: Path, folder: Path) -> None:
        _fill(file, folder)
        os._exit(9)

    child = multiprocessing.get_context("fork").Process(
        target=weights.converted, args=(gguf, "float32", killed)
    )
    child.start()
    child.join(20)
    assert child.exitcode == 9
    folder = weights.converted(gguf, "float32", _fill)
    assert (folder / "made").read_text() == str(os.getpid())
    assert [left.name for left in folder.parent.iterdir() if left.name.startswith(".")] == []


def test_two_processes_make_one_conversion(gguf: Path):
    def slow(file: Path, folder: Path) -> None:
        time.sleep(0.3)
        _fill(file, folder)

    fork = multiprocessing.get_context("fork")
    children = [
        fork.Process(target=weights.converted, args=(gguf, "float32", slow)) for _ in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(20)
    assert [child.exitcode for child in children] == [0, 0]
    folder = weights.converted(gguf, "float32", _fill)
    assert int((folder / "made").read_text()) in {child.pid for child in children}


def test_a_conversion_that_fails_leaves_nothing(gguf: Path):
    def full(file: Path, folder: Path) -> None:
        _fill(file, folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelUnavailable, match="No space left on device"):
        weights.converted(gguf, "float32", full)
    (place,) = (gguf.parent / "cache").rglob("converted")
    assert [left for left in place.iterdir() if left.is_dir()] == []
