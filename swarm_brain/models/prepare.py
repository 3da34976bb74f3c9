"""Prepare a run's models: resolve `auto` and fetch missing weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ModelUnavailable
from swarm_brain.graph.topology import Topology
from swarm_brain.models import embedded_weights
from swarm_brain.models.choose import EMBEDDED_NAME, Choice, choose, simulate_instead

Progress = Callable[[str, int, int], None]  # model, bytes so far, bytes in all


def prepare(context: Context, topology: Topology, progress: Progress) -> tuple[Context, Choice]:
    """Return the settings with `auto` resolved, and the choice with its reason.

    Embedded weights are fetched, and each step is reported to `progress`. If `auto` selects
    unavailable weights, the simulation takes their place. Raises ModelUnavailable for any other
    model.
    """
    choice = choose(context.model)
    own = [expert.model for expert in topology.experts.values() if expert.model]
    try:
        for spec in {choice.spec, *own, *context.expert_models.values()}:
            provider, _, model = spec.partition(":")
            if provider == "embedded":
                fetch(model or EMBEDDED_NAME, progress)
    except ModelUnavailable as error:
        choice = simulate_instead(context.model, choice, error)
    return context.model_copy(update={"model": choice.spec}), choice


def fetch(model: str, progress: Progress) -> Path:
    """Return the file of an embedded model, downloading it if necessary."""
    return embedded_weights.resolve(model) or embedded_weights.fetch(
        model, partial(progress, model)
    )
