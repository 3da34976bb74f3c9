"""Swarm Brain: eight role-specialised LLM experts answer one question together.

PhiBrain, BrainConfig and build are imported on first use, so importing this package is fast.
The compiled graph is `swarm_brain.graph.brain.graph`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from swarm_brain.version import __version__

if TYPE_CHECKING:
    from swarm_brain.api import BrainConfig, PhiBrain
    from swarm_brain.graph.brain import build

__all__ = ["BrainConfig", "PhiBrain", "__version__", "build"]

_HERE = Path(__file__).resolve().parent
if not (_HERE / "graph").is_dir() and (_HERE.parent / "pyproject.toml").is_file():
    __path__.append(str(_HERE.parent))  # a checkout whose symbolic links did not survive

_HOMES = {
    "BrainConfig": "swarm_brain.api",
    "PhiBrain": "swarm_brain.api",
    "build": "swarm_brain.graph.brain",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
