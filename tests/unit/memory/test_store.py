"""The store on SQLite, held to what LangGraph's own store does; and what it promises beyond."""

from __future__ import annotations

import hashlib
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from swarm_brain.database import transactions
from swarm_brain.graph.errors import MemoryUnavailable
from swarm_brain.memory.embeddings import Embedder
from swarm_brain.memory.index import FIRST_LOOK, FIRST_ROWS, Index
from swarm_brain.memory.store import SqlStore
from swarm_brain.memory.tables import in_file

DIMS = 64
BOB, BOBBY = ("users", "bob"), ("users", "bobby")


def hashed(texts, dims=DIMS):
    """Words counted in hashed places, as unit vectors."""
    rows = np.zeros((len(texts), dims), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in text.lower().split():
            row[int(hashlib.md5(word.encode()).hexdigest(), 16) % dims] += 1
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def embedder(name="hashed", dims=DIMS) -> Embedder:
    return Embedder(name, lambda texts: hashed(texts, dims), 0.5)


def failing(texts):
    raise MemoryUnavailable("the embedder", "it is down")


def on_file(path: Path, **options) -> SqlStore:
    return SqlStore(in_file(path), Embedder(**{**vars(embedder()), **options}))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "memory.sqlite"


@pytest.fixture(params=["memory", "file", "reference"])
def store(request, file) -> BaseStore:
    if request.param == "reference":
        embed = lambda texts: hashed(texts).tolist()  # noqa: E731
        return InMemoryStore(index={"dims": DIMS, "embed": embed, "fields": ["text"]})
    return SqlStore(in_file(":memory:" if request.param == "memory" else file), embedder())


def keys(items) -> list[str]:
    return [item.key for item in items]


# --- the contract, which LangGraph's own store keeps too


def test_what_is_put_is_got(store: BaseStore):
    value = {"text": 'a ü 𝄞 \x00 "quoted"', "deep": {"list": [1, 2.5, None, True]}}
    store.put(BOB, "one", value)
    item = store.get(BOB, "one")
    assert (item.namespace, item.key, item.value) == (BOB, "one", value)
    assert item.created_at.tzinfo is not None
    assert store.get(BOB, "two") is None
    assert store.get(BOBBY, "one") is None


def test_a_value_that_was_put_does_not_change_with_its_dict(store: BaseStore):
    value = {"text": "as it was"}
    store.put(BOB, "one", value)
    value["text"] = "changed"
    assert store.get(BOB, "one").value == {"text": "as it was"}


def test_delete_takes_item_and_vector_and_may_be_repeated(store: BaseStore):
    store.put(BOB, "one", {"text": "cats sleep"})
    for _ in range(2):
        store.delete(BOB, "one")
    assert store.get(BOB, "one") is None
    assert store.search(BOB, query="cats sleep") == [] == store.search(BOB)


def test_search_is_by_meaning_the_nearest_first(store: BaseStore):
    for key, text in {"a": "cats sleep", "b": "cats sleep on mats", "c": "rates rise"}.items():
        store.put(BOB, key, {"text": text})
    found = store.search(BOB, query="cats sleep on mats")
    assert keys(found) == ["b", "a", "c"]
    assert found[0].score == pytest.approx(1, abs=1e-3)
    assert found[2].score == pytest.approx(0, abs=1e-3)


def test_an_updated_text_is_found_by_its_new_words_alone(store: BaseStore):
    store.put(BOB, "one", {"text": "cats sleep"})
    store.search(BOB, query="cats sleep")
    store.put(BOB, "one", {"text": "rates rise"})
    (found,) = store.search(BOB, query="rates rise")
    assert (found.value, found.score) == ({"text": "rates rise"}, pytest.approx(1, abs=1e-3))
    (found,) = store.search(BOB, query="cats sleep")
    assert found.score == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("query", [None, "cats sleep"])
def test_limit_and_offset_page_through_everything_once(store: BaseStore, query):
    wanted = {f"{n:02}" for n in range(25)}
    store.batch([PutOp(BOB, key, {"text": f"cats sleep {key}"}) for key in sorted(wanted)])
    pages = [store.search(BOB, query=query, limit=10, offset=at) for at in (0, 10, 20, 30)]
    assert [len(page) for page in pages] == [10, 10, 5, 0]
    assert {item.key for page in pages for item in page} == wanted


@pytest.mark.parametrize("query", [None, "cats sleep"])
def test_a_prefix_is_of_whole_labels(store: BaseStore, query):
    places = [BOB, BOBBY, (*BOB, "facts"), ("users", "bo"), ("users", "Bob"), ("users", "bob-a")]
    for place in places:
        store.put(place, "one", {"text": "cats sleep"})

    def seen(prefix):
        return {item.namespace for item in store.search(prefix, query=query, limit=50)}

    assert seen(BOB) == {BOB, (*BOB, "facts")}
    assert seen(BOBBY) == {BOBBY}
    assert seen(("users",)) == set(places) == seen(())
    assert seen(("user",)) == set() == seen(("users", "b%b")) == seen(("users", "b_b"))


FILTERS = [
    ({"n": 1}, {"a"}),
    ({"n": {"$eq": 1}}, {"a"}),
    ({"n": {"$ne": 1}}, {"b", "c", "d"}),
    ({"n": {"$gt": 1}}, {"b", "c"}),
    ({"n": {"$gte": 1, "$lt": 3}}, {"a", "b"}),
    ({"n": {"$lte": 2}}, {"a", "b"}),
    ({"n": 1, "kind": "fact"}, set()),
    ({"kind": "fact"}, {"b", "c"}),
    ({"deep": {"x": 1}}, {"a"}),
    ({"deep": {"x": {"$gt": 1}}}, {"b"}),
    ({"tags": ["u", "v"]}, {"a"}),
    ({"none": None}, {"a", "b", "c", "d"}),
]


@pytest.mark.parametrize("query", [None, "cats"])
@pytest.mark.parametrize(("wanted", "found"), FILTERS, ids=[str(one) for one, _ in FILTERS])
def test_filters(store: BaseStore, query, wanted, found):
    values = {
        "a": {"n": 1, "kind": "episode", "deep": {"x": 1, "y": 9}, "tags": ["u", "v"]},
        "b": {"n": 2, "kind": "fact", "deep": {"x": 2}, "tags": ["u"]},
        "c": {"n": 3, "kind": "fact", "deep": {"x": 0}, "tags": []},
    }
    if not ("n" in wanted and isinstance(wanted["n"], dict) and "$ne" not in wanted["n"]):
        values["d"] = {"kind": "other", "deep": {"y": 1}}
    if "deep" in wanted and isinstance(wanted["deep"]["x"], dict):
        del values["d"]  # LangGraph's own store fails on what is missing
    for key, value in values.items():
        store.put(BOB, key, {"text": "cats", **value})
    expected = found & set(values)
    assert {item.key for item in store.search(BOB, query=query, filter=wanted)} == expected


def test_filters_come_before_limit_and_offset(store: BaseStore):
    for n in range(200):
        store.put(BOB, f"{n:03}", {"text": "cats sleep", "even": n % 2 == 0})
    for query in (None, "cats sleep"):
        pages = [
            store.search(BOB, query=query, filter={"even": False}, limit=60, offset=at)
            for at in (0, 60)
        ]
        if isinstance(store, InMemoryStore) and query:
            continue  # its second page is not one
        assert [len(page) for page in pages] == [60, 40]
        assert len({item.key for page in pages for item in page}) == 100


def test_namespaces_are_listed(store: BaseStore):
    for place in [("a", "b", "c"), ("a", "b", "d"), ("a", "x", "c"), ("b", "b", "c")]:
        store.put(place, "k", {"text": "t"})

    def listed(**options):
        return set(store.list_namespaces(**options))

    assert len(listed()) == 4
    assert listed(prefix=("a",), max_depth=2) == {("a", "b"), ("a", "x")}
    assert listed(suffix=("c",)) == {("a", "b", "c"), ("a", "x", "c"), ("b", "b", "c")}
    assert listed(prefix=("*", "b"), suffix=("c",)) == {("a", "b", "c"), ("b", "b", "c")}
    assert listed(prefix=("a", "b", "c", "d")) == set()
    pages = [store.list_namespaces(limit=3, offset=at) for at in (0, 3)]
    assert ([len(page) for page in pages], len({*pages[0], *pages[1]})) == ([3, 1], 4)


def test_a_batch_answers_in_order_and_reads_before_it_writes(store: BaseStore):
    store.put(BOB, "old", {"text": "cats sleep"})
    results = store.batch(
        [
            PutOp(BOB, "new", {"text": "rates rise"}),
            GetOp(BOB, "new"),
            GetOp(BOB, "old"),
            SearchOp(BOB, limit=10),
            ListNamespacesOp(),
        ]
    )
    assert results[:2] == [None, None]
    assert (results[2].key, keys(results[3]), results[4]) == ("old", ["old"], [BOB])
    assert store.get(BOB, "new") is not None
    assert store.batch([]) == []


def test_of_several_puts_to_one_key_the_last_stands(store: BaseStore):
    store.batch([PutOp(BOB, "k", {"text": "first"}), PutOp(BOB, "k", {"text": "second word"})])
    assert store.get(BOB, "k").value == {"text": "second word"}
    assert len(store.search(BOB, query="second word")) == 1
    store.batch([PutOp(BOB, "k", {"text": "third"}), PutOp(BOB, "k", None)])
    assert store.get(BOB, "k") is None


def test_what_is_not_to_be_indexed_is_kept_without_a_score(store: BaseStore):
    store.put(BOB, "k", {"text": "cats"}, index=False)
    assert store.get(BOB, "k") is not None
    assert [item for item in store.search(BOB, query="cats") if item.score is not None] == []


async def test_async_is_the_same(store: BaseStore):
    await store.aput(BOB, "k", {"text": "cats sleep"})
    assert (await store.aget(BOB, "k")).value == {"text": "cats sleep"}
    assert keys(await store.asearch(BOB, query="cats sleep")) == ["k"]
    assert await store.alist_namespaces() == [BOB]
    await store.adelete(BOB, "k")
    assert await store.aget(BOB, "k") is None


@pytest.mark.parametrize("namespace", [(), ("a.b",), ("",)])
def test_bad_namespaces_are_refused(store: BaseStore, namespace):
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "k", {"text": "t"})


# --- beyond the contract


@pytest.fixture
def own(file) -> SqlStore:
    return on_file(file)


def test_an_update_keeps_the_date_of_creation(own: SqlStore):
    own.put(BOB, "k", {"text": "one"})
    first = own.get(BOB, "k")
    time.sleep(0.002)
    own.put(BOB, "k", {"text": "two"})
    second = own.get(BOB, "k")
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at


def test_items_are_listed_the_latest_first(own: SqlStore):
    for key in ("a", "b", "c", "a"):
        own.put(BOB, key, {"text": "t"})
    assert keys(own.search(BOB)) == ["a", "c", "b"]


@pytest.mark.parametrize("bad", [{"text": {1, 2}}, {"x": object()}])
def test_a_batch_is_written_whole_or_not_at_all(own: SqlStore, bad):
    own.put(BOB, "old", {"text": "cats"})
    with pytest.raises(TypeError):
        own.batch([PutOp(BOB, "new", {"text": "t"}), PutOp(BOB, "old", None), PutOp(BOB, "b", bad)])
    assert keys(own.search(BOB)) == ["old"]
    assert keys(own.search(BOB, query="cats")) == ["old"]
    own.put(BOB, "then", {"text": "t"})  # and the next one is not hindered


def test_a_period_in_a_label_gives_nothing_of_somebody_elses(own: SqlStore):
    own.put(("a", "b"), "k", {"text": "cats"})
    for work in (lambda: own.get(("a.b",), "k"), lambda: own.search(("a.b",))):
        with pytest.raises(InvalidNamespaceError):
            work()
    with pytest.raises(InvalidNamespaceError):
        own.batch([PutOp(("a", "c"), "k", {}), PutOp(("a.b",), "k", {})])
    assert own.get(("a", "c"), "k") is None


@pytest.mark.parametrize("operator", ["$gt", "$gte", "$lt", "$lte"])
def test_what_cannot_be_ordered_does_not_match(own: SqlStore, operator):
    for key, value in {"number": 2, "word": "two", "none": None, "list": [2]}.items():
        own.put(BOB, key, {"n": value})
    found = own.search(BOB, filter={"n": {operator: 2}})
    assert set(keys(found)) <= {"number"}
    with pytest.raises(ValueError, match="unknown operator"):
        own.search(BOB, filter={"n": {"$regex": "2"}})


def test_without_an_embedder_items_are_kept_and_listed(file):
    store = SqlStore(in_file(file))
    store.put(BOB, "k", {"text": "cats"})
    (found,) = store.search(BOB, query="cats")
    assert (found.key, found.score) == ("k", None)


def test_vectors_of_another_embedder_are_never_compared(file):
    one, other = on_file(file), on_file(file, name="other")
    one.put(BOB, "one", {"text": "cats sleep"})
    other.put(BOB, "other", {"text": "cats sleep"})
    assert keys(one.search(BOB, query="cats sleep")) == ["one"]
    assert keys(other.search(BOB, query="cats sleep")) == ["other"]
    other.put(BOB, "one", {"text": "cats sleep"})
    assert one.search(BOB, query="cats sleep") == []
    assert set(keys(other.search(BOB, query="cats sleep"))) == {"one", "other"}


@pytest.mark.parametrize("dims", [1, 3, 65, 4096])
def test_an_embedder_may_have_any_number_of_dimensions(file, dims):
    store = on_file(file, embed=embedder(dims=dims).embed)
    store.put(BOB, "k", {"text": "cats sleep"})
    assert store.search(BOB, query="cats sleep")[0].score == pytest.approx(1, abs=1e-3)


def test_one_name_with_vectors_of_two_sizes_compares_those_that_can_be(file):
    small, large = on_file(file), on_file(file, embed=embedder(dims=128).embed)
    small.put(BOB, "small", {"text": "cats sleep"})
    large.put(BOB, "large", {"text": "cats sleep"})
    for _ in range(2):
        assert keys(small.search(BOB, query="cats sleep")) == ["small"]
        assert keys(large.search(BOB, query="cats sleep")) == ["large"]


def test_a_text_whose_embedding_fails_is_kept_and_found_once_it_is_embedded(file):
    down, up = on_file(file, embed=failing), on_file(file)
    down.put(BOB, "k", {"text": "cats sleep"})
    assert up.get(BOB, "k").value == {"text": "cats sleep"}
    assert up.search(BOB, query="cats sleep") == []
    with pytest.raises(MemoryUnavailable, match="it is down"):
        down.search(BOB, query="cats sleep")
    up.put(BOB, "k", up.get(BOB, "k").value)
    assert keys(up.search(BOB, query="cats sleep")) == ["k"]


def test_no_loadable_extension_is_needed(file, monkeypatch: pytest.MonkeyPatch):
    """Of a connection that cannot load any, as on Python builds without them, nothing is missed."""

    class Plain(sqlite3.Connection):
        def __getattribute__(self, name):
            if name in ("enable_load_extension", "load_extension"):
                raise AttributeError(name)
            return super().__getattribute__(name)

    connect = sqlite3.connect
    monkeypatch.setattr(
        transactions.sqlite3, "connect", lambda *args, **more: connect(*args, **more, factory=Plain)
    )
    store = on_file(file)
    assert not hasattr(store.database._connection, "enable_load_extension")
    store.put(BOB, "k", {"text": "cats sleep"})
    assert keys(store.search(BOB, query="cats sleep")) == ["k"]
    ours = Path(transactions.__file__).parents[3]
    texts = [
        path for room in ("graph", "nodes", "swarm_brain") for path in (ours / room).rglob("*.py")
    ]
    assert not [path for path in texts if "load_extension" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("query", [None, "aardvark sleeps"])
def test_what_was_forgotten_is_in_no_file(own: SqlStore, file, query):
    word = "aardvarksecret"
    own.put(BOB, "kept", {"text": "cats sleep"})
    long = " ".join(f"{word}{n}" for n in range(3_000))  # over many pages
    own.batch([PutOp(BOB, f"{word}-key{n}", {"text": f"{word} {long}"}) for n in range(3)])
    own.put(BOB, f"{word}-key1", {"text": f"{word} again"})  # an older version, too
    own.search(BOB, query=query)
    other = on_file(file)  # another process, connected and idle
    other.search(BOB, query=query)
    (vector,) = other.database._execute(
        "SELECT vector FROM memory_vectors ORDER BY item DESC LIMIT 1"
    )
    own.batch([PutOp(BOB, f"{word}-key{n}", None) for n in range(3)])
    own.shred()
    for path in (file, file.with_name(f"{file.name}-wal")):
        data = path.read_bytes()
        assert word.encode() not in data
        assert bytes(vector[0]) not in data
    count = "SELECT (SELECT count(*) FROM memory_items), (SELECT count(*) FROM memory_vectors)"
    assert own.database._execute(count) == [(1, 1)]
    assert keys(other.search(BOB, query="cats aardvarksecret")) == ["kept"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MemoryUnavailable, match=r"memory\.sqlite"):
        in_file(tmp_path / "file" / "memory.sqlite")


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "a.sqlite").write_text("this is text, and long enough to be none" * 9)
    with pytest.raises(MemoryUnavailable, match=re.escape(str(tmp_path))):
        in_file(tmp_path / "a.sqlite")


# --- two processes

WORK = """
import sys, time, hashlib
import numpy as np
from langgraph.store.base import PutOp
from swarm_brain.memory.tables import in_file
from swarm_brain.memory.embeddings import Embedder
from swarm_brain.memory.store import SqlStore

def embed(texts):
    rows = np.zeros((len(texts), 64), dtype=np.float32)
    rows[:, 0] = 1
    return rows

def at_once():
    print("ready", flush=True)
    sys.stdin.readline()

path, name = sys.argv[1:3]
"""


def process(code: str, path: Path, name: str = "p") -> subprocess.Popen[str]:
    """Another process that runs `code`; it has said that it is ready."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    found = subprocess.Popen([sys.executable, "-c", WORK + code, str(path), name], **pipes)
    assert found.stdout.readline() == "ready\n"
    return found


def test_two_processes_lose_nothing_and_see_each_other(file):
    """They open a new file at the same moment, write at once, and delete what the other wrote."""
    code = """
at_once()
store = SqlStore(in_file(path), Embedder("hashed", embed, 0.5))
for n in range(40):
    store.batch([PutOp(("a",), f"{name}{n}", {"text": "t"}), PutOp(("a",), "both", {"text": name})])
at_once()
other = {"p": "q", "q": "p"}[name]
seen = store.search(("a",), query="t", limit=200)
assert len(seen) == len({item.key for item in seen}) == 81, len(seen)
at_once()
store.batch([PutOp(("a",), f"{other}{n}", None) for n in range(0, 40, 2)])
at_once()
seen = store.search(("a",), query="t", limit=200)
assert len(seen) == 41, len(seen)
assert len(store.search(("a",), limit=200)) == 41
print("good", flush=True)
"""
    both = [process(code, file, name) for name in ("p", "q")]
    for line in ("ready\n", "ready\n", "ready\n", "good\n"):
        for one in both:
            one.stdin.write("\n")
            one.stdin.flush()
        assert [one.stdout.readline() for one in both] == [line, line]
    assert [one.wait(10) for one in both] == [0, 0]
    assert sum(item.key == "both" for item in on_file(file).search(("a",), limit=200)) == 1


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05])
def test_a_batch_of_a_killed_process_is_there_whole_or_not_at_all(file, delay):
    """Batches of 300 puts, of which each replaces the one before, until it is killed."""
    code = """
store = SqlStore(in_file(path), Embedder("hashed", embed, 0.5))
at_once()
turn = 0
while True:
    turn += 1
    store.batch([PutOp(("a",), str(n), {"text": "t", "turn": turn}) for n in range(300)])
    print(turn, flush=True)
"""
    killed = process(code, file)
    killed.stdin.write("\n")
    killed.stdin.flush()
    assert killed.stdout.readline() == "1\n"
    time.sleep(delay)
    killed.send_signal(signal.SIGKILL)
    done = int(([1, *killed.stdout.read().split()])[-1])
    assert killed.wait(10) == -signal.SIGKILL
    store = on_file(file)
    found = store.search(("a",), limit=1000)
    assert len(found) == 300
    assert {item.value["turn"] for item in found} in ({done}, {done + 1})
    assert len({item.key for item in store.search(("a",), query="t", limit=1000)}) == 300
    store.put(("a",), "next", {"text": "t"})


# --- the index


def unit(rows):
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.lists(st.integers(1, 90), max_size=6),
    st.integers(1, 5),
)
def test_the_index_finds_what_looking_at_everything_finds(seed, dims, sizes, distinct):
    """Rows come in portions and are few different ones, so that many are equally near."""
    random = np.random.default_rng(seed)
    kinds = unit(random.normal(size=(distinct, dims)))
    index, rows, ids = Index(dims), np.empty((0, dims), np.float32), []
    for size in sizes:
        new = kinds[random.integers(0, distinct, size)]
        numbers = [(ids[-1] if ids else 0) + 1 + n * 2 for n in range(size)]
        index.add([*ids[-3:], *numbers], np.vstack([rows[len(rows) - len(ids[-3:]) :], new]))
        rows, ids = np.vstack([rows, new]), [*ids, *numbers]
        gone = {number for number in numbers if random.random() < 0.2}
        index.drop([*gone, 10**9])
        rows[[at for at, number in enumerate(ids) if number in gone]] = np.nan
    query = unit(random.normal(size=(1, dims)))[0]
    scores = {
        n: float(row @ query) for n, row in zip(ids, rows, strict=True) if not np.isnan(row[0])
    }
    found = list(index.nearest(query))
    assert sorted(number for number, _ in found) == sorted(scores)
    assert [score for _, score in found] == pytest.approx(
        sorted(scores.values(), reverse=True), abs=1e-5
    )
    assert all(score == pytest.approx(scores[number], abs=1e-5) for number, score in found)


def test_the_index_grows_past_its_first_room_and_looks_further_when_asked():
    index = Index(4)
    rows = unit(np.random.default_rng(0).normal(size=(3 * FIRST_ROWS + 1, 4)))
    for at, row in enumerate(rows):
        index.add([at + 1], row[None])
    assert index.last == len(rows)
    found = list(index.nearest(rows[7]))
    assert found[0] == (8, pytest.approx(1))
    assert len(found) == len({number for number, _ in found}) == len(rows)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert len(rows) > FIRST_LOOK * 8


def test_an_empty_index_finds_nothing():
    assert list(Index(3).nearest(np.ones(3, np.float32))) == []
    gone = Index(3)
    gone.add([1, 2], unit(np.ones((2, 3))))
    gone.drop([1, 2])
    assert list(gone.nearest(np.ones(3, np.float32))) == []
    assert not gone._rows[:2].any()  # the vectors are gone, too


def test_a_row_added_while_the_nearest_are_read_does_not_disturb():
    index = Index(2)
    index.add(range(1, 101), unit(np.ones((100, 2))))
    reading = index.nearest(np.ones(2, np.float32))
    next(reading)
    index.add([101], unit(np.ones((1, 2))))
    index.drop([5])
    assert len(list(reading)) == 99
