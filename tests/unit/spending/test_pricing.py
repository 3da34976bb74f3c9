"""Prices, the day's limit, the worst case printed beforehand, and the order of prompts."""

from __future__ import annotations

import json
import threading

import pytest

from swarm_brain.cli.terminal.checks import _hyperbolic_pace
from swarm_brain.cli.terminal.run import worst_case
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import ConfigError, ModelError
from swarm_brain.graph.loading import load
from swarm_brain.models.choose import bind
from swarm_brain.nodes import begin, prompt
from swarm_brain.spending import pricing, quota
from swarm_brain.spending.ledger import Amount
from tests.fakes import Script

LLAMA = "hyperbolic:meta-llama/Meta-Llama-3.1-405B-Instruct"
HARD = "Why is the subject what it is?"


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("SWARM_BRAIN_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def test_our_price_file_knows_what_the_table_lacks():
    assert pricing.price(LLAMA, "https://api.hyperbolic.xyz/v1", 1_000_000, 0, 0) == 4.0
    assert pricing.price(LLAMA, "https://api.hyperbolic.xyz/v1", 0, 0, 500_000) == 2.0


def test_the_open_table_is_asked_for_the_rest_and_unknown_is_none():
    known = pricing.price("openai:gpt-4o", "https://api.openai.com/v1", 1_000_000, 0, 0)
    assert known is not None
    assert known > 0
    assert pricing.price("lab:nothing-known", "http://lab.example/v1", 10, 0, 10) is None


def test_a_price_of_the_user_overrides(tmp_path):
    entry = f'[prices."{LLAMA}"]\ninput = 1.0\noutput = 2.0\ncached_input = 0.5\n'
    (tmp_path / "swarm-brain.toml").write_text(entry)
    cost = pricing.price(LLAMA, "x", 1_000_000, 400_000, 1_000_000)
    assert cost == pytest.approx(0.6 + 0.2 + 2.0)


def test_a_named_provider_states_pace_and_price(tmp_path):
    (tmp_path / "swarm-brain.toml").write_text(
        '[providers.lab]\nbase_url = "http://127.0.0.1:9/v1"\nrpm = 30\nconcurrency = 2\n'
        "price = {input = 1.0, output = 3.0}\n"
    )
    binding = bind("lab:model")
    assert (binding.pace.rpm, binding.pace.concurrency) == (30, 2)
    assert binding.price(1_000_000, 0, 1_000_000) == 4.0


@pytest.mark.parametrize("bad", ["many", "0", "-1", "nan", "inf"])
def test_a_rate_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, bad):
    monkeypatch.setenv("HYPERBOLIC_API_KEY", "k")
    monkeypatch.setenv("HYPERBOLIC_RPM", bad)
    with pytest.raises(ConfigError, match="HYPERBOLIC_RPM"):
        bind("hyperbolic:")


@pytest.mark.parametrize(
    ("rpm", "said"), [(None, "5 with the Basic plan, 120 with Pro"), ("60", "60")]
)
def test_doctor_speaks_of_the_rate_at_hyperbolic(monkeypatch: pytest.MonkeyPatch, rpm, said):
    monkeypatch.setenv("HYPERBOLIC_API_KEY", "k")
    monkeypatch.delenv("HYPERBOLIC_RPM", raising=False)
    if rpm:
        monkeypatch.setenv("HYPERBOLIC_RPM", rpm)
    assert said in _hyperbolic_pace(bind("hyperbolic:"))


def dollars(usd: float | None) -> Amount:
    return Amount(10, usd)


def test_the_day_is_limited_for_all_threads_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SWARM_BRAIN_DAILY_USD", "1.0")
    outcomes: list[object] = []

    def spend():
        try:
            outcomes.append(quota.reserve(None, dollars(0.3)))
        except ModelError as error:
            outcomes.append(error.kind)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    booked = [outcome for outcome in outcomes if outcome != "budget"]
    assert len(booked) == 3
    quota.settle(booked[0], dollars(0.0))
    quota.reserve(None, dollars(0.3))
    with pytest.raises(ModelError, match="SWARM_BRAIN_DAILY_USD"):
        quota.reserve(None, dollars(0.3))
    with pytest.raises(ModelError, match="unknown"):
        quota.reserve(None, dollars(None))


def test_no_daily_limit_books_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.delenv("SWARM_BRAIN_DAILY_USD", raising=False)
    assert quota.reserve(None, dollars(1e9)) is None
    assert not (tmp_path / "data").exists()


def test_dry_run_asks_nobody_and_bounds_what_a_run_takes(script: Script):
    told = json.loads(worst_case(HARD, "eight", {"model": "scripted:m"}, as_json=True))
    assert script.requests == []
    assert (told["effort"], told["calls"], told["cost_usd"]) == ("high", 9, None)
    from swarm_brain.graph.brain import graph

    used = graph.invoke({"question": HARD}, context={"model": "scripted:m"})["usage"]
    assert used["input_tokens"] + used["output_tokens"] <= told["tokens"]
    assert "8 calls" in worst_case(
        HARD, "eight", {"model": "scripted:m", "max_revisions": 0}, as_json=False
    )


def test_a_prospect_refuses_what_begin_refuses(script: Script):
    with pytest.raises(ConfigError, match="nobody"):
        begin.prospect(
            load(), HARD, make_context({"model": "scripted:m", "expert_models": {"nobody": "a:b"}})
        )


def test_shared_first_puts_what_experts_share_before_what_is_their_own():
    topology = load()
    shown = [
        prompt.Part("question", "Q"),
        prompt.Part('heard from="memory"', "M"),
        prompt.Part('draft name="A"', "D"),
    ]
    reasoning, synthesis = topology.experts["reasoning"], topology.experts["synthesis"]
    first = prompt.messages(reasoning, shown[:2], "shared_first")
    second = prompt.messages(synthesis, shown, "shared_first")
    assert first[0].text == second[0].text
    assert first[1].text == reasoning.prompt
    assert second[1].text.endswith(synthesis.prompt)
    assert "<draft" in second[1].text
    role = prompt.messages(reasoning, shown, "role_first")
    assert role[0].text == reasoning.prompt


def test_layout_costs_at_most_five_percent_more_tokens(script: Script):
    from swarm_brain.graph.brain import graph

    def tokens(layout):
        context = {"model": "scripted:m", "prompt_layout": layout}
        return graph.invoke({"question": HARD}, context=context)["usage"]["input_tokens"]

    script.says = dict.fromkeys(script.says, "word " * 60)
    assert tokens("shared_first") <= 1.05 * tokens("role_first")
