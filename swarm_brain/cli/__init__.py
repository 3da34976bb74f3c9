"""The command `swarm-brain`."""

from __future__ import annotations


def main() -> None:
    """Entry point; imports the commands only when they are run."""
    from swarm_brain.cli.app import run

    run()
