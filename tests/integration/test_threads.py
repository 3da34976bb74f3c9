"""Threads as a user has them: the commands, run as commands, with a scripted endpoint."""

from __future__ import annotations

import json
import os
import pty
import re
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from tests.fakes import DEFAULTS
from tests.integration.commands import COMMAND
from tests.integration.user import EIGHT, HARD, User

REPLY_WORDS = 700
HUNDRED = 100


def ask(user: User, question: str, *words: str):
    return user.json("ask", question, *user.here, *words)


# ---- one thread, many questions


def test_a_thread_is_a_conversation(user):
    first = ask(user, "What does subject mean?", "--thread", "t")
    second = ask(user, "And what does object mean?", "--thread", "t")
    assert first["thread_id"] == second["thread_id"] == "t"
    prompt = user.served.script.of("reasoning")[-1]["user"]
    assert "What does subject mean?" in prompt
    assert DEFAULTS["synthesis"] in prompt
    (row,) = user.json("threads", "list")
    assert (row["questions"], row["question"], row["state"]) == (
        2,
        "And what does object mean?",
        "full",
    )


def test_without_a_name_each_question_has_a_thread_of_its_own(user):
    names = {ask(user, "What does subject mean?")["thread_id"] for _ in range(2)}
    assert len(names) == 2
    assert {row["thread"] for row in user.json("threads", "list")} == names


def test_no_save_leaves_no_trace(user):
    result = ask(user, HARD, "--no-save")
    assert result["thread_id"] is None
    assert result["recalled"] == []
    assert not (user.folder / "data").exists()
    refused = user.run("ask", HARD, "--no-save", "--thread", "t", *user.here)
    assert refused.returncode == 2


def test_the_same_question_recalls_the_first_answer_and_another_does_not(user):
    first = ask(user, "What does subject mean?")
    again = ask(user, "What does subject mean?")
    assert first["recalled"] == []
    (recalled,) = again["recalled"]
    assert recalled["score"] == pytest.approx(1, abs=1e-3)
    assert DEFAULTS["synthesis"] in recalled["text"]
    assert first["thread_id"] in recalled["origin"]
    assert "memory" in [entry["name"] for entry in again["experts"]]
    (prompt,) = [request["user"] for request in user.served.script.of("memory")]
    assert f'<recalled from="{recalled["origin"]}" date="{recalled["date"]}">' in prompt
    other = ask(user, "Who bakes sourdough bread?")
    assert other["recalled"] == []
    assert "memory" not in [entry["name"] for entry in other["experts"]]
    told = user.run("ask", "What does subject mean?", *user.here)
    assert "recalled 1.00: Question: What does subject mean?" in told.stderr


# ---- show


def test_show_tells_each_superstep(user):
    ask(user, HARD, "--thread", "t")
    told = user.run("threads", "show", "t").stdout
    for step, names in ((1, EIGHT[:3]), (2, EIGHT[3:6]), (3, EIGHT[6:7]), (4, EIGHT[7:])):
        part = told.split(f"step {step}\n")[1].split("\nstep ")[0]
        for name in names:
            assert re.search(rf"^{name} \(ok\) woken by ", part, re.M), (step, name)
            assert DEFAULTS[name].splitlines()[0] in part
    assert "creative 0.9" in told.replace("attention 0.90", "creative 0.9")
    assert re.search(r"synthesis \(ok\) woken by analytical \d\.\d\d, creative", told)
    assert "tokens" in told
    assert "full (complete)" in told
    (run,) = user.json("threads", "show", "t")
    assert [[said["expert"] for said in step["experts"]] for step in run["steps"]] == [
        ["attention", "memory", "perception"],
        ["analytical", "creative", "reasoning"],
        ["synthesis"],
        ["meta_cognitive"],
    ]
    said = run["steps"][1]["experts"][1]
    assert said["woken_by"] == [{"from": "attention", "activation": 0.9}]
    assert said["content"] == DEFAULTS["creative"]
    assert run["result"]["final_output"] == DEFAULTS["synthesis"]


@pytest.mark.parametrize(
    "words",
    [("show", "t"), ("resume", "t"), ("delete", "t"), ("fork", "t", "--step", "1")],
    ids=str,
)
def test_a_thread_that_is_not_there(user, words):
    (user.folder / "f.txt").write_text("x")
    edit = ("--edit", "creative=f.txt") if words[0] == "fork" else ()
    told = user.run("threads", *words, *edit)
    assert told.returncode == 1
    assert "no thread t" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_finished_thread_has_nothing_to_resume(user):
    ask(user, HARD, "--thread", "t")
    told = user.run("threads", "resume", "t")
    assert told.returncode == 1
    assert "no unfinished run" in told.stderr


# ---- fork


def test_fork_replaces_one_signal_and_runs_on_from_there(user):
    ask(user, HARD, "--thread", "t")
    user.served.script.requests.clear()
    user.served.script.says["synthesis"] = lambda request: (
        "Eels.\nVerdict: eels" if "eels are the answer" in request["user"] else "No eels."
    )
    (user.folder / "draft.txt").write_text("I hold that eels are the answer.\nVerdict: eels")
    both = user.json("threads", "fork", "t", "--step", "2", "--edit", "creative=draft.txt")
    assert both["original"]["final_output"] == DEFAULTS["synthesis"]
    assert both["fork"]["final_output"] == "Eels.\nVerdict: eels"
    assert user.asked() == Counter(["synthesis", "meta_cognitive"])
    assert both["fork"]["usage"]["calls"] == 8
    humans = {e["name"]: e["human"] for e in both["fork"]["experts"]}
    assert humans == dict.fromkeys(EIGHT, None) | {"creative": "written"}
    runs = user.json("threads", "show", "t")
    assert [run["result"]["verdict"] for run in runs] == ["42", "eels"]
    assert runs[0]["run_id"] != runs[1]["run_id"]
    side_by_side = user.run("threads", "fork", "t", "--step", "2", "--edit", "creative=draft.txt",
                             COLUMNS="100")  # fmt: skip
    assert "original" in side_by_side.stdout
    assert "fork" in side_by_side.stdout


def test_fork_at_the_gate_changes_who_is_woken(user):
    ask(user, HARD, "--thread", "t")
    user.served.script.requests.clear()
    (user.folder / "gates.json").write_text('{"creative": 0.1, "analytical": 0.9}')
    both = user.json("threads", "fork", "t", "--step", "1", "--edit", "attention=gates.json")
    assert user.asked() == Counter(["reasoning", "analytical", "synthesis", "meta_cognitive"])
    statuses = {e["name"]: e["status"] for e in both["fork"]["experts"]}
    assert statuses["creative"] == "skipped"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--step", "9", "--edit", "creative=f.txt"), "no step 9"),
        (("--step", "1", "--edit", "creative=f.txt"), "did not speak at step 1"),
        (("--step", "1", "--edit", "attention=f.txt"), "unreadable"),
        (("--step", "2", "--edit", "creative=nowhere.txt"), "nowhere.txt cannot be read"),
        (("--step", "2", "--edit", "creative=blank.txt"), "blank.txt is empty"),
        (("--step", "2", "--edit", "creative"), "EXPERT=FILE"),
    ],
    ids=str,
)
def test_a_fork_that_cannot_be(user, words, told):
    ask(user, HARD, "--thread", "t")
    user.served.script.requests.clear()
    (user.folder / "f.txt").write_text("Words without any gate.")
    (user.folder / "blank.txt").write_text(" \n")
    done = user.run("threads", "fork", "t", *words)
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert user.asked() == Counter()
    assert len(user.json("threads", "show", "t")) == 1


# ---- delete, prune, size


def test_delete_leaves_nothing_of_a_thread(user):
    secret = "What does zanzibarial mean?"
    ask(user, secret, "--thread", "t")
    ask(user, "What does other mean?", "--thread", "u")
    assert user.run("threads", "delete", "t", "nobody").returncode == 1
    assert len(user.json("threads", "list")) == 2
    assert user.run("threads", "delete", "t").returncode == 0
    assert [row["thread"] for row in user.json("threads", "list")] == ["u"]
    (memory,) = [m for m in user.json("memory", "list") if m["question"] == secret]
    assert user.run("memory", "forget", memory["id"]).returncode == 0
    for file in (user.folder / "data").rglob("*"):
        assert file.is_dir() or b"zanzibarial" not in file.read_bytes(), file


def test_prune_keeps_the_last_checkpoints_and_threads_go_on(user):
    for _ in range(2):
        ask(user, HARD, "--thread", "t")
    ask(user, HARD, "--thread", "u")
    assert user.run("threads", "prune", "--keep-last", "1").returncode == 0
    path = user.folder / "data" / "threads.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        counts = dict(connection.execute(
            "SELECT thread_id, COUNT(*) FROM checkpoints GROUP BY thread_id"))  # fmt: skip
        orphans = connection.execute(
            "SELECT COUNT(*) FROM writes WHERE checkpoint_id NOT IN "
            "(SELECT checkpoint_id FROM checkpoints)").fetchone()[0]  # fmt: skip
    assert counts == {"t": 1, "u": 1}
    assert orphans == 0
    ask(user, "And then what?", "--thread", "t")
    assert user.json("threads", "list")[0]["thread"] == "t"
    assert DEFAULTS["synthesis"] in user.served.script.of("reasoning")[-1]["user"]
    assert user.run("threads", "prune", "--keep-last", "0").returncode == 2


def test_prune_leaves_an_unfinished_run_what_it_needs(user):
    user.kill_in("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"})
    user.run("threads", "prune", "--keep-last", "1")
    assert user.json("threads", "resume", "t")["provenance"] == "full"
    assert user.asked() == Counter(EIGHT) + Counter(["synthesis"])


def test_a_hard_question_with_long_replies_is_a_small_thread(user):
    """Replies of 700 words drawn from a text of this project: at least 700 tokens each."""
    vocabulary = sorted(set(Path(__file__).read_text(encoding="utf-8").split()))
    for number, name in enumerate(["perception", "memory", *EIGHT[3:7]]):
        words = [vocabulary[(at * (7 + number) + number) % len(vocabulary)]
                 for at in range(REPLY_WORDS)]  # fmt: skip
        user.served.script.says[name] = " ".join(words)
    ask(user, HARD, "--thread", "t")
    assert stored(user) < 150_000


def stored(user: User) -> int:
    """Bytes of all checkpoints and writes."""
    path = user.folder / "data" / "threads.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(
            "SELECT (SELECT SUM(LENGTH(checkpoint) + LENGTH(metadata)) FROM checkpoints) + "
            "(SELECT SUM(LENGTH(value)) FROM writes)").fetchone()[0])  # fmt: skip


# ---- pauses, on the command line


def test_a_pause_where_nobody_can_be_asked_waits_for_resume(user):
    paused = user.run("ask", HARD, *user.here, "--thread", "t", "--pause-before", "creative",
                       "--pause-before", "synthesis")  # fmt: skip
    assert paused.returncode == 4
    assert "swarm-brain threads resume t" in paused.stderr
    assert user.asked()["creative"] == 0
    (row,) = user.json("threads", "list")
    assert row["state"] == "paused"
    (run,) = user.json("threads", "show", "t")
    assert [pause["expert"] for pause in run["paused"]] == ["creative"]
    assert HARD in run["paused"][0]["sees"]
    assert user.run("threads", "resume", "t").returncode == 4
    assert user.run("threads", "resume", "t", "--decide", "maybe").returncode == 2
    assert user.run("threads", "resume", "t", "--decide", "edit").returncode == 2
    assert user.asked()["creative"] == 0
    result = user.json("threads", "resume", "t", "--decide", "approve")
    assert result["provenance"] == "full"
    assert user.asked() == Counter(EIGHT)


def test_edit_and_skip_from_the_command_line(user):
    user.run("ask", HARD, *user.here, "--thread", "t", "--pause-before", "creative")
    (user.folder / "sees.txt").write_text("Think of eels.")
    result = user.json("threads", "resume", "t", "--decide", "edit", "--sees", "sees.txt")
    assert user.served.script.of("creative")[0]["user"] == "Think of eels."
    assert result["provenance"] == "full"
    user.run("ask", HARD, *user.here, "--thread", "u", "--pause-before", "synthesis")
    stopped = user.json("threads", "resume", "u", "--decide", "stop")
    assert stopped["stop_reason"] == "stopped"


class Terminal:
    """A command on a pseudo-terminal."""

    def __init__(self, user: User, *words: str):
        self.master, slave = pty.openpty()
        environment = user.environment | {"TERM": "dumb", "COLUMNS": "100"}
        self.child = subprocess.Popen([COMMAND, *words], cwd=user.folder, env=environment,
                                      stdin=slave, stdout=slave, stderr=slave,
                                      start_new_session=True)  # fmt: skip
        os.close(slave)
        self.seen = ""

    def until(self, words: str, seconds: float = 20) -> str:
        """Read until the words have appeared; what was seen since the last time."""
        start, end = len(self.seen), time.monotonic() + seconds
        os.set_blocking(self.master, False)
        while words not in self.seen[start:]:
            assert time.monotonic() < end, self.seen[-2000:]
            try:
                self.seen += os.read(self.master, 65_536).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:  # the command has ended
                break
        return self.seen[start:]

    def type(self, line: str) -> None:
        os.write(self.master, f"{line}\n".encode())

    def end(self) -> int:
        code = self.child.wait(20)
        os.close(self.master)
        return code


def test_at_a_terminal_the_user_is_shown_and_decides(user):
    terminal = Terminal(user, "ask", HARD, *user.here, "--thread", "t",
                        "--pause-before", "creative", "--pause-before", "synthesis")  # fmt: skip
    shown = terminal.until("[q]uit")
    assert "before creative" in shown
    assert HARD in shown
    terminal.type("what?")
    terminal.until("[q]uit")
    terminal.type("s")
    assert "before synthesis" in terminal.until("[q]uit")
    assert user.asked()["creative"] == user.asked()["synthesis"] == 0
    terminal.type("a")
    terminal.until("degraded")
    assert terminal.end() == 0
    assert user.asked() == Counter(set(EIGHT) - {"creative"})


def test_leaving_at_a_pause_keeps_the_run(user):
    terminal = Terminal(user, "ask", HARD, *user.here, "--thread", "t", "--pause-before",
                        "synthesis")  # fmt: skip
    terminal.until("[q]uit")
    terminal.type("q")
    terminal.until("threads resume t")
    assert terminal.end() == 4
    terminal = Terminal(user, "threads", "resume", "t")
    terminal.until("[q]uit")
    terminal.type("a")
    terminal.until("full (complete)")
    assert terminal.end() == 0
    assert user.asked() == Counter(EIGHT)


# ---- chat


def test_chat_is_one_thread_with_commands(user):
    lines = ["What does subject mean?", "/experts", "And object?", "/history", "/nonsense",
             "/set effort=high", "/set effort=medium", "/thread", "/recalled", "/new",
             "/quit"]  # fmt: skip
    done = user.run("chat", "--thread", "c", *user.here, stdin="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(DEFAULTS["synthesis"]) >= 4  # two answers, and the history of both
    assert "reasoning: ok, woken by perception" in done.stdout
    assert "unknown command /nonsense" in done.stdout
    assert "effort: Input should be" in done.stderr
    assert "swarm-brain chat --thread c" in done.stdout
    assert "What does subject mean?" in user.served.script.of("reasoning")[-1]["user"]
    (row,) = user.json("threads", "list")
    assert (row["thread"], row["questions"]) == ("c", 2)


def test_chat_goes_on_after_an_error_and_ends_with_the_input(user):
    user.served.script.says["synthesis"] = "Fine."
    done = user.run("chat", *user.here, "--budget-tokens", "1", stdin="What?\n/quit\n")
    assert done.returncode == 0
    assert "too small for one call" in done.stderr


def test_lists_are_json_even_when_empty(user):
    assert user.json("threads", "list") == []
    assert user.json("memory", "list") == []
    assert json.loads(user.run("memory", "stats", "--json").stdout)["episodes"] == 0


# ---- pictures


def test_a_threads_run_is_drawn(user):
    user.served.script.says["attention"] = '{"creative": 0.1, "analytical": 0.9}'
    ask(user, HARD, "--thread", "t")
    ask(user, "What is 2 + 2?", "--thread", "t", "--effort", "low")
    drawn = {}
    for run, words in (("1", ("--run", "1")), ("2", ())):
        done = user.run("graph", "--thread", "t", *words, "--svg", f"{run}.svg")
        assert done.returncode == 0, done.stderr
        drawn[run] = fromstring((user.folder / f"{run}.svg").read_text())
    first, second = (["".join(e.itertext()) for e in drawn[run].iter()] for run in "12")
    assert HARD in first
    assert "What is 2 + 2?" in second
    assert any(text.startswith("full (complete) · effort high") for text in first)
    assert "gated off" in first
    assert first.count("answered") == 7 + 1  # once in the legend
    assert second.count("answered") == 3 + 1
    assert second.count("not asked") == 5 + 1


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--thread", "t"), 2, "--svg FILE or --png FILE"),
        (("--thread", "t", "--svg", "x.svg"), 1, "no thread t"),
        (("--run", "1"), 2, "--thread"),
        (("--thread", "t", "--topology", "eight", "--svg", "x.svg"), 2, "--topology"),
        (("--svg", "none/x.svg"), 1, "none/x.svg"),
    ],
)
def test_a_picture_that_cannot_be(user, words, code, told):
    done = user.run("graph", *words)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(user.folder.glob("*.svg"))
