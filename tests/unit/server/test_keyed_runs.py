"""Runs of somebody who has signed in: what they may set, and a day that is too small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from swarm_brain.config import VARIABLES
from swarm_brain.graph.brain import compile_brain, graph
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ConfigError, DaySpent, ModelError
from swarm_brain.memory.space import LOCAL_IDENTITY
from swarm_brain.nodes import access
from swarm_brain.server.api_keys import User, local_user
from swarm_brain.spending import quota

HARD = "Why is the subject what it is?"


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("SWARM_BRAIN_MODEL", "scripted:own")
    monkeypatch.chdir(tmp_path)


def ask(user: User | None = None, **context: Any) -> Any:
    signed = {"langgraph_auth_user": user} if user else {}
    return graph.invoke({"question": HARD}, {"configurable": signed}, context=context or None)


def ada(limits: str, models: str = "") -> User:
    Path("swarm-brain.toml").write_text(
        f'[keys.ada]\nsha256 = "{"0" * 64}"\n{limits}\n[server]\nmodels = [{models}]\n'
    )
    return User("ada")


# ---- settings


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"base_url": "http://evil.example/v1"}, "base_url"),
        ({"model": "openai-compatible:m"}, "model"),
        ({"expert_models": {"synthesis": "scripted:m"}}, "expert_models.synthesis"),
        ({"cache": "sqlite"}, "cache"),
    ],
)
def test_what_would_give_away_the_owners_is_refused_before_any_call(script, settings, named):
    user = ada("", '"scripted:other"')
    with pytest.raises(ConfigError, match=named):
        ask(user, **settings)
    assert script.requests == []
    context = Context(**settings)
    for free in (None, LOCAL_IDENTITY):
        access.check(context, free)


def test_what_is_offered_may_be_named(script):
    result = ask(ada("", '"scripted:m"'), model="scripted:m", cache="memory")
    assert (result["model"], result["provenance"]) == ("scripted:m", "full")


def test_an_open_server_gives_nothing_away_either(monkeypatch):
    monkeypatch.setenv("SWARM_BRAIN_OPEN", "true")
    with pytest.raises(ConfigError, match="base_url"):
        ask(local_user(), base_url="http://evil.example/v1")


def test_a_saved_state_is_asked_again(script):
    """Whoever may write the state of a thread may set no more by it."""
    brain = compile_brain(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t", "langgraph_auth_user": ada("")}}
    brain.invoke({"question": HARD}, config, interrupt_before=["synthesis"])
    kept = brain.get_state(config).values["settings"]
    forged = {"settings": {**kept, "base_url": "http://evil.example/v1"}}
    asked = len(script.requests)
    with pytest.raises(ConfigError, match="base_url"):
        brain.update_state(config, forged, as_node="reasoning")
    brain.update_state({"configurable": {"thread_id": "t"}}, forged, as_node="reasoning")
    with pytest.raises(ConfigError, match="base_url"):
        brain.invoke(None, config)
    assert len(script.requests) == asked


# ---- the day


def test_a_run_takes_its_tokens_from_its_owners_day(script):
    user = ada("daily_tokens = 100000")
    usage = ask(user)["usage"]
    assert quota.used("ada").tokens == usage["input_tokens"] + usage["output_tokens"]
    ask()
    assert quota.used("ada").tokens == usage["input_tokens"] + usage["output_tokens"]


def test_the_last_of_a_day_pays_for_a_shorter_run_and_then_for_none(script):
    user = ada("daily_tokens = 3000")
    shorter = ask(user)
    assert 0 < shorter["usage"]["calls"] < 8
    assert (shorter["provenance"], shorter["stop_reason"]) == ("degraded", "budget")
    with pytest.raises(DaySpent, match="this day's allowance"):  # noqa: PT012
        for _ in range(20):
            ask(user)
    assert quota.used("ada").tokens <= 3000


def test_a_day_that_ends_during_a_run_leaves_the_best_answer_so_far(script):
    user = ada("daily_tokens = 100000")

    def spend(request: Any) -> str:
        """Somebody else with this key takes all that is left."""
        left = quota.left("ada").tokens or 0
        quota.reserve("ada", quota.Amount(left, None))
        return "The answer.\nVerdict: 42"

    script.says["synthesis"] = spend
    result = ask(user)
    assert (result["provenance"], result["stop_reason"]) == ("degraded", "budget")
    assert "Verdict: 42" in result["final_output"]
    assert quota.used("ada").tokens <= 100000


def test_no_run_begins_with_a_key_that_was_taken_away(script):
    ada("")
    with pytest.raises(ModelError, match="the key bob no longer exists"):
        ask(User("bob"))
    assert script.requests == []
