"""The version of Swarm Brain."""

__version__ = "0.1.0"
