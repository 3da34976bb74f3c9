"""The name of the package that this one replaced. New code imports `swarm_brain`."""

from swarm_brain.api import BrainConfig, PhiBrain

__all__ = ["BrainConfig", "PhiBrain"]
