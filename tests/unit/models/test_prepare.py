"""`auto` is resolved and weights are fetched once, for every way to run."""

from __future__ import annotations

import importlib.util

import pytest

from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import ModelUnavailable
from swarm_brain.graph.loading import load
from swarm_brain.models import embedded_weights
from swarm_brain.models.prepare import prepare

EIGHT = load("eight")


@pytest.fixture
def fetched(monkeypatch):
    """The models whose weights were fetched; none of them is on this machine."""
    names = []

    def fetch(name, progress):
        names.append(name)
        progress(1, 2)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "xllamacpp" or None)
    monkeypatch.setattr(embedded_weights, "resolve", lambda name: None)
    monkeypatch.setattr(embedded_weights, "fetch", fetch)
    for name in ("HYPERBOLIC_API_KEY", "SWARM_BRAIN_MODEL"):
        monkeypatch.delenv(name, raising=False)
    return names


def test_auto_becomes_the_model_that_answers(fetched):
    steps = []
    context, choice = prepare(make_context({}), EIGHT, lambda *step: steps.append(step))
    assert context.model == choice.spec == "embedded:smollm2-135m"
    assert "embedded model is installed" in choice.reason
    assert (fetched, steps) == (["smollm2-135m"], [("smollm2-135m", 1, 2)])


def test_weights_of_single_experts_are_fetched_too(fetched):
    settings = {"model": "lab:m", "expert_models": {"creative": "embedded:"}}
    context, choice = prepare(make_context(settings), EIGHT, lambda *step: None)
    assert (context.model, choice) == ("lab:m", ("lab:m", "you named it"))
    assert fetched == ["smollm2-135m"]


def test_weights_that_cannot_be_had_become_the_simulation_by_auto_only(fetched, monkeypatch):
    def gone(name, progress):
        raise ModelUnavailable("no weights.", "Go online.")

    monkeypatch.setattr(embedded_weights, "fetch", gone)
    context, choice = prepare(make_context({}), EIGHT, lambda *step: None)
    assert (context.model, choice.reason) == ("simulation:", "no weights. Go online.")
    with pytest.raises(ModelUnavailable, match="Go online"):
        prepare(make_context({"model": "embedded:"}), EIGHT, lambda *step: None)
