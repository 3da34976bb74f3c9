"""Presets: settings that go together, under a name.

One statement of them for all: assistants of a LangGraph server (`swarm-brain assistants`), models
of the OpenAI-compatible endpoint (`swarm-brain-fast`). Settings are fields of `graph.context`;
what a preset does not name stays as it is. None chooses a model: that is the owner's affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """A name, what it is for, and the settings that make it."""

    name: str
    description: str
    settings: dict[str, Any] = field(default_factory=dict)


def _named(*presets: Preset) -> Mapping[str, Preset]:
    return MappingProxyType({preset.name: preset for preset in presets})


PRESETS: Mapping[str, Preset] = _named(
    Preset(
        "fast",
        "Three experts whatever the question: perception, reasoning, synthesis; memory too, if "
        "something is recalled.",
        {"effort": "low"},
    ),
    Preset(
        "thorough",
        "All eight experts whatever the question, with a revision if the critic finds a defect, "
        "more memories, and patience with a slow or faltering endpoint.",
        {
            "effort": "high",
            "max_revisions": 1,
            "recall_limit": 10,
            "timeout": 180.0,
            "max_attempts": 5,
        },
    ),
    Preset(
        "cheap",
        "The experts of fast within 12,000 tokens, prompts included; replies are shortened to fit, "
        "and the same request is not paid for twice while the process lives.",
        {"effort": "low", "budget_tokens": 12_000, "cache": "memory"},
    ),
)
