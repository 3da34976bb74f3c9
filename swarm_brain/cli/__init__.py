"""The command `swarm-brain`."""

from __future__ import annotations


def main() -> None:
    """Run the command line. Every expected error becomes a message and an exit code."""
    # Imported here: importing the package must stay cheap.
    from swarm_brain.cli.app import app
    from swarm_brain.cli.console import ERROR, err, fail, tracebacks
    from swarm_brain.graph.errors import BrainError

    try:
        app()
    except (BrainError, OSError) as error:
        if tracebacks():
            raise
        raise SystemExit(fail(error)) from None
    except KeyboardInterrupt:
        err.print("Interrupted.")
        raise SystemExit(ERROR) from None
