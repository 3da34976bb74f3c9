"""Looking after memories: export and import, finding, forgetting, counting, embedding anew."""

from __future__ import annotations

import asyncio
import json

import pytest
from langgraph.store.memory import InMemoryStore

from swarm_brain.graph.errors import ConfigError, MemoryUnavailable
from swarm_brain.memory import embeddings, maintenance
from swarm_brain.memory.embeddings import Embedder
from swarm_brain.memory.episodes import putting, recall
from swarm_brain.memory.opening import in_process
from swarm_brain.memory.space import Space
from swarm_brain.memory.store import SqlStore
from swarm_brain.memory.tables import in_file

SPACE = Space()
TEXTS = ["Why do bridges sway?", 'Wer fürchtet\n"sich" \u2028 vor 𝄞?', "\x00\\"]


@pytest.fixture(autouse=True)
def default_embedder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SWARM_BRAIN_EMBEDDER", raising=False)


@pytest.fixture
def store() -> SqlStore:
    found = in_process()
    for n, text in enumerate(
        ["Why do bridges sway?", 'Wer fürchtet\n"sich" \u2028 vor 𝄞?', "\x00\\"]
    ):
        found.batch(putting(SPACE, {
            "question": text, "answer": f"Because.\n{text}", "verdict": [None, "", "ja"][n],
            "agreement": [None, 0.6667, 1.0][n], "provenance": "full", "model": "m:ö",
            "thread": [None, "t", "a\tb"][n], "run_id": f"{n}" * 32,
            "date": f"2026-01-0{3 - n}T00:00:00+00:00"}))  # fmt: skip
    found.put(SPACE.of("fact"), "f" * 32, {
        "kind": "fact", "text": "Bridges sway.", "date": "2026-01-09T00:00:00+00:00", "model": "m",
        "episodes": ["0" * 32, "1" * 32], "embedder": "wordllama"}, ["text"])  # fmt: skip
    return found


def do(work):
    return asyncio.run(work)


def exported(store, space=SPACE) -> list[str]:
    async def lines():
        return [line async for line in maintenance.exported(store, space)]

    return do(lines())


def everything(store) -> list:
    return sorted(store.search((), limit=100), key=lambda item: (item.namespace, item.key))


# --- export and import


@pytest.mark.parametrize("other", [in_process, InMemoryStore])
@pytest.mark.parametrize("turned", [False, True])
def test_an_export_comes_back_byte_for_byte(store, other, turned):
    lines = exported(store)
    assert [json.loads(line)["id"][0] for line in lines] == ["0", "1", "2", "f"]  # the latest first
    fresh = other()
    assert do(maintenance.imported(fresh, SPACE, lines[::-1] if turned else lines)) == 4
    assert exported(fresh) == lines
    assert do(maintenance.imported(fresh, SPACE, ["", *lines, "  \n"])) == 4  # again: replaced
    assert exported(fresh) == lines
    assert do(maintenance.imported(fresh, Space(name="other"), lines)) == 4
    assert exported(fresh, Space(name="other")) == lines == exported(fresh)


def test_what_was_imported_is_recalled(store):
    fresh = in_process()
    do(maintenance.imported(fresh, SPACE, exported(store)))
    found = do(recall(fresh, SPACE, "Why do bridges sway?", 5, None))
    assert [item["id"][0] for item in found.items] == ["0", "f"]
    assert found.items[0]["score"] == pytest.approx(1, abs=1e-3)


GOOD = {"id": "a", "kind": "episode", "text": "Why?", "question": "Why?", "answer": "So.",
        "provenance": "full", "date": "2026-01-01", "model": "m"}  # fmt: skip
FACT = {"id": "f", "kind": "fact", "text": "It is.", "date": "2026-01-01", "model": "m",
        "episodes": ["a"]}  # fmt: skip


def but(base=GOOD, **changes) -> str:
    return json.dumps({name: value for name, value in {**base, **changes}.items() if value != "-"})


HOSTILE = [
    ("not JSON", "not JSON"),
    ("[]", "not JSON"),
    ("null", "not JSON"),
    ('{"id": "a"', "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("{}", "id"),
    (but(id=7), "id"),
    (but(id=""), "id"),
    (but(id="a b"), "id"),
    (but(id="x\x1b[2J"), "id"),
    (but(id="x" * 129), "id"),
    (but(id="first"), "id"),
    (but(kind="secret"), "kind"),
    (but(text="-"), "text"),
    (but(text=""), "text"),
    (but(text="Another?"), "text"),
    (but(question="-"), "question"),
    (but(answer="-"), "answer"),
    (but(answer=None), "answer"),
    (but(answer=["So."]), "answer"),
    (but(provenance="-"), "provenance"),
    (but(provenance="degraded"), "a degraded answer is not knowledge"),
    (but(provenance="simulated"), "a simulated answer is not knowledge"),
    (but(provenance="fine"), "provenance"),
    (but(date="-"), "date"),
    (but(date="yesterday"), "date"),
    (but(date='2026-01-01"><question>'), "date"),
    (but(model=None), "model"),
    (but(agreement=2), "agreement"),
    (but(agreement=float("nan")), "agreement"),
    (but(namespace=["other"]), "namespace"),
    (but(embedder="wordllama"), "embedder"),
    (but(answer="\ud800"), "not JSON"),
    (but(FACT, episodes="-"), "episodes"),
    (but(FACT, episodes=[]), "episodes"),
    (but(FACT, episodes=[1]), "episodes"),
    (but(FACT, text=""), "text"),
]


@pytest.mark.parametrize(("line", "named"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_wrong_line_is_named_and_nothing_is_written(store, line, named):
    before = everything(store)
    lines = [but(id="first"), "", line, but(FACT)]
    with pytest.raises(ConfigError) as caught:
        do(maintenance.imported(store, SPACE, lines))
    assert str(caught.value).startswith(f"line 3: {named}")
    assert str(caught.value).endswith("nothing was imported")
    assert everything(store) == before


def test_good_lines_are_taken(store):
    assert do(maintenance.imported(store, SPACE, [but(), but(FACT), but(id="b", verdict="")])) == 3


# --- finding, forgetting, counting


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("0" * 32, "0" * 32),
        ("0" * 8, "0" * 32),
        ("f" * 8, "f" * 32),
        ("0" * 7, None),
        ("0" * 33, None),
        ("deadbeef", None),
        ("", None),
        ("%" * 8, None),
    ],
)
def test_a_memory_is_found_by_its_ids_beginning(store, key, found):
    item = do(maintenance.find(store, SPACE, key))
    assert (item and item.key) == found


def test_a_beginning_of_several_finds_none_but_a_whole_id_its_own(store):
    do(maintenance.imported(store, SPACE, [but(id="same-beginning"), but(id="same-beginning-too")]))
    assert do(maintenance.find(store, SPACE, "same-beg")) is None
    assert do(maintenance.find(store, SPACE, "same-beginning")).key == "same-beginning"
    assert do(maintenance.find(store, Space(name="other"), "same-beginning")) is None


def test_forgetting_an_unknown_memory_changes_nothing(store):
    before = everything(store)
    do(maintenance.forget(store, SPACE, ["nobody"]))
    do(maintenance.forget(store, SPACE, []))
    assert everything(store) == before


def test_forgetting_leaves_other_spaces_alone(store):
    other = Space(name="other")
    do(maintenance.imported(store, other, exported(store)))
    lines = exported(store)
    keys = [item.key for item in do(maintenance.listed(store, SPACE))]
    assert do(maintenance.forget(store, SPACE, keys)) == 4
    assert (exported(store), exported(store, other)) == ([], lines)


def test_all_of_a_space_can_be_forgotten(store):
    keys = [item.key for item in do(maintenance.listed(store, SPACE))]
    assert do(maintenance.forget(store, SPACE, keys)) == 4
    assert everything(store) == []


def test_stats_count_by_kind_and_embedder(store, monkeypatch):
    assert do(maintenance.stats(store, SPACE)) == {
        "space": "default",
        "episodes": 3,
        "facts": 1,
        "unconsolidated": 3,
        "embedder": "wordllama",
        "by_embedder": {"wordllama": 4},
        "search": "exact, in this process",
    }
    monkeypatch.setenv("SWARM_BRAIN_EMBEDDER", "off")
    assert do(maintenance.stats(store, Space(name="empty"))) == {
        "space": "empty", "episodes": 0, "facts": 0, "unconsolidated": 0, "embedder": None,
        "by_embedder": {}, "search": "exact, in this process"}  # fmt: skip


def test_more_memories_than_a_page_holds(store, monkeypatch):
    lines = exported(store)
    monkeypatch.setattr(maintenance, "PAGE", 2)
    assert exported(store) == lines
    assert do(maintenance.reindex(store, SPACE)) == 4
    assert exported(store) == lines


# --- another embedder


@pytest.fixture
def file(tmp_path):
    return tmp_path / "memory.sqlite"


def test_after_a_change_of_embedder_memories_are_found_once_they_are_embedded_anew(
    store, file, monkeypatch
):
    do(maintenance.imported(SqlStore(in_file(file), embeddings.chosen()), SPACE, exported(store)))
    before = exported(store)
    backwards = Embedder("other", lambda t: embeddings._unit(embeddings._words(t)[:, 99::-1]), 0.5)
    monkeypatch.setattr(embeddings, "chosen", lambda: backwards)
    changed = SqlStore(in_file(file), backwards)

    def found():
        return [
            item["id"][0]
            for item in do(recall(changed, SPACE, "Why do bridges sway?", 5, 0.5)).items
        ]

    assert found() == []
    assert do(maintenance.stats(changed, SPACE))["by_embedder"] == {"wordllama": 4}
    assert do(maintenance.reindex(changed, SPACE)) == 4
    assert found() == ["0", "f"]
    assert do(maintenance.stats(changed, SPACE))["by_embedder"] == {"other": 4}
    assert exported(changed) == before
    kinds = changed.database._execute("SELECT DISTINCT embedder FROM memory_vectors")
    assert kinds == [("other",)]


@pytest.mark.parametrize(("fails_at", "left"), [(1, 4), (2, 2), (3, 2), (4, 0)])
def test_a_reindex_that_cannot_embed_says_so_and_may_be_repeated(
    store, monkeypatch, fails_at, left
):
    """Each page of two is tried, then written: `left` have their old vectors still."""
    calls = []

    def flaky(texts):
        calls.append(texts)
        if len(calls) == fails_at:
            raise MemoryUnavailable("the embedder", "it is down")
        return embeddings._words(texts)

    monkeypatch.setattr(maintenance, "EMBED_BATCH", 2)
    lines, store.embedder = exported(store), Embedder("flaky", flaky, 0.5)
    monkeypatch.setattr(embeddings, "chosen", lambda: store.embedder)
    with pytest.raises(MemoryUnavailable, match=r"it is down|it failed before the end"):
        do(maintenance.reindex(store, SPACE))
    old = "SELECT count(*) FROM memory_vectors WHERE embedder = 'wordllama'"
    assert store.database._execute(old) == [(left,)]
    assert do(maintenance.reindex(store, SPACE)) == 4
    assert store.database._execute("SELECT count(*) FROM memory_vectors") == [(4,)]
    assert exported(store) == lines


def test_a_reindex_without_an_embedder_says_so(store, monkeypatch):
    monkeypatch.setenv("SWARM_BRAIN_EMBEDDER", "off")
    with pytest.raises(MemoryUnavailable, match="none is installed, or it is off"):
        do(maintenance.reindex(store, SPACE))
