"""Ask the user to decide at a pause."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from swarm_brain.cli.terminal.text import printable, read_line
from swarm_brain.graph.errors import ConfigError
from swarm_brain.graph.events import Pause
from swarm_brain.nodes.interrupt import ACTIONS

KEYS = {action[0]: action for action in ACTIONS if action != "stop"} | {"t": "stop"}
PROMPT = "[a]pprove, [e]dit, [s]kip, s[t]op the run, or [q]uit and decide later"


async def ask(pauses: Sequence[Pause], decision: object, err: Console) -> dict[str, object] | None:
    """Return the user's decision for each pause by its id; None to stay paused.

    A `decision` from the command line answers all of them.
    """
    answers: dict[str, object] = {}
    for pause in pauses:
        answer = decision or await _ask_user(pause, err)
        if answer is None:
            return None
        answers[pause["id"]] = answer
    return answers


async def _ask_user(question: Pause, err: Console) -> dict[str, str] | None:
    if not (sys.stdin.isatty() and err.is_terminal):
        return None
    show(question, err)
    while True:
        err.print(PROMPT, markup=False)
        try:
            reply = (await read_line("> ")).strip().lower()
        except EOFError:
            return None
        if reply in ("q", "quit"):
            return None
        action = reply if reply in ACTIONS else KEYS.get(reply)
        if action == "edit":
            edited = click.edit(question["sees"])
            if edited and edited.strip():
                return {"action": "edit", "sees": edited}
        elif action:
            return {"action": action}


def show(question: Pause, err: Console) -> None:
    """Print the prompt that the expert would get."""
    title = f"before {question['expert']} (step {question['step']}, {question['model']})"
    for heading, text in ((title, question["procedure"]), ("it would see", question["sees"])):
        err.print(Panel(Text(printable(text)), title=Text(heading)))


def decision_of(action: str | None, file: Path | None) -> dict[str, str] | None:
    """Return the decision of `--decide approve` or `--decide edit --sees FILE`."""
    if action is None:
        if file is not None:
            raise ConfigError("--sees needs --decide edit.")
        return None
    if action not in ACTIONS:
        raise ConfigError(f"--decide {action!r}: choose one of {', '.join(ACTIONS)}.")
    if (action == "edit") != (file is not None):
        raise ConfigError("--decide edit needs --sees FILE; no other decision takes it.")
    return {"action": action, **({"sees": read(file)} if file is not None else {})}


def read(file: Path) -> str:
    """Return a file's text. Raises ConfigError if it cannot be read or is blank."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    if not text.strip():
        raise ConfigError(f"{file} is empty.")
    return text
