"""Failures of every arm, and unknown arms."""

from __future__ import annotations

import pytest

from swarm_brain.evals.arms.registry import NAMES, find_arm
from swarm_brain.graph.errors import ConfigError, ModelError, ModelUnavailable
from swarm_brain.graph.loading import load
from swarm_brain.models import choose
from tests.evals.samples import (
    AGGREGATE,
    ANSWER,
    CHECK,
    CHOOSE,
    chance,
    context,
    drafts,
    example,
    respond,
    setup,
)
from tests.fakes import Script

DOWN = ModelError("not_found", "no such model", status=404)


@pytest.mark.parametrize("arm", [*NAMES, "swarm-minus:memory"])
async def test_a_failing_endpoint_is_an_answer_without_words(script: Script, arm: str):
    traces = await drafts(script, "beta")
    script.requests.clear()
    askers = ("perception", "attention", "memory", "reasoning", "creative", "analytical",
              "synthesis", "meta_cognitive", ANSWER, CHECK, CHOOSE, AGGREGATE)  # fmt: skip
    script.says |= dict.fromkeys(askers, DOWN)
    response = await respond(arm, setup(5000, drafts=traces), example())
    assert (response.text, response.provenance) == ("", "simulated")
    assert response.error
    assert len(script.requests) <= 8, "who fails is not asked sixty times"


@pytest.mark.parametrize("arm", ["single", "single-long", "self-consistency", "self-moa", "swarm"])
async def test_a_simulation_has_no_words(arm: str):
    fixed = type(setup())(context(model="simulation:"), load(), 3000)
    answer = await respond(arm, fixed, example())
    assert (answer.text, answer.provenance) == ("", "simulated")


@pytest.mark.parametrize("arm", ["single", "self-moa", "swarm"])
async def test_a_model_that_cannot_be_had_is_an_error(monkeypatch, arm: str):
    def bind(spec: str, base_url: str | None = None):
        raise ModelUnavailable("no such weights")

    monkeypatch.setattr(choose, "bind", bind)
    with pytest.raises(ModelUnavailable, match="no such weights"):
        await respond(arm, setup(3000), example())


@pytest.mark.parametrize(
    ("name", "says"),
    [("swam", "no arm 'swam'; there are swarm"),
     ("swarm-minus:bob", "the topology's experts are perc"),
     ("swarm-minus:", "the topology's experts are"), ("", "no arm ''")],
)  # fmt: skip
def test_unknown_arms_are_named(name: str, says: str):
    with pytest.raises(ConfigError, match=says):
        find_arm(name, load())


def test_chance_is_the_requests_own():
    request = {"sampling": type("S", (), {"seed": 3}), "expert": "x", "user": "y"}
    assert chance(request).random() == chance(request).random()
