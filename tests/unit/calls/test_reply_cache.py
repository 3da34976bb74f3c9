"""The response cache: what it keys on, what it keeps, what a hit costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarm_brain.calls import reply_cache as caches
from swarm_brain.graph.brain import graph
from swarm_brain.graph.errors import ModelError
from swarm_brain.models.binding import Sampling
from tests.fakes import Script, bind_script

QUESTION = {"question": "Why is the subject what it is?"}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("SWARM_BRAIN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(caches, "_memory", caches._Memory())


def ask(kind, **context):
    return graph.invoke(QUESTION, context={"model": "scripted:m", "cache": kind, **context})


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_same_question_twice_asks_nobody_the_second_time(script: Script, kind):
    first, second = ask(kind), ask(kind)
    assert first["usage"]["calls"] == len(script.requests) == 8
    assert second["usage"]["calls"] == 0
    assert second["final_output"] == first["final_output"]
    assert all(entry["cached"] for entry in second["experts"])
    assert not any(entry["cached"] for entry in first["experts"])
    assert second["usage"]["cost_usd"] == 0.0
    assert second["provenance"] == "full"


def test_off_by_default_asks_again(script: Script):
    ask("off")
    ask("off")
    assert len(script.requests) == 16


@pytest.mark.parametrize(
    "change", [{"temperature": 0.1}, {"top_p": 0.5}, {"max_tokens": 99}, {"seed": 3},
               {"model": "scripted:other"}, {"prompt_layout": "shared_first"}]
)  # fmt: skip
def test_another_setting_is_another_request(script: Script, change):
    ask("memory")
    ask("memory", **change)
    assert len(script.requests) == 16


def test_failures_and_unreadable_replies_are_not_kept(script: Script):
    script.says["creative"] = [ModelError("auth", "no"), "A draft.\nVerdict: 42"]
    script.says["attention"] = ["no JSON at all", '{"creative": 1, "analytical": 1}']
    ask("memory")
    second = ask("memory")
    asked_again = [r["expert"] for r in script.requests[8:]]
    assert {"creative", "attention"} <= set(asked_again)
    assert second["provenance"] == "full"


def test_simulated_replies_are_not_kept():
    ask("memory", model="simulation:")
    assert caches._memory._texts == {}


def test_key_covers_everything_that_decides_a_reply():
    binding, sampling = bind_script(Script()), Sampling(0.5, 0.9, 100, 1)
    keys = {
        caches.key_of(binding, sampling, ["a", "b"], None),
        caches.key_of(binding, sampling, ["a", "c"], None),
        caches.key_of(binding, sampling, ["ab"], None),
        caches.key_of(binding, sampling, ["a", "b"], {"type": "object"}),
        caches.key_of(binding, replace(sampling, seed=2), ["a", "b"], None),
        caches.key_of(replace(binding, endpoint="x"), sampling, ["a", "b"], None),
        caches.key_of(replace(binding, spec="x:y"), sampling, ["a", "b"], None),
    }
    assert len(keys) == 7


def test_a_cache_file_that_cannot_be_used_is_an_empty_cache(script: Script, tmp_path):
    (tmp_path / "replies.sqlite").write_text("no database at all, but long enough to be read")
    assert ask("sqlite")["provenance"] == "full"
    assert ask("sqlite")["usage"]["calls"] == 8


def test_memory_forgets_the_least_recently_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(caches, "MEMORY_ENTRIES", 2)
    kept = caches._Memory()
    for key in ("a", "b"):
        kept.put(key, key)
    kept.get("a")
    kept.put("c", "c")
    assert [kept.get(key) for key in "abc"] == ["a", None, "c"]
