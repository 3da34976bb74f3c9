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

from tests.fakes import DEFAULTS, Script, endpoint
from tests.integration.test_durability import COMMAND, EIGHT, HARD, Place, Slow

pytestmark = [pytest.mark.integration, pytest.mark.parallel]

REPLY_WORDS = 700
HUNDRED = 100


@pytest.fixture
def place(tmp_path: Path):
    script = Script()
    slow = Slow(script)
    with endpoint(script) as served:
        yield Place(tmp_path, served, slow)
        slow.held = ""


def ask(place: Place, question: str, *words: str):
    return place.json("ask", question, *place.here, *words)


# ---- one thread, many questions


def test_a_thread_is_a_conversation(place):
    first = ask(place, "What does subject mean?", "--thread", "t")
    second = ask(place, "And what does object mean?", "--thread", "t")
    assert first["thread_id"] == second["thread_id"] == "t"
    prompt = place.served.script.of("reasoning")[-1]["user"]
    assert "What does subject mean?" in prompt
    assert DEFAULTS["synthesis"] in prompt
    (row,) = place.json("threads", "list")
    assert (row["questions"], row["question"], row["state"]) == (
        2,
        "And what does object mean?",
        "full",
    )


def test_without_a_name_each_question_has_a_thread_of_its_own(place):
    names = {ask(place, "What does subject mean?")["thread_id"] for _ in range(2)}
    assert len(names) == 2
    assert {row["thread"] for row in place.json("threads", "list")} == names


def test_no_save_leaves_no_trace(place):
    result = ask(place, HARD, "--no-save")
    assert result["thread_id"] is None
    assert result["recalled"] == []
    assert not (place.folder / "data").exists()
    refused = place.run("ask", HARD, "--no-save", "--thread", "t", *place.here)
    assert refused.returncode == 2


def test_the_same_question_recalls_the_first_answer_and_another_does_not(place):
    first = ask(place, "What does subject mean?")
    again = ask(place, "What does subject mean?")
    assert first["recalled"] == []
    (recalled,) = again["recalled"]
    assert recalled["score"] == pytest.approx(1, abs=1e-3)
    assert DEFAULTS["synthesis"] in recalled["text"]
    assert first["thread_id"] in recalled["origin"]
    assert "memory" in [entry["name"] for entry in again["experts"]]
    (prompt,) = [request["user"] for request in place.served.script.of("memory")]
    assert f'<recalled from="{recalled["origin"]}" date="{recalled["date"]}">' in prompt
    other = ask(place, "Who bakes sourdough bread?")
    assert other["recalled"] == []
    assert "memory" not in [entry["name"] for entry in other["experts"]]
    told = place.run("ask", "What does subject mean?", *place.here)
    assert "recalled 1.00: Question: What does subject mean?" in told.stderr


# ---- show


def test_show_tells_each_superstep(place):
    ask(place, HARD, "--thread", "t")
    told = place.run("threads", "show", "t").stdout
    for step, names in ((1, EIGHT[:3]), (2, EIGHT[3:6]), (3, EIGHT[6:7]), (4, EIGHT[7:])):
        part = told.split(f"step {step}\n")[1].split("\nstep ")[0]
        for name in names:
            assert re.search(rf"^{name} \(ok\) woken by ", part, re.M), (step, name)
            assert DEFAULTS[name].splitlines()[0] in part
    assert "creative 0.9" in told.replace("attention 0.90", "creative 0.9")
    assert re.search(r"synthesis \(ok\) woken by analytical \d\.\d\d, creative", told)
    assert "tokens" in told
    assert "full (complete)" in told
    (run,) = place.json("threads", "show", "t")
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
def test_a_thread_that_is_not_there(place, words):
    (place.folder / "f.txt").write_text("x")
    edit = ("--edit", "creative=f.txt") if words[0] == "fork" else ()
    told = place.run("threads", *words, *edit)
    assert told.returncode == 1
    assert "no thread t" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_finished_thread_has_nothing_to_resume(place):
    ask(place, HARD, "--thread", "t")
    told = place.run("threads", "resume", "t")
    assert told.returncode == 1
    assert "no unfinished run" in told.stderr


# ---- fork


def test_fork_replaces_one_signal_and_runs_on_from_there(place):
    ask(place, HARD, "--thread", "t")
    place.served.script.requests.clear()
    place.served.script.says["synthesis"] = lambda request: (
        "Eels.\nVerdict: eels" if "eels are the answer" in request["user"] else "No eels."
    )
    (place.folder / "draft.txt").write_text("I hold that eels are the answer.\nVerdict: eels")
    both = place.json("threads", "fork", "t", "--step", "2", "--edit", "creative=draft.txt")
    assert both["original"]["final_output"] == DEFAULTS["synthesis"]
    assert both["fork"]["final_output"] == "Eels.\nVerdict: eels"
    assert place.asked() == Counter(["synthesis", "meta_cognitive"])
    assert both["fork"]["usage"]["calls"] == 8
    humans = {e["name"]: e["human"] for e in both["fork"]["experts"]}
    assert humans == dict.fromkeys(EIGHT, None) | {"creative": "written"}
    runs = place.json("threads", "show", "t")
    assert [run["result"]["verdict"] for run in runs] == ["42", "eels"]
    assert runs[0]["run_id"] != runs[1]["run_id"]
    side_by_side = place.run("threads", "fork", "t", "--step", "2", "--edit", "creative=draft.txt",
                             COLUMNS="100")  # fmt: skip
    assert "original" in side_by_side.stdout
    assert "fork" in side_by_side.stdout


def test_fork_at_the_gate_changes_who_is_woken(place):
    ask(place, HARD, "--thread", "t")
    place.served.script.requests.clear()
    (place.folder / "gates.json").write_text('{"creative": 0.1, "analytical": 0.9}')
    both = place.json("threads", "fork", "t", "--step", "1", "--edit", "attention=gates.json")
    assert place.asked() == Counter(["reasoning", "analytical", "synthesis", "meta_cognitive"])
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
def test_a_fork_that_cannot_be(place, words, told):
    ask(place, HARD, "--thread", "t")
    place.served.script.requests.clear()
    (place.folder / "f.txt").write_text("Words without any gate.")
    (place.folder / "blank.txt").write_text(" \n")
    done = place.run("threads", "fork", "t", *words)
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert place.asked() == Counter()
    assert len(place.json("threads", "show", "t")) == 1


# ---- delete, prune, size


def test_delete_leaves_nothing_of_a_thread(place):
    secret = "What does zanzibarial mean?"
    ask(place, secret, "--thread", "t")
    ask(place, "What does other mean?", "--thread", "u")
    assert place.run("threads", "delete", "t", "nobody").returncode == 1
    assert len(place.json("threads", "list")) == 2
    assert place.run("threads", "delete", "t").returncode == 0
    assert [row["thread"] for row in place.json("threads", "list")] == ["u"]
    (memory,) = [m for m in place.json("memory", "list") if m["question"] == secret]
    assert place.run("memory", "forget", memory["id"]).returncode == 0
    for file in (place.folder / "data").rglob("*"):
        assert file.is_dir() or b"zanzibarial" not in file.read_bytes(), file


def test_prune_keeps_the_last_checkpoints_and_threads_go_on(place):
    for _ in range(2):
        ask(place, HARD, "--thread", "t")
    ask(place, HARD, "--thread", "u")
    assert place.run("threads", "prune", "--keep-last", "1").returncode == 0
    path = place.folder / "data" / "threads.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        counts = dict(connection.execute(
            "SELECT thread_id, COUNT(*) FROM checkpoints GROUP BY thread_id"))  # fmt: skip
        orphans = connection.execute(
            "SELECT COUNT(*) FROM writes WHERE checkpoint_id NOT IN "
            "(SELECT checkpoint_id FROM checkpoints)").fetchone()[0]  # fmt: skip
    assert counts == {"t": 1, "u": 1}
    assert orphans == 0
    ask(place, "And then what?", "--thread", "t")
    assert place.json("threads", "list")[0]["thread"] == "t"
    assert DEFAULTS["synthesis"] in place.served.script.of("reasoning")[-1]["user"]
    assert place.run("threads", "prune", "--keep-last", "0").returncode == 2


def test_prune_leaves_an_unfinished_run_what_it_needs(place):
    place.kill_in("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"})
    place.run("threads", "prune", "--keep-last", "1")
    assert place.json("threads", "resume", "t")["provenance"] == "full"
    assert place.asked() == Counter(EIGHT) + Counter(["synthesis"])


def test_a_hard_question_with_long_replies_is_a_small_thread(place):
    """Replies of 700 words drawn from a text of this project: at least 700 tokens each."""
    vocabulary = sorted(set(Path(__file__).read_text(encoding="utf-8").split()))
    for number, name in enumerate(["perception", "memory", *EIGHT[3:7]]):
        words = [vocabulary[(at * (7 + number) + number) % len(vocabulary)]
                 for at in range(REPLY_WORDS)]  # fmt: skip
        place.served.script.says[name] = " ".join(words)
    ask(place, HARD, "--thread", "t")
    assert stored(place) < 150_000


def stored(place: Place) -> int:
    """Bytes of all checkpoints and writes."""
    path = place.folder / "data" / "threads.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(
            "SELECT (SELECT SUM(LENGTH(checkpoint) + LENGTH(metadata)) FROM checkpoints) + "
            "(SELECT SUM(LENGTH(value)) FROM writes)").fetchone()[0])  # fmt: skip


# ---- pauses, on the command line


def test_a_pause_where_nobody_can_be_asked_waits_for_resume(place):
    paused = place.run("ask", HARD, *place.here, "--thread", "t", "--pause-before", "creative",
                       "--pause-before", "synthesis")  # fmt: skip
    assert paused.returncode == 4
    assert "swarm-brain threads resume t" in paused.stderr
    assert place.asked()["creative"] == 0
    (row,) = place.json("threads", "list")
    assert row["state"] == "paused"
    (run,) = place.json("threads", "show", "t")
    assert [pause["expert"] for pause in run["paused"]] == ["creative"]
    assert HARD in run["paused"][0]["sees"]
    assert place.run("threads", "resume", "t").returncode == 4
    assert place.run("threads", "resume", "t", "--decide", "maybe").returncode == 2
    assert place.run("threads", "resume", "t", "--decide", "edit").returncode == 2
    assert place.asked()["creative"] == 0
    result = place.json("threads", "resume", "t", "--decide", "approve")
    assert result["provenance"] == "full"
    assert place.asked() == Counter(EIGHT)


def test_edit_and_skip_from_the_command_line(place):
    place.run("ask", HARD, *place.here, "--thread", "t", "--pause-before", "creative")
    (place.folder / "sees.txt").write_text("Think of eels.")
    result = place.json("threads", "resume", "t", "--decide", "edit", "--sees", "sees.txt")
    assert place.served.script.of("creative")[0]["user"] == "Think of eels."
    assert result["provenance"] == "full"
    place.run("ask", HARD, *place.here, "--thread", "u", "--pause-before", "synthesis")
    stopped = place.json("threads", "resume", "u", "--decide", "stop")
    assert stopped["stop_reason"] == "stopped"


class Terminal:
    """A command on a pseudo-terminal."""

    def __init__(self, place: Place, *words: str):
        self.master, slave = pty.openpty()
        environment = place.environment | {"TERM": "dumb", "COLUMNS": "100"}
        self.child = subprocess.Popen([COMMAND, *words], cwd=place.folder, env=environment,
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


def test_at_a_terminal_the_user_is_shown_and_decides(place):
    terminal = Terminal(place, "ask", HARD, *place.here, "--thread", "t",
                        "--pause-before", "creative", "--pause-before", "synthesis")  # fmt: skip
    shown = terminal.until("[q]uit")
    assert "before creative" in shown
    assert HARD in shown
    terminal.type("what?")
    terminal.until("[q]uit")
    terminal.type("s")
    assert "before synthesis" in terminal.until("[q]uit")
    assert place.asked()["creative"] == place.asked()["synthesis"] == 0
    terminal.type("a")
    terminal.until("degraded")
    assert terminal.end() == 0
    assert place.asked() == Counter(set(EIGHT) - {"creative"})


def test_leaving_at_a_pause_keeps_the_run(place):
    terminal = Terminal(place, "ask", HARD, *place.here, "--thread", "t", "--pause-before",
                        "synthesis")  # fmt: skip
    terminal.until("[q]uit")
    terminal.type("q")
    terminal.until("threads resume t")
    assert terminal.end() == 4
    terminal = Terminal(place, "threads", "resume", "t")
    terminal.until("[q]uit")
    terminal.type("a")
    terminal.until("full (complete)")
    assert terminal.end() == 0
    assert place.asked() == Counter(EIGHT)


# ---- chat


def test_chat_is_one_thread_with_commands(place):
    lines = ["What does subject mean?", "/experts", "And object?", "/history", "/nonsense",
             "/set effort=high", "/set effort=medium", "/thread", "/recalled", "/new",
             "/quit"]  # fmt: skip
    done = subprocess.run([COMMAND, "chat", "--thread", "c", *place.here], cwd=place.folder,
                          env=place.environment, input="\n".join(lines) + "\n", text=True,
                          capture_output=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(DEFAULTS["synthesis"]) >= 4  # two answers, and the history of both
    assert "reasoning: ok, woken by perception" in done.stdout
    assert "no command /nonsense" in done.stdout
    assert "effort: Input should be" in done.stderr
    assert "swarm-brain chat --thread c" in done.stdout
    assert "What does subject mean?" in place.served.script.of("reasoning")[-1]["user"]
    (row,) = place.json("threads", "list")
    assert (row["thread"], row["questions"]) == ("c", 2)


def test_chat_goes_on_after_an_error_and_ends_with_the_input(place):
    place.served.script.says["synthesis"] = "Fine."
    done = subprocess.run([COMMAND, "chat", *place.here, "--budget-tokens", "1"], cwd=place.folder,
                          env=place.environment, input="What?\n/quit\n", text=True,
                          capture_output=True, timeout=60)  # fmt: skip
    assert done.returncode == 0
    assert "pays for no call" in done.stderr


def test_lists_are_json_even_when_empty(place):
    assert place.json("threads", "list") == []
    assert place.json("memory", "list") == []
    assert json.loads(place.run("memory", "stats", "--json").stdout)["episodes"] == 0


# ---- pictures


def test_a_threads_run_is_drawn(place):
    place.served.script.says["attention"] = '{"creative": 0.1, "analytical": 0.9}'
    ask(place, HARD, "--thread", "t")
    ask(place, "What is 2 + 2?", "--thread", "t", "--effort", "low")
    drawn = {}
    for run, words in (("1", ("--run", "1")), ("2", ())):
        done = place.run("graph", "--thread", "t", *words, "--svg", f"{run}.svg")
        assert done.returncode == 0, done.stderr
        drawn[run] = fromstring((place.folder / f"{run}.svg").read_text())
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
def test_a_picture_that_cannot_be(place, words, code, told):
    done = place.run("graph", *words)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(place.folder.glob("*.svg"))
