"""The available providers: the shipped ones, and those of other packages.

Each is a function `bind(model, base_url)` that returns a Binding, named as `module:function`: here
in PROVIDERS, or by a package in an entry point of the group `swarm_brain.providers`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

from swarm_brain.config import named_providers
from swarm_brain.graph.errors import BrainError, ConfigError, ModelUnavailable
from swarm_brain.models.binding import Binding

log = logging.getLogger(__name__)

GROUP = "swarm_brain.providers"
Bind = Callable[[str, str | None], Binding]


class Provider(NamedTuple):
    """A shipped provider: its help text, its module and its function."""

    text: str
    module: str
    function: str = "bind"

    def bind(self, model: str, base_url: str | None) -> Binding:
        """Bind a model. Importing the vendor's library may take long."""
        bind: Bind = getattr(import_module(f"swarm_brain.models.{self.module}"), self.function)
        return bind(model, base_url)


PROVIDERS: Mapping[str, Provider] = {
    "hyperbolic": Provider(
        "Hyperbolic's endpoint; needs HYPERBOLIC_API_KEY", "endpoint", "hyperbolic"
    ),
    "openai-compatible": Provider(
        "any OpenAI-compatible endpoint; needs --base-url", "endpoint", "openai_compatible"
    ),
    "embedded": Provider(
        "llama.cpp in this process: smollm2-135m or a path to a .gguf file", "embedded"
    ),
    "huggingface": Provider(
        "local transformers pipeline: hub id, folder or .gguf file", "huggingface.provider"
    ),
    "scripted": Provider(
        "replies from a YAML or JSON file, for tests: scripted:replies.yaml", "scripted_chat"
    ),
    "simulation": Provider("no model at all; every reply says so", "simulated_chat"),
}


def known() -> str:
    """Return the names of all providers but LangChain's, for error messages."""
    return ", ".join(dict.fromkeys([*PROVIDERS, *named_providers(), *plugins()]))


def plugins() -> Mapping[str, EntryPoint]:
    """Return the providers of other packages by name, without loading them."""
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

    Raises ModelUnavailable with the package's name for any error but a BrainError.
    """
    try:
        bind: Bind = point.load()
        binding = bind(model, base_url)
    except BrainError:
        raise
    except (Exception, SystemExit) as error:  # a module may call sys.exit when it is imported
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
