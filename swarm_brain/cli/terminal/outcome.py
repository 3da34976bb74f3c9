"""The outcome of a run: its JSON and its exit code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import TypedDict

import typer

from swarm_brain.cli.console import ANSWERED, ERROR, PAUSED, SIMULATED, err
from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.errors import BrainError
from swarm_brain.graph.events import Answered, Pause
from swarm_brain.graph.state import RESULT_KEYS, Result
from swarm_brain.nodes.finish import usage
from swarm_brain.version import __version__


class Progress(TypedDict, total=False):
    """The progress of a run: answers so far, pauses, and how to continue it."""

    thread_id: str | None
    hint: str
    answered: list[Answered]
    paused: list[Pause]


def outcome(
    work: Coroutine[object, object, Result | None], as_json: bool, progress: Progress
) -> int:
    """Run to a result, print it as JSON if requested, return the exit code."""

    def report(result: Mapping[str, object]) -> None:
        if as_json:
            typer.echo(json.dumps(result, ensure_ascii=False))

    try:
        with failures_as_json(as_json, progress):
            result = asyncio.run(work)
    except KeyboardInterrupt:
        report(failed_result("interrupted", progress))
        err.print(_interrupted(progress), markup=False, soft_wrap=True)
        return ERROR
    if result is None:
        report(paused_result(progress))
        return PAUSED
    report(result)
    if result["stop_reason"] == "failed" and result["provenance"] != "simulated":
        return ERROR
    return SIMULATED if result["provenance"] == "simulated" else ANSWERED


@contextmanager
def failures_as_json(as_json: bool, progress: Progress) -> Iterator[None]:
    """Print a failed run's JSON if requested, then let the error pass."""
    try:
        yield
    except BrainError as error:
        if as_json:
            typer.echo(json.dumps(failed_result(str(error), progress), ensure_ascii=False))
        raise


def failed_result(error: str, progress: Progress) -> Mapping[str, object]:
    """Return the JSON of a failed run: every key, and its usage."""
    return {
        **dict.fromkeys(RESULT_KEYS),
        "stop_reason": "failed",
        "dissent": [],
        "recalled": [],
        "notes": [],
        "experts": [],
        "revised": False,
        "steps": 0,
        "usage": usage(progress.get("answered", [])),
        "thread_id": progress.get("thread_id"),
        "error": error,
        "version": __version__,
    }


def paused_result(progress: Progress) -> Mapping[str, object]:
    """Return the JSON of a paused run: every key, and the pending decisions."""
    waiting = {"stop_reason": None, "error": None, "paused": progress["paused"]}
    return {**failed_result("", progress), **waiting}


def _interrupted(progress: Progress) -> str:
    used = usage(progress.get("answered", []))
    tokens = (used["input_tokens"] or 0) + (used["output_tokens"] or 0)
    text = (
        f"Interrupted after {used['calls']} finished calls and {tokens:,} tokens; unfinished calls "
        f"are not counted. {progress.get('hint', '')}"
    )
    return printable(text.rstrip())
