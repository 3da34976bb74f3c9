"""Threads and memories in a real PostgreSQL, named by SWARM_BRAIN_DATABASE_URL."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langgraph.store.base import PutOp

from swarm_brain import prompts
from swarm_brain.graph.errors import MemoryUnavailable
from swarm_brain.memory import embeddings
from swarm_brain.memory.embeddings import Embedder
from swarm_brain.memory.opening import close_store, open_store
from swarm_brain.memory.space import Space
from swarm_brain.runs.saved import saved_runs
from swarm_brain.threads.checkpoints import count_runs
from swarm_brain.threads.postgres import open_postgres
from swarm_brain.threads.sqlite import open_sqlite
from tests.fakes import DEFAULTS, Endpoint, asker, endpoint
from tests.integration.commands import COMMAND, TRACEBACK, Finished, run_alone, run_here
from tests.integration.postgres import Cluster
from tests.integration.processes import REPO, plain_environment, process, until
from tests.saved_threads import FIXTURE, RUNS, copy

HARD = "Why is the subject what it is?"
SIMPLE = "What does subject mean?"
UNRELATED = "How many legs has a spider?"
ANSWER = "The subject is what all of this says.\nVerdict: 42\n"
ICU = ("LOCALE_PROVIDER icu", "ICU_LOCALE 'en-US'", "LOCALE 'C.UTF-8'")


@dataclass
class Told:
    """What a command said, in or out of this process."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Brain:
    """The command line over one database, asked in this process or in one of its own."""

    server: Cluster
    database: str
    folder: Path
    served: Endpoint
    patch: pytest.MonkeyPatch

    @property
    def here(self) -> tuple[str, ...]:
        return ("--model", "openai-compatible:m", "--base-url", self.served.url)

    @property
    def url(self) -> str:
        return self.server.url(self.database)

    def use(self, url: str) -> None:
        """Use this database from now on in this process."""
        self.patch.setenv("SWARM_BRAIN_DATABASE_URL", url)

    def __call__(self, *words: str) -> Told:
        """In this process, which saves the time to start one."""
        return self._told(run_here(*words, cwd=self.folder, env=dict(os.environ)))

    def ask(self, question: str, *words: str) -> Told:
        return self("ask", question, *self.here, *words)

    @property
    def environment(self) -> dict[str, str]:
        return plain_environment(
            self.folder,
            SWARM_BRAIN_DATABASE_URL=self.url,
            SWARM_BRAIN_DATA_DIR=str(self.folder / "data"),
            PYTHONPATH=str(REPO),
        )

    def command(self, *words: str) -> Told:
        """In a process of its own."""
        return self._told(run_alone(*words, cwd=self.folder, env=self.environment))

    def _told(self, done: Finished) -> Told:
        assert self.server.password not in done.stdout + done.stderr
        assert TRACEBACK not in done.stderr
        return Told(done.returncode, done.stdout, done.stderr)

    def started(self, *words: str | Path) -> Any:
        """A context manager: a process that goes on by itself."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return process(*words, cwd=self.folder, env=self.environment, **pipes)

    @contextmanager
    def store(self) -> Iterator[Any]:
        """The store that the command line would open."""
        opened = open_store()
        try:
            yield opened
        finally:
            close_store(opened)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.server.execute(sql, self.database)


@pytest.fixture
def brain(
    request: pytest.FixtureRequest,
    postgres: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Brain]:
    """A brain over a new database whose language is not that of bytes."""
    postgres.start()
    yield from _brain(postgres, postgres.create(*ICU), tmp_path, monkeypatch)


@pytest.fixture
def vectors(
    pgvector: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Brain]:
    """The same over a new database that can search vectors by itself."""
    yield from _brain(pgvector, pgvector.create(), tmp_path, monkeypatch)


def _brain(
    server: Cluster, database: str, folder: Path, patch: pytest.MonkeyPatch
) -> Iterator[Brain]:
    patch.chdir(folder)
    patch.setenv("SWARM_BRAIN_DATA_DIR", str(folder / "data"))
    patch.setenv("COLUMNS", "120")
    with endpoint() as served:
        made = Brain(server, database, folder, served, patch)
        made.use(made.url)
        yield made


# ---- threads and memories


def test_a_second_thread_recalls_the_first_answer(brain: Brain):
    first = brain.ask(HARD, "--thread", "one")
    assert (first.code, first.out) == (0, ANSWER), first.err
    again = brain.command("ask", HARD, *brain.here, "--thread", "two", "--json")
    assert again.code == 0, again.err
    (recalled,) = again.json["recalled"]
    assert recalled["origin"] == "openai-compatible:m, thread one"
    assert recalled["score"] == pytest.approx(1, abs=0.01)
    assert brain.ask(UNRELATED, "--json").json["recalled"] == []
    assert not (brain.folder / "data").exists() or not list(
        (brain.folder / "data").glob("*.sqlite")
    )


def test_memory_commands(brain: Brain):
    for question in (HARD, UNRELATED):
        assert brain.ask(question, "--thread", "t").code == 0
    listed = brain("memory", "list", "--json").json
    assert [item["question"] for item in listed] == [UNRELATED, HARD]
    found = brain("memory", "search", "subject", "--json").json
    assert found[0]["question"] == HARD
    assert found[0]["score"] > found[1]["score"]
    stats = brain("memory", "stats", "--json").json
    assert (stats["episodes"], stats["unconsolidated"]) == (2, 2)
    assert brain("memory", "show", listed[0]["id"][:8], "--json").json["answer"]

    exported = brain("memory", "export").out
    (brain.folder / "memories.jsonl").write_text(exported)
    assert "forgotten: 2" in brain("memory", "forget", "--all").out
    assert brain.rows("SELECT count(*) FROM memory_vectors") == [(0,)]
    assert brain.rows("SELECT count(*) FROM memory_items") == [(0,)]
    assert "imported: 2" in brain("memory", "import", "memories.jsonl").out
    assert sorted(brain("memory", "export").out.splitlines()) == sorted(exported.splitlines())
    assert brain("memory", "search", "subject", "--json").json[0]["question"] == HARD
    assert "embedded: 2" in brain("memory", "reindex").out


def test_consolidation(brain: Brain):
    brain.ask(HARD, "--thread", "t")
    facts = {"facts": [{"text": "The subject is 42.", "episodes": [1]}]}
    brain.served.script.says[asker(prompts.load("consolidation"))] = json.dumps(facts)
    report = brain("memory", "consolidate", *brain.here, "--json").json
    assert (report["read"], report["facts"], report["left"]) == (1, 1, 0)
    again = brain("memory", "consolidate", *brain.here, "--json").json
    assert (again["read"], again["facts"]) == (0, 0)
    assert brain("memory", "stats", "--json").json["facts"] == 1


def test_thread_commands(brain: Brain):
    result = brain.ask(HARD, "--thread", "t", "--json").json
    assert brain.ask(SIMPLE, "--thread", "t").code == 0
    (row,) = brain("threads", "list", "--json").json
    assert (row["thread"], row["questions"], row["state"]) == ("t", 2, "full")
    shown = brain("threads", "show", "t", "--json").json
    assert [run["question"] for run in shown] == [HARD, SIMPLE]
    assert shown[0]["result"] == result
    assert brain("threads", "resume", "t").code == 1  # nothing unfinished

    assert "deleted" in brain("threads", "prune", "--keep-last", "1").out
    assert brain.rows("SELECT count(*) FROM checkpoints") == [(1,)]
    (kept,) = brain("threads", "show", "t", "--json").json
    assert kept["question"] == SIMPLE
    named = brain.rows("""SELECT count(*) FROM checkpoint_blobs b JOIN checkpoints c
        ON c.checkpoint -> 'channel_versions' ->> b.channel = b.version""")
    assert brain.rows("SELECT count(*) FROM checkpoint_blobs") == named
    assert brain.ask(SIMPLE, "--thread", "t").code == 0  # it goes on

    assert brain("threads", "delete", "t").code == 0
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        assert brain.rows(f"SELECT count(*) FROM {table}") == [(0,)]
    assert brain("threads", "list", "--json").json == []


def test_a_paused_run_goes_on(brain: Brain):
    paused = brain.ask(HARD, "--thread", "t", "--pause-before", "synthesis")
    assert paused.code == 4
    before = len(brain.served.bodies)
    assert brain("threads", "list", "--json").json[0]["state"] == "paused"
    assert "unfinished run" in brain.ask(SIMPLE, "--thread", "t").err
    assert len(brain.served.bodies) == before
    resumed = brain("threads", "resume", "t", "--decide", "approve", "--json")
    assert resumed.code == 0
    assert resumed.json["provenance"] == "full"


async def test_threads_are_read_as_in_a_file(brain: Brain):
    file = Path(shutil.copy(FIXTURE, brain.folder))
    async with open_sqlite(file) as saved, open_postgres(brain.url) as moved:
        await copy(saved, moved)
        assert set(await moved.ids()) == set(RUNS)
        assert await count_runs(moved, list(RUNS)) == RUNS
        for thread in RUNS:
            assert await saved_runs(moved, thread) == await saved_runs(saved, thread)
        deleted = await moved.keep_last(1)
        assert deleted == await saved.keep_last(1) > 0
        assert await count_runs(moved, list(RUNS)) == dict.fromkeys(RUNS, 1)


def test_a_fork_goes_its_own_way(brain: Brain):
    asked = brain.ask(HARD, "--thread", "t", "--json").json
    (brain.folder / "words").write_text("Quite another thought.\nVerdict: 7")
    brain.served.script.says["synthesis"] = "It is seven.\nVerdict: 7"
    step = next(e["step"] for e in asked["experts"] if e["name"] == "reasoning")
    words = ("--step", str(step), "--edit", "reasoning=words", "--json")
    forked = brain("threads", "fork", "t", *words)
    assert forked.code == 0, forked.err
    both = forked.json
    assert (both["original"]["verdict"], both["fork"]["verdict"]) == ("42", "7")


# ---- a server that cannot be used


def test_wrong_password_is_told_without_it(brain: Brain):
    brain.use(brain.server.url(brain.database, password="wrong-secret-1"))
    started = time.monotonic()
    told = brain.ask(SIMPLE, "--thread", "t", "--json")
    assert time.monotonic() - started < 8
    assert (told.code, told.json["final_output"], told.json["thread_id"]) == (0, ANSWER[:-1], None)
    assert "password authentication failed" in told.err
    assert "wrong-secret-1" not in told.out + told.err
    listed = brain("threads", "list")
    assert listed.code == 1
    assert "password authentication failed" in listed.err
    assert "wrong-secret-1" not in listed.err


# What is wrong with the address, and what the message must say.
WRONG = {
    "postgresql//u:wrong-secret-1@127.0.0.1/x": "postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    "mysql://u:wrong-secret-1@127.0.0.1/x": "postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    "wrong-secret-1": "postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    "postgresql://u:wrong-secret-1@x@127.0.0.1/x": "%40",
    "postgresql://u:wrong-secret-1/2@127.0.0.1/x": "%2F",
    "postgresql://u:wrong-secret-1@127.0.0.1:wrong-secret-1/x": "PORT",
    "postgresql://u:wrong-secret-1@127.0.0.1/x?no_such=wrong-secret-1": "no_such",
}


@pytest.mark.parametrize("url", WRONG)
def test_what_is_no_address_of_a_database_is_a_wrong_setting(brain: Brain, url):
    brain.use(url)
    for words in (("ask", SIMPLE, *brain.here), ("threads", "list"), ("memory", "list")):
        told = brain(*words)
        assert told.code == 2
        assert "SWARM_BRAIN_DATABASE_URL" in told.err
        assert WRONG[url] in told.err
        assert "wrong-secret" not in told.err
        assert told.out == ""
    assert brain.served.bodies == []


def test_no_such_database_or_host_is_told_and_the_answer_is_printed(brain: Brain):
    for url, why in (
        (brain.server.url("no_such"), 'database "no_such" does not exist'),
        ("postgresql://u:wrong-secret-1@no-such-host.invalid/x", "no-such-host.invalid"),
    ):
        brain.use(url)
        told = brain.ask(SIMPLE)
        assert (told.code, told.out) == (0, ANSWER)
        assert why in told.err
        assert told.err.count("will not be saved") == 1
        assert "wrong-secret-1" not in told.err


@pytest.mark.slow
def test_server_stopped_before_the_run(brain: Brain):
    brain.server.stop()
    told = brain.command("ask", SIMPLE, *brain.here)
    assert (told.code, told.out) == (0, ANSWER)
    assert "refused" in told.err
    assert "will not be saved" in told.err
    assert len(told.err.splitlines()) < 8, told.err
    listed = brain("memory", "list")
    assert (listed.code, listed.out) == (1, "")
    assert "refused" in listed.err


@pytest.mark.slow
@pytest.mark.parametrize("expert", ["perception", "synthesis"])
def test_server_stopped_in_the_middle_of_a_run(brain: Brain, expert):
    asked = brain.served.script.says[expert]

    def stop(_: Any) -> Any:
        brain.server.stop()
        return asked

    brain.served.script.says[expert] = stop
    started = time.monotonic()
    told = brain.command("ask", HARD, *brain.here, "--thread", "t")
    assert time.monotonic() - started < 20
    assert (told.code, told.out) == (0, ANSWER), told.err
    assert "not saved completely" in told.err
    assert "not remembered" in told.err
    assert len(told.err.splitlines()) < 12, told.err
    brain.server.start()
    brain.served.script.says[expert] = asked
    assert brain("threads", "resume", "t").code == 0


# ---- kill -9


@pytest.mark.slow
@pytest.mark.parametrize("slow", ["attention", "analytical", "synthesis"])
def test_killed_in_a_wave_and_resumed_no_finished_call_is_made_again(brain: Brain, slow):
    says, held, begun = brain.served.script.says, threading.Event(), threading.Event()
    usual = says[slow]

    def late(_: Any) -> Any:
        begun.set()
        held.wait(30)
        return usual

    says[slow] = late
    with brain.started(COMMAND, "ask", HARD, *brain.here, "--thread", "t") as child:
        until(begun.is_set, 30, child)
        asked = [name for name in brain.served.script.askers if name != slow]
        until(lambda: set(asked) <= _written(brain), 30, child)
        asked = [name for name in brain.served.script.askers if name != slow]
        child.kill()
        child.wait()
    held.set()
    says[slow] = usual
    (row,) = brain("threads", "list", "--json").json
    assert row["state"] == "unfinished"
    result = brain("threads", "resume", "t", "--json")
    assert result.code == 0, result.err
    assert result.json["final_output"] == ANSWER[:-1]
    askers = brain.served.script.askers
    assert {name: askers.count(name) for name in set(askers)} == {
        name: 2 if name == slow else 1 for name in (*DEFAULTS,)
    }
    lost = {e["name"]: e for e in result.json["experts"]}[slow]
    assert (lost["attempts"], lost["estimated"]) == (2, True)
    assert [e["name"] for e in result.json["experts"] if e["estimated"]] == [slow]
    assert result.json["usage"]["calls"] == len(brain.served.bodies)
    assert set(asked) < set(askers)
    assert brain("memory", "stats", "--json").json["episodes"] == 1
    assert brain.rows("SELECT count(*) FROM memory_items WHERE namespace LIKE '%calls%'") == [(0,)]


def _written(brain: Brain) -> set[str]:
    """The experts whose words have reached the database."""
    runs = brain("threads", "show", "t", "--json").json
    return {said["expert"] for run in runs for step in run["steps"] for said in step["experts"]}


# ---- two processes

WORKER = """
import asyncio, json, sys
from rich.console import Console
from swarm_brain.graph.context import make_context
from swarm_brain.graph.loading import load
from swarm_brain.cli.terminal.session import session

async def work(name, count, url):
    async with session(Console(stderr=True), needed=True) as opened:
        brain = opened.brain(load())
        context = make_context({"model": "openai-compatible:m", "base_url": url})
        async def one(number):
            subject = f"{name}{number}"
            config = {"configurable": {"thread_id": subject}}
            result = await brain.ainvoke(
                {"question": f"What does {subject} mean?"}, config, context=context
            )
            return subject, result["final_output"], result["notes"]
        print(json.dumps(await asyncio.gather(*(one(n) for n in range(count)))))

asyncio.run(work(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
"""


def _about_its_subject(request: dict[str, Any]) -> str:
    (subject,) = set(
        re.findall(r"What does (\w+) mean", request["user"].split("recalled")[0][:2000])
    )
    return f"It means {subject}.\nVerdict: {subject}"


@pytest.mark.slow
def test_two_processes_lose_and_mix_nothing(brain: Brain):
    brain.served.script.says |= {"synthesis": _about_its_subject, "reasoning": _about_its_subject}
    command = (sys.executable, "-c", WORKER)
    with (
        brain.started(*command, "alpha", "20", brain.served.url) as one,
        brain.started(*command, "beta", "20", brain.served.url) as other,
    ):
        told = [json.loads(_output(child)) for child in (one, other)]
    answers = [answer for part in told for answer in part]
    assert len(answers) == 40
    for subject, output, notes in answers:
        assert (output, notes) == (f"It means {subject}.\nVerdict: {subject}", [])
    rows = {row["thread"]: row for row in brain("threads", "list", "--json").json}
    assert set(rows) == {subject for subject, *_ in answers}
    assert all(row["question"] == f"What does {name} mean?" for name, row in rows.items())
    memories = brain("memory", "list", "--json").json
    assert sorted(m["answer"] for m in memories) == sorted(output for _, output, _ in answers)
    assert all(m["answer"].endswith(m["thread"]) for m in memories)
    assert brain.rows("SELECT count(*) FROM memory_vectors") == [(40,)]
    found = brain("memory", "search", "What does alpha7 mean?", "--limit", "100", "--json").json
    assert len(found) == 40


def _output(child: Any) -> str:
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert TRACEBACK not in err
    return out


def test_a_thread_runs_in_one_process_at_a_time(brain: Brain):
    held, begun = threading.Event(), threading.Event()
    usual = brain.served.script.says["reasoning"]

    def late(_: Any) -> Any:
        begun.set()
        held.wait(30)
        return usual

    brain.served.script.says["reasoning"] = late
    with brain.started(COMMAND, "ask", SIMPLE, *brain.here, "--thread", "t") as child:
        until(begun.is_set, 30, child)
        before = len(brain.served.bodies)
        for words in (("ask", SIMPLE, *brain.here, "--thread", "t"), ("threads", "resume", "t"),
                      ("threads", "delete", "t")):  # fmt: skip
            refused = brain(*words)
            assert refused.code == 1
            assert "running in another process" in refused.err
        assert len(brain.served.bodies) == before
        held.set()
        assert _output(child) == ANSWER
    assert brain.ask(SIMPLE, "--thread", "t").code == 0


OPENER = """
import asyncio, sys
from swarm_brain.memory.opening import close_store, open_store
from swarm_brain.threads.opening import open_threads

async def threads():
    async with open_threads():
        pass

print("ready", flush=True)
for line in sys.stdin:
    import os
    os.environ["SWARM_BRAIN_DATABASE_URL"] = line.strip()
    try:
        if sys.argv[1] == "threads":
            asyncio.run(threads())
            close_store(open_store())
        else:
            close_store(open_store())
            asyncio.run(threads())
        print("opened", flush=True)
    except Exception as error:
        print(repr(error), flush=True)
"""


@pytest.mark.slow
def test_a_new_database_is_opened_by_three_at_once(brain: Brain):
    _open_at_once(brain)


def _open_at_once(brain: Brain) -> None:
    command = (sys.executable, "-c", OPENER)
    with (
        _speaking(brain, *command, "threads") as one,
        _speaking(brain, *command, "store") as two,
        _speaking(brain, *command, "store") as three,
    ):
        children = (one, two, three)
        assert [child.stdout.readline() for child in children] == ["ready\n"] * 3
        for _ in range(6):
            url = brain.server.url(brain.server.create())
            for child in children:
                child.stdin.write(f"{url}\n")
                child.stdin.flush()
            assert [child.stdout.readline() for child in children] == ["opened\n"] * 3


def _speaking(brain: Brain, *words: str) -> Any:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return process(*words, cwd=brain.folder, env=brain.environment, **pipes)


# ---- whose memories


def test_namespaces_are_compared_byte_by_byte(brain: Brain):
    users = ("bob", "bobby", "Bob", "bob_", "bo", "böb", "bob.x", "bob/x", "b%b", "BOB", "bob-1")
    with brain.store() as store:
        for user in users:
            store.put(Space(user=user).of("fact"), user, {"text": f"of {user}", "kind": "fact"})
            store.put(("plain", user.replace(".", "")), user, {"text": f"of {user}"})
        for user in users:
            mine = store.search(Space(user=user).of("fact"))
            assert [item.key for item in mine] == [user]
            near = store.search(Space(user=user).of("fact"), query="of bob")
            assert [item.key for item in near] == [user]
        assert [item.key for item in store.search(("plain", "bob"))] == ["bob"]
        assert len(store.search(("plain",), limit=100)) == len(users)
        assert len(store.search(("plai",), limit=100)) == 0


def test_what_a_model_says_is_kept_whatever_it_is(brain: Brain):
    brain.served.script.says["synthesis"] = (
        "Nul \x00, half a pair \ud83d, ☃ and 100 % ?\nVerdict: 42"
    )
    told = brain.ask(SIMPLE, "--thread", "t", "--json")
    assert told.code == 0
    assert "not saved" not in told.err
    assert told.json["notes"] == []
    assert told.json["final_output"].startswith("Nul \ufffd, half a pair \ufffd,")
    assert brain("threads", "show", "t", "--json").json[0]["result"] == told.json
    (memory,) = brain("memory", "list", "--json").json
    assert memory["answer"] == told.json["final_output"]


# ---- how vectors are searched


def test_stats_and_doctor_say_how_memories_are_searched(brain: Brain):
    how = "exact, in this process: pgvector is not installed"
    assert brain("memory", "stats", "--json").json["search"] == how
    assert how in brain("doctor", *brain.here).out
    assert "pgvector" not in brain.ask(SIMPLE).err
    brain.patch.setenv("SWARM_BRAIN_EMBEDDER", "off")
    assert "no embedder" in brain("memory", "stats", "--json").json["search"]


# ---- pgvector


def test_pgvector_searches_in_the_database(vectors: Brain):
    first = vectors.ask(HARD, "--thread", "one", "--json")
    assert first.json["notes"] == [], first.err
    assert vectors.ask(UNRELATED, "--json").json["recalled"] == []
    again = vectors.ask(HARD, "--thread", "two", "--json").json
    assert [item["origin"] for item in again["recalled"]] == ["openai-compatible:m, thread one"]
    assert "database: pgvector" in vectors("memory", "stats", "--json").json["search"]
    assert "database: pgvector" in vectors("doctor", *vectors.here).out
    assert vectors.rows("SELECT count(*) FROM store_vectors") == [(3,)]
    assert vectors.rows("SELECT count(*) FROM memory_items") == [(0,)]

    found = vectors("memory", "search", "subject", "--json").json
    (wanted,) = embeddings.chosen().embed(["subject"])
    for item in found:
        (own,) = embeddings.chosen().embed([item["question"]])
        assert item["score"] == pytest.approx(float(wanted @ own), abs=1e-4)
    assert [item["score"] for item in found] == sorted((i["score"] for i in found), reverse=True)

    exported = vectors("memory", "export").out
    (vectors.folder / "memories.jsonl").write_text(exported)
    assert "forgotten: 1" in vectors("memory", "forget", found[0]["id"]).out
    assert vectors.rows("SELECT count(*) FROM store_vectors") == [(2,)]
    assert "forgotten: 2" in vectors("memory", "forget", "--all").out
    assert vectors.rows("SELECT count(*) FROM store_vectors") == [(0,)]
    assert vectors.rows("SELECT count(*) FROM store") == [(0,)]
    assert "imported: 3" in vectors("memory", "import", "memories.jsonl").out
    assert sorted(vectors("memory", "export").out.splitlines()) == sorted(exported.splitlines())


@pytest.mark.slow
def test_pgvector_finds_one_among_the_nearer_memories_of_others(vectors: Brain):
    """An index that filters afterwards would find none of them."""
    text, rows = "the subject of the question", range(3_000)
    with vectors.store() as store:
        for at in range(0, len(rows), 500):
            store.batch([PutOp(Space(user="many").of("fact"), str(n),
                               {"text": text, "embedder": "wordllama"}, ["text"])
                         for n in rows[at : at + 500]])  # fmt: skip
        mine = {"text": "something else altogether", "embedder": "wordllama"}
        store.put(Space(user="one").of("fact"), "mine", mine, index=["text"])
        vectors.rows("ANALYZE")
        assert [i.key for i in store.search(Space(user="one").of("fact"), query=text)] == ["mine"]


def _random_embedder(name: str, dims: int) -> Embedder:
    def embed(texts: Any) -> Any:
        if "down" in name:
            raise MemoryUnavailable("the embedder", "it is down")
        rows = np.array([np.random.default_rng(len(t)).normal(size=dims) for t in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return Embedder(name, embed, 0.5)


def test_pgvector_never_mixes_embedders(vectors: Brain):
    vectors.ask(HARD)
    other = _random_embedder("other", 256)
    vectors.patch.setattr(embeddings, "chosen", lambda: other)
    assert vectors("memory", "search", HARD, "--json").json == []
    assert vectors.ask(HARD, "--json").json["recalled"] == []
    (found,) = vectors("memory", "search", HARD, "--json").json
    assert found["embedder"] == "other"
    assert "embedded: 2" in vectors("memory", "reindex").out
    assert len(vectors("memory", "search", HARD, "--json").json) == 2


def test_pgvector_with_other_dimensions_says_so_and_answers(vectors: Brain):
    vectors.ask(HARD)
    other = _random_embedder("small", 8)
    vectors.patch.setattr(embeddings, "chosen", lambda: other)
    told = vectors.ask(HARD, "--json")
    assert (told.code, told.json["provenance"]) == (0, "full")
    assert any("256 dimensions" in note for note in told.json["notes"])
    searched = vectors("memory", "search", HARD)
    assert searched.code == 1
    assert "SWARM_BRAIN_EMBEDDER" in searched.err


def test_pgvector_keeps_what_the_embedder_cannot_embed(vectors: Brain):
    vectors.ask(SIMPLE)
    down = _random_embedder("down", 256)
    vectors.patch.setattr(embeddings, "chosen", lambda: down)
    told = vectors.ask(HARD, "--json")
    assert told.code == 0
    assert any("it is down" in note for note in told.json["notes"])
    vectors.patch.undo()
    vectors.use(vectors.url)
    assert len(vectors("memory", "list", "--json").json) == 2


@pytest.mark.slow
def test_a_new_database_with_pgvector_is_opened_by_three_at_once(vectors: Brain):
    _open_at_once(vectors)


def test_without_the_right_to_create_the_extension_vectors_are_compared_here(vectors: Brain):
    vectors.rows("CREATE ROLE plain LOGIN PASSWORD 'plain-1'")
    vectors.rows("GRANT ALL ON SCHEMA public TO plain")
    vectors.use(vectors.server.url(vectors.database, "plain", "plain-1"))
    assert vectors.ask(HARD).code == 0
    assert "CREATE EXTENSION vector" in vectors("memory", "stats", "--json").json["search"]
    assert len(vectors.ask(HARD, "--json").json["recalled"]) == 1
    # Whoever adds it later does not lose what there is.
    vectors.rows("CREATE EXTENSION vector")
    assert "before pgvector" in vectors("memory", "stats", "--json").json["search"]
    assert len(vectors("memory", "list", "--json").json) == 2
    assert vectors("memory", "export", "memories.jsonl").code == 0
    assert vectors("memory", "forget", "--all").code == 0
    assert vectors("memory", "import", "memories.jsonl").code == 0
    assert "in the database" in vectors("memory", "stats", "--json").json["search"]
    assert len(vectors("memory", "search", HARD, "--json").json) == 2


@pytest.mark.slow
def test_server_with_pgvector_stopped_in_the_middle_of_a_run(vectors: Brain):
    try:
        test_server_stopped_in_the_middle_of_a_run(vectors, "reasoning")
    finally:
        vectors.server.start()
