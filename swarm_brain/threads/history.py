"""Saved runs as plain data. `swarm_brain.runs` reports their events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from typing_extensions import TypedDict

from swarm_brain.graph.errors import ThreadError
from swarm_brain.graph.loading import load
from swarm_brain.graph.signal import ADDED
from swarm_brain.graph.state import RESULT_KEYS, BrainState, Result
from swarm_brain.graph.topology import Topology
from swarm_brain.nodes import emit
from swarm_brain.nodes.finish import usage
from swarm_brain.nodes.signal import PREVENTED
from swarm_brain.threads.checkpoints import SavedState, Saver, latest
from swarm_brain.version import __version__


class Summary(TypedDict):
    """A thread in one line; `provenance` is None while its last run is unfinished."""

    question: str
    date: str
    provenance: str | None
    cost_usd: float | None
    unfinished: bool
    paused: bool


def failure(state: SavedState) -> str | None:
    """Return why a strict run cannot continue: its expert's error."""
    if state.values["settings"]["on_error"] != "raise":
        return None
    signals = state.values.get("signals", [])
    return next((s["error"] for s in signals if s["error"] and s["failure"] not in PREVENTED), None)


def topology_of(state: SavedState) -> Topology:
    """Return the topology of a saved run. Raises ThreadError if it has changed since."""
    saved = state.values["topology"]
    topology = load(saved["name"])
    if topology.hash != saved["hash"]:
        raise ThreadError(
            f"The topology {saved['name']} has changed since this thread started with it: "
            f"{saved['hash'][:8]} then, {topology.hash[:8]} now. Restore the file, or ask again."
        )
    return topology


async def summary(saver: Saver, thread: str) -> Summary:
    """Return a thread in one line. Raises ThreadError without a readable run."""
    state = await latest(saver, thread)
    with of_this_version(state):
        for signal in state.signals:  # a thread that cannot be shown is not listed as if it could
            emit.answered(signal, None)
        return {
            "question": state.values["query"],
            "date": state.date,
            "provenance": None if state.next else state.values["provenance"],
            "cost_usd": usage(state.signals)["cost_usd"],
            "unfinished": bool(state.next),
            "paused": bool(state.pauses),
        }


@contextmanager
def of_this_version(state: SavedState) -> Iterator[None]:
    """Raise ThreadError for a missing key, as another version saved the thread."""
    try:
        yield
    except KeyError as missing:
        version = state.values.get("version")
        raise ThreadError(
            f"Version {version} of swarm-brain saved this thread, and version {__version__} cannot "
            f"read it: {missing} is missing."
        ) from None


def result(values: BrainState) -> Result:
    """Return a finished run's result in the form of `ask --json`."""
    saved: dict[str, object] = {**ADDED, **values}
    return cast(Result, {key: saved[key] for key in RESULT_KEYS})
