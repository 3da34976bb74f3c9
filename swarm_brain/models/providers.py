"""The providers there are: those shipped here, and those that other packages add.

A package adds one with an entry point of the group `swarm_brain.providers`: its name is the
provider's, its value a function `bind(model, base_url)` that returns a Binding.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from swarm_brain.config import named_providers
from swarm_brain.graph.errors import BrainError, ConfigError, ModelUnavailable
from swarm_brain.models.binding import Binding

log = logging.getLogger(__name__)

GROUP = "swarm_brain.providers"
Bind = Callable[[str, str | None], Binding]

# What each shipped provider is, for help texts.
PROVIDERS: Mapping[str, str] = {
    "hyperbolic": "Hyperbolic's endpoint; needs HYPERBOLIC_API_KEY",
    "openai-compatible": "any OpenAI-compatible endpoint; needs --base-url",
    "embedded": "llama.cpp in this process: smollm2-135m or a path to a .gguf file",
    "huggingface": "local transformers pipeline: hub id, folder or .gguf file",
    "scripted": "replies from a YAML or JSON file, for tests: scripted:replies.yaml",
    "simulation": "no model at all; every reply says so",
}


def known() -> str:
    """Return the names of all providers but LangChain's, for error messages."""
    return ", ".join(dict.fromkeys([*PROVIDERS, *named_providers(), *plugins()]))


def plugins() -> Mapping[str, EntryPoint]:
    """Return the providers that installed packages add, by name. Loads none of them."""
    return _plugins(tuple(sys.path))


@lru_cache(maxsize=8)
def _plugins(path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    added: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        if point.name in PROVIDERS or point.name in added:
            log.warning(
                "the provider %s of %s is ignored: the name is taken", point.name, of(point)
            )
        else:
            added[point.name] = point
    return added


def of(point: EntryPoint) -> str:
    """Return the name of the package that has this entry point."""
    return point.dist.name if point.dist else point.value


def bind_plugin(point: EntryPoint, model: str, base_url: str | None) -> Binding:
    """Bind a model of a provider from another package.

    Raises ModelUnavailable, naming the package, for any error but a BrainError.
    """
    try:
        bind: Bind = point.load()
        binding = bind(model, base_url)
    except BrainError:
        raise
    except Exception as error:
        raise ModelUnavailable(
            f"{point.name}: the package {of(point)} failed: {type(error).__name__}: {error}.",
            "Update or uninstall it.",
        ) from error
    if not isinstance(binding, Binding):
        raise ConfigError(
            f"{point.name}: {point.value} of the package {of(point)} must return a Binding, not "
            f"{type(binding).__name__}."
        )
    return replace(binding, spec=f"{point.name}:{model}")
