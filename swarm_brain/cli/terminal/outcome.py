"""The outcome of a run: its JSON and its exit code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from typing import Any

import typer

from swarm_brain.cli.console import ANSWERED, ERROR, PAUSED, SIMULATED, err
from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.errors import BrainError
from swarm_brain.graph.state import RESULT_KEYS, Result
from swarm_brain.nodes.finish import usage
from swarm_brain.version import __version__

Progress = dict[str, Any]


def outcome(work: Coroutine[Any, Any, Result | None], as_json: bool, progress: Progress) -> int:
    """Run to a result and print it if it is wanted as JSON; the exit code it makes."""

    def tell(found: Mapping[str, object]) -> None:
        if as_json:
            typer.echo(json.dumps(found, ensure_ascii=False))

    try:
        result = asyncio.run(work)
    except BrainError as error:
        tell(failed_result(str(error), progress))
        raise
    except KeyboardInterrupt:
        tell(failed := failed_result("interrupted", progress))
        err.print(_interrupted(failed, progress.get("going_on", "")), markup=False, soft_wrap=True)
        return ERROR
    if result is None:
        tell(paused_result(progress))
        return PAUSED
    tell(result)
    if result["stop_reason"] == "failed" and result["provenance"] != "simulated":
        return ERROR
    return SIMULATED if result["provenance"] == "simulated" else ANSWERED


def failed_result(error: str, progress: Progress) -> dict[str, Any]:
    """The JSON of a run that ended with an error: every key, and what was spent until then."""
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


def paused_result(progress: Progress) -> dict[str, Any]:
    """The JSON of a run that waits for a decision: every key, and what is to be decided."""
    waiting = {"stop_reason": None, "error": None, "paused": progress["paused"]}
    return failed_result("", progress) | waiting


def _spent(usage: dict[str, Any]) -> str:
    tokens = (usage["input_tokens"] or 0) + (usage["output_tokens"] or 0)
    return f"{usage['calls']} finished calls and {tokens:,} tokens; calls under way are not counted"


def _interrupted(failed: dict[str, Any], going_on: str) -> str:
    return printable(f"Interrupted after {_spent(failed['usage'])}. {going_on}".rstrip())
