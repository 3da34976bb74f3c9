"""Threads that version 0.1.0 saved, with the commands of this version and a scripted endpoint."""

from __future__ import annotations

import shutil

import pytest

from tests.fakes import DEFAULTS
from tests.integration.user import User
from tests.saved_threads import FIXTURE


@pytest.fixture
def upgraded(user: User) -> User:
    """A user who has asked with version 0.1.0, of an endpoint that has moved since."""
    (user.folder / "data").mkdir()
    shutil.copy(FIXTURE, user.folder / "data" / "threads.sqlite")
    return user


def test_they_are_listed_shown_and_drawn(upgraded):
    rows = {row["thread"]: row for row in upgraded.json("threads", "list")}
    assert len(rows) == 12
    assert rows["conversation"]["questions"] == 3
    assert rows["paused"]["state"] == "paused"
    for thread in rows:
        assert upgraded.json("threads", "show", thread)
        assert upgraded.run("graph", "--thread", thread, "--svg", "run.svg").returncode == 0


@pytest.mark.parametrize("decision", [("approve",), ("skip",), ("edit", "--sees", "sees.txt")])
def test_a_paused_one_is_resumed(upgraded, decision):
    (upgraded.folder / "sees.txt").write_text("Something else.")
    here = {"OPENAI_COMPATIBLE_BASE_URL": upgraded.served.url}
    done = upgraded.json("threads", "resume", "paused", "--decide", *decision, **here)
    (said,) = [entry for entry in done["experts"] if entry["name"] == "synthesis"]
    assert said["human"] == decision[0]
    sees = [request["user"] for request in upgraded.served.script.of("synthesis")]
    assert len(sees) == (decision[0] != "skip")
    assert ("Something else." in str(sees)) == (decision[0] == "edit")


def test_a_killed_one_is_resumed(upgraded):
    here = {"OPENAI_COMPATIBLE_BASE_URL": upgraded.served.url}
    done = upgraded.json("threads", "resume", "killed", **here)
    assert done["final_output"] == DEFAULTS["synthesis"]
    assert len(upgraded.served.script.requests) < len(done["experts"])


def test_a_finished_one_is_forked_and_a_failed_one_refused(upgraded):
    here = {"OPENAI_COMPATIBLE_BASE_URL": upgraded.served.url}
    (upgraded.folder / "view.txt").write_text("Another view.\nVerdict: 7")
    words = ("threads", "fork", "hard", "--step", "2", "--edit", "creative=view.txt")
    both = upgraded.json(*words, **here)
    assert both["fork"]["final_output"] == DEFAULTS["synthesis"]
    assert "Another view." in upgraded.served.script.of("synthesis")[-1]["user"]
    assert upgraded.run("threads", "resume", "strict", **here).returncode == 1


def test_a_conversation_is_continued(upgraded):
    words = ("And what does object mean?", "--thread", "conversation", *upgraded.here)
    assert upgraded.json("ask", *words)["provenance"] == "full"
    runs = upgraded.json("threads", "show", "conversation")
    assert runs[2]["question"] in upgraded.served.script.of("reasoning")[-1]["user"]
    assert len(runs) == 4
