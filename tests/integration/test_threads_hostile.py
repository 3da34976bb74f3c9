"""Threads and memory on the command line, tried by a hostile user."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing

import pytest

from swarm_brain.threads.saver import CompressedSerializer
from tests.integration.commands import COMMAND, Finished
from tests.integration.processes import until
from tests.integration.user import EIGHT, HARD, User

PAUSED = ("--pause-before", "creative")
ETHICAL = """extends: eight
experts:
  ethical:
    kind: proposer
    woken_by: [{from: attention, effort: high}]
    hears: [perception]
"""


def ask(user: User, question: str, *words: str):
    return user.run("ask", question, *user.here, *words)


def told(done: Finished, code: int) -> str:
    """What was said on standard error; with the exit code, and never a traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr
    return done.stderr


# ---- names


@pytest.mark.parametrize(
    "name", ["", "  ", b"\xff\xfe".decode(errors="surrogateescape")], ids=ascii
)
def test_a_name_that_is_none_is_refused(user, name):
    told(ask(user, HARD, "--thread", name), 2)
    told(user.run("threads", "show", name), 2)
    told(user.run("memory", "search", name), 2)
    told(user.run("memory", "list", "--space", name), 2)
    assert user.asked() == Counter()


def test_names_that_look_like_markup_or_options_are_names(user):
    for name in ("[/]", "-x", "a b/c ü"):
        told(ask(user, "What is it?", "--thread", name), 0)
    lines = user.run("threads", "list")
    told(lines, 0)
    assert "[/]" in lines.stdout
    (user.folder / "m.jsonl").write_text(
        '{"id":"[/]","kind":"episode","text":"x","date":"2026-01-01","model":"m","question":"x",'
        '"answer":"a","provenance":"full"}\n'
    )
    told(user.run("memory", "import", "m.jsonl"), 0)
    assert "[/]" in user.run("memory", "list").stdout


def test_the_command_that_is_named_works_in_a_shell(user):
    paused = ask(user, HARD, "--thread", "a b", *PAUSED)
    assert "`swarm-brain threads resume 'a b'`" in told(paused, 4)


# ---- one JSON document, whatever happens


def test_a_pause_is_told_in_json(user):
    paused = ask(user, HARD, "--thread", "t", "--json", *PAUSED)
    told(paused, 4)
    result = json.loads(paused.stdout)
    assert [pause["expert"] for pause in result["paused"]] == ["creative"]
    assert (result["thread_id"], result["final_output"], result["error"]) == ("t", None, None)
    assert json.loads(user.run("threads", "resume", "t", "--json").stdout)["paused"]


def test_a_paused_fork_waits(user):
    told(ask(user, HARD, "--thread", "t", "--pause-before", "synthesis"), 4)
    told(user.run("threads", "resume", "t", "--decide", "approve"), 0)
    (user.folder / "f.txt").write_text("Eels.")
    fork = user.run("threads", "fork", "t", "--step", "2", "--edit", "creative=f.txt", "--json")
    told(fork, 4)
    assert json.loads(fork.stdout)["fork"] is None
    told(user.run("threads", "resume", "t", "--decide", "approve"), 0)


def test_an_interrupted_run_names_the_command_that_goes_on(user):
    user.slow.held = "synthesis"
    with user.started("ask", HARD, *user.here, "--thread", "t", "--json") as child:
        until(lambda: user.asked()["synthesis"] == 1, 60, child)
        os.kill(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=20)
    user.slow.held = ""
    assert child.returncode == 1
    assert json.loads(out)["error"] == "interrupted"
    assert "swarm-brain threads resume t" in err
    assert "not saved" not in err
    assert user.json("threads", "resume", "t")["provenance"] == "full"


# ---- pauses


def test_a_pause_that_nobody_can_decide_is_refused_before_anything_is_asked(user):
    assert "no terminal is attached" in told(ask(user, HARD, "--no-save", *PAUSED), 2)
    assert user.asked() == Counter()


def test_a_pause_before_an_expert_of_ones_own_can_be_decided(user):
    (user.folder / "prompts").mkdir()
    (user.folder / "prompts" / "ethical.md").write_text("# Expert: ethical (x)\nWrite.\n")
    (user.folder / "mine.yaml").write_text(ETHICAL)
    own = ("--topology", "mine.yaml", "--pause-before", "ethical")
    told(ask(user, HARD, "--thread", "t", *own), 4)
    assert [row["state"] for row in user.json("threads", "list")] == ["paused"]
    (run,) = user.json("threads", "show", "t")
    assert [pause["expert"] for pause in run["paused"]] == ["ethical"]
    told(user.run("threads", "resume", "t", "--decide", "approve"), 0)
    assert user.asked() == Counter([*EIGHT, "ethical"])


# ---- runs that cannot go on


def test_a_strict_run_that_failed_gives_its_thread_back(user):
    says = user.served.script.says
    says["creative"], well = (lambda _: (400, {}, "{}")), says["creative"]
    told(ask(user, HARD, "--thread", "t", "--strict"), 1)
    assert "ask again" in told(user.run("threads", "resume", "t"), 1)
    says["creative"] = well
    told(ask(user, HARD, "--thread", "t"), 0)
    assert [run["result"] is None for run in user.json("threads", "show", "t")] == [True, False]


def test_a_question_that_could_not_be_asked_is_listed_so_that_it_can_be_deleted(user):
    told(ask(user, "What does zanzibarial mean?", "--budget-tokens", "1"), 1)
    (row,) = user.json("threads", "list")
    assert row["state"] == "not begun"
    told(user.run("threads", "delete", row["thread"]), 0)
    assert user.json("threads", "list") == []


def test_a_thread_of_another_version_is_told_and_hides_no_other(user):
    told(ask(user, HARD, "--thread", "new"), 0)
    told(ask(user, HARD, "--thread", "old", "--pause-before", "synthesis"), 4)
    _rewrite(user, "old", lambda state: state.get("settings", {}).update(unheard_of=1))
    assert "unheard_of" in told(user.run("threads", "resume", "old", "--decide", "approve"), 1)
    _rewrite(user, "old", lambda state: [s.pop("human") for s in state.get("signals", [])])
    assert {row["thread"]: row["state"] for row in user.json("threads", "list")} == {
        "old": "unreadable",
        "new": "full",
    }
    assert "'human'" in told(user.run("threads", "show", "old"), 1)
    told(user.run("threads", "delete", "old"), 0)


def _rewrite(user: User, thread: str, change) -> None:
    """Change the saved states of a thread, as another version might have written them."""
    serde = CompressedSerializer()
    with closing(sqlite3.connect(user.folder / "data" / "threads.sqlite")) as connection:
        rows = connection.execute(
            "SELECT rowid, type, checkpoint FROM checkpoints WHERE thread_id = ?", [thread]
        ).fetchall()
        for row, kind, data in rows:
            saved = serde.loads_typed((kind, data))
            change(saved["channel_values"])
            connection.execute(
                "UPDATE checkpoints SET type = ?, checkpoint = ? WHERE rowid = ?",
                [*serde.dumps_typed(saved), row],
            )
        connection.commit()


# ---- damaged files


def test_damaged_files_are_told_without_a_traceback(user):
    told(ask(user, HARD, "--thread", "t"), 0)
    path = user.folder / "data" / "threads.sqlite"
    data = bytearray(path.read_bytes())
    for at in range(8192, len(data) - 100, 700):
        data[at : at + 40] = random.Random(at).randbytes(40)
    path.write_bytes(data)
    commands = [("ask", HARD, *user.here, "--thread", "t"), ("threads", "list"),
                ("threads", "show", "t"), ("threads", "delete", "t"),
                ("threads", "prune", "--keep-last", "1")]  # fmt: skip
    for words in commands:
        assert "malformed" in told(user.run(*words), 1)


def test_broken_memories_leave_threads_usable(user):
    told(ask(user, HARD, "--thread", "t", *PAUSED), 4)
    (user.folder / "data" / "memory.sqlite").write_bytes(random.Random(1).randbytes(9_000))
    assert "not be remembered" in told(user.run("threads", "list"), 0)
    told(user.run("threads", "resume", "t", "--decide", "approve"), 0)
    told(user.run("threads", "delete", "t"), 0)


# ---- privacy


def test_delete_leaves_nothing_while_another_process_has_the_files_open(user):
    chat = [COMMAND, "chat", "--thread", "c", *user.here]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(chat, cwd=user.folder, env=user.environment, stdin=subprocess.PIPE,
                          **quiet) as child:  # fmt: skip
        child.stdin.write("What is an eel?\n")
        child.stdin.flush()
        until(lambda: user.asked()["synthesis"] == 1, 60, child)
        time.sleep(0.5)
        told(ask(user, "What does zanzibarial mean?", "--thread", "t"), 0)
        told(user.run("threads", "delete", "t"), 0)
        told(user.run("memory", "forget", "--all"), 0)
        for file in (user.folder / "data").rglob("*"):
            assert file.is_dir() or b"zanzibarial" not in file.read_bytes(), file
        child.stdin.close()
        assert child.wait(20) == 0


def test_delete_takes_what_was_kept_about_the_calls_of_a_killed_run(user):
    user.kill_in("synthesis", {*EIGHT} - {"synthesis", "meta_cognitive"})
    told(user.run("threads", "delete", "t"), 0)
    with closing(sqlite3.connect(user.folder / "data" / "memory.sqlite")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM memory_items").fetchone() == (0,)


def test_what_a_person_wrote_into_a_fork_is_not_remembered_as_an_answer(user):
    told(ask(user, HARD, "--thread", "t"), 0)
    (user.folder / "f.txt").write_text("Eels rule.\nVerdict: eels")
    both = user.json("threads", "fork", "t", "--step", "3", "--edit", "synthesis=f.txt")
    assert both["fork"]["final_output"].startswith("Eels rule")
    assert any("a person wrote the words of synthesis" in n for n in both["fork"]["notes"])
    assert len(user.json("memory", "list")) == 1
    assert "synthesis (ok, written by a person)" in user.run("threads", "show", "t").stdout


# ---- chat


def test_chat_without_any_input_ends(user):
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", COMMAND, "chat", *user.here]
    done = subprocess.run(shell, cwd=user.folder, env=user.environment, text=True,
                          capture_output=True, timeout=30)  # fmt: skip
    told(done, 0)
