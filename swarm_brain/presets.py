"""Presets: settings that go together, under a name.

They are assistants of a LangGraph server (`swarm-brain assistants`) and models of the
OpenAI-compatible endpoint (`swarm-brain-fast`). Settings are fields of `graph.context`; those that
a preset does not name keep their defaults. No preset chooses a model: the owner does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """Settings under a name, and their purpose."""

    name: str
    description: str
    settings: dict[str, str | int | float] = field(default_factory=dict)


def _named(*presets: Preset) -> Mapping[str, Preset]:
    return MappingProxyType({preset.name: preset for preset in presets})


PRESETS: Mapping[str, Preset] = _named(
    Preset(
        "fast",
        "Three experts for every question: perception, reasoning and synthesis; memory too if "
        "something is recalled.",
        {"effort": "low"},
    ),
    Preset(
        "thorough",
        "All eight experts for every question, a revision if the critic finds a defect, more "
        "memories, and longer timeouts and more attempts for slow endpoints.",
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
        "The experts of fast within 12,000 tokens, prompts included. Replies are shortened to fit, "
        "and a repeated request is answered from memory while the process lives.",
        {"effort": "low", "budget_tokens": 12_000, "cache": "memory"},
    ),
)
