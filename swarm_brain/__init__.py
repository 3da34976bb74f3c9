"""Swarm Brain: eight role-specialised LLM experts answer one question together.

PhiBrain, BrainConfig, graph and build are exported on first use: importing the name costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph.brain import build, graph
    from swarm_brain.api import BrainConfig, PhiBrain

__version__ = "0.1.0"
__all__ = ["BrainConfig", "PhiBrain", "build", "graph"]

_HOMES = {
    "BrainConfig": "swarm_brain.api",
    "PhiBrain": "swarm_brain.api",
    "build": "graph.brain",
    "graph": "graph.brain",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
