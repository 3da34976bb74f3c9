"""At a pause: show what the expert would see, and let the user decide."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from swarm_brain.cli.terminal.text import printable, read_line
from swarm_brain.graph.errors import ConfigError
from swarm_brain.graph.events import Pause
from swarm_brain.nodes.interrupt import ACTIONS

KEYS = {action[0]: action for action in ACTIONS if action != "stop"} | {"t": "stop"}
PROMPT = "[a]pprove, [e]dit, [s]kip, s[t]op the run, [q]uit and go on later"


async def ask(pauses: Sequence[Pause], decision: object, err: Console) -> dict[str, object] | None:
    """The user's decision for each pause, by its id; None to leave the run paused.

    `decision`, given on the command line, answers all of them.
    """
    answers: dict[str, object] = {}
    for pause in pauses:
        answer = decision or await _asked(pause, err)
        if answer is None:
            return None
        answers[pause["id"]] = answer
    return answers


async def _asked(question: Pause, err: Console) -> dict[str, Any] | None:
    if not (sys.stdin.isatty() and err.is_terminal):
        return None
    show(question, err)
    while True:
        err.print(PROMPT, markup=False)
        try:
            said = (await read_line("> ")).strip().lower()
        except EOFError:
            return None
        if said in ("q", "quit"):
            return None
        action = said if said in ACTIONS else KEYS.get(said)
        if action == "edit":
            edited = click.edit(question["sees"])
            if edited and edited.strip():
                return {"action": "edit", "sees": edited}
        elif action:
            return {"action": action}


def show(question: Pause, err: Console) -> None:
    """What the expert would see."""
    title = f"before {question['expert']} (step {question['step']}, {question['model']})"
    for heading, text in ((title, question["procedure"]), ("it would see", question["sees"])):
        err.print(Panel(Text(printable(text)), title=Text(heading)))


def decision_of(action: str | None, file: Any) -> dict[str, Any] | None:
    """A decision given as options: `--decide approve`, or `--decide edit --sees FILE`."""
    if action is None:
        if file is not None:
            raise ConfigError("--sees goes with --decide edit.")
        return None
    if action not in ACTIONS:
        raise ConfigError(f"--decide {action!r}: it is one of {', '.join(ACTIONS)}.")
    if (action == "edit") != (file is not None):
        raise ConfigError("--decide edit needs --sees FILE, and no other decision takes it.")
    return {"action": action, **({"sees": read(file)} if file is not None else {})}


def read(file: Any) -> str:
    """A file's text. Raises ConfigError if it is none, or blank."""
    try:
        text: str = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    if not text.strip():
        raise ConfigError(f"{file} is empty.")
    return text
