"""The old package's name, for code written against it. New code imports `swarm_brain`."""

from swarm_brain.api import BrainConfig, PhiBrain

__all__ = ["BrainConfig", "PhiBrain"]
