"""The command line while it works: interrupted, and live on a terminal. Times are measured."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import fakes
from tests.fakes import Script, endpoint
from tests.integration.commands import COMMAND, TRACEBACK
from tests.integration.processes import end, plain_environment, process
from tests.integration.test_cli import EIGHT, HARD, SIMPLE, Cli, cli

pytestmark = pytest.mark.alone

__all__ = ["cli"]  # a fixture

# ---- interruption


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["plain", "json"])
def test_ctrl_c_ends_a_slow_question_at_once(cli: Cli, options):
    ended = threading.Event()
    cli.served.script.says["perception"] = lambda _: (ended.wait(20), "late")[1]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    words = ("ask", SIMPLE, *cli.here, *options)
    with process(COMMAND, *words, cwd=cli.folder, env=cli.environment(), **pipes) as child:
        while not cli.served.bodies:
            assert child.poll() is None
            time.sleep(0.02)
        started = time.monotonic()
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=10)
        spent = time.monotonic() - started
    ended.set()
    assert spent < 2
    assert child.returncode == 1
    assert "Interrupted" in err
    assert TRACEBACK not in out + err
    assert "never" not in err  # "Task was destroyed", "coroutine was never awaited"
    assert "answer" not in out


# ---- the live screen


@dataclass
class Screen:
    """What the command wrote to a terminal, and when."""

    parts: list[tuple[float, str]]
    code: int

    @property
    def text(self) -> str:
        """All that was written, without control sequences."""
        return _plain("".join(part for _, part in self.parts))

    def first(self, words: str) -> float:
        """Seconds after the start at which these words first stood on the screen."""
        return next(at for at, part in self.parts if words in _plain(part))


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def _on_terminal(words: list[str], folder: Path, env: dict[str, str], seconds: float) -> Screen:
    """Run the command on a pseudo-terminal of 110 x 36 and keep what it writes."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 110, 0, 0))
    child: Any = subprocess.Popen(
        words, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    started, parts = time.monotonic(), []
    try:
        while time.monotonic() - started < seconds:
            if not select.select([ours], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            parts.append((time.monotonic() - started, data.decode(errors="replace")))
        child.wait(5)
    finally:
        end(child)
        os.close(ours)
    return Screen(parts, child.returncode)


class _Slow(fakes._Handler):
    """Streams a word each 30 ms."""

    def _event(self, data: dict[str, Any]) -> None:
        time.sleep(0.03)
        super()._event(data)


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """A hard question with a revision, at 0.4 s of latency and 30 ms per word."""
    folder = tmp_path_factory.mktemp("screen")
    script = Script()
    first, second = (" ".join(f"{word}{n}" for n in range(40)) for word in ("old", "new"))
    script.says["synthesis"] = [first, second]
    script.says["meta_cognitive"] = '{"defects": [{"quote": "old3", "problem": "wrong"}]}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fakes, "_Handler", _Slow)
        with endpoint(script, latency=0.4) as served:
            words = [str(COMMAND), "ask", HARD, *Cli(folder, served).here]
            env = plain_environment(folder, TERM="xterm-256color", COLUMNS="", LINES="")
            yield _on_terminal(words, folder, env, 40)


def test_screen_shows_who_is_awake_step_elapsed_tokens_and_first_words(screen: Screen):
    assert screen.code == 0
    text = screen.text
    for name in EIGHT:
        assert re.search(rf"◐\s+{name}\s+\d\s+\d+\.\d", text), f"{name} never awake"
        assert re.search(rf"●\s+{name}\s+\d\s+\d+\.\d\s+\d+", text), f"{name} never done"
    elapsed = set(re.findall(r"◐\s+memory\s+1\s+(\d+\.\d)", text))
    assert len(elapsed) > 2, "the clock of an expert at work stands still"
    assert "Background: the subject" in text
    assert screen.first("perception") < screen.first("creative") < screen.first("synthesis")


def test_screen_streams_the_answer_as_it_is_generated(screen: Screen):
    at = [screen.first(f"old{n}") for n in (5, 20, 39)]
    assert at[0] < at[1] < at[2]
    assert at[2] - at[0] > 0.5  # 34 words x 30 ms
    assert at[2] < screen.first("new5")


def test_screen_says_that_a_revision_replaces_the_answer(screen: Screen):
    assert screen.first("old39") < screen.first("revised") < screen.first("new5")


def test_screen_ends_with_the_answer_and_what_it_took(screen: Screen):
    last = screen.text[-4000:]
    summary = re.search(r"full \(complete\).*", last)
    assert summary, last
    for word in ("5 steps", "9 calls", "tokens in", "cost"):
        assert word in summary[0]
    assert "old39" not in last[summary.start() :]
    assert last.count("new39") >= 1
    assert summary.start() > last.rindex("new39"), "the answer buries what it took"
