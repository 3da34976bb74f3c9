"""Exit codes, the console for progress, and how an error is reported."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.errors import BlankQuestion, BrainError, ConfigError, NotText

ANSWERED, ERROR, USAGE, SIMULATED, PAUSED = 0, 1, 2, 3, 4

err = Console(stderr=True, highlight=False)
_tracebacks = False


def show_tracebacks() -> None:
    """Let expected errors end the process with a traceback, for debugging."""
    global _tracebacks
    _tracebacks = True


def tracebacks() -> bool:
    """Return whether `show_tracebacks` was called."""
    return _tracebacks


def note(text: str) -> None:
    """Print a remark that the user should see."""
    err.print(printable(text), style="yellow", markup=False, soft_wrap=True)


def fail(error: BrainError | OSError) -> int:
    """Print an error and return the exit code for it."""
    err.print(f"[bold red]Error:[/] {escape(printable(str(error)))}", soft_wrap=True)
    return USAGE if isinstance(error, ConfigError | BlankQuestion | NotText) else ERROR
