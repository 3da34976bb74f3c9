"""The global workspace: signals of a step compete, the winners are broadcast.

After Baars' global workspace theory (B. J. Baars, "A Cognitive Theory of Consciousness", 1988): a
stage of small capacity that all specialists read. Here it is a top-k selection by salience, and no
more. Pure functions.
"""

from __future__ import annotations

from typing_extensions import TypedDict


class Broadcast(TypedDict):
    """A broadcast signal, by reference: its words are in the state's `signals`."""

    source: str
    step: int
    salience: float


class Workspace(TypedDict):
    """The broadcast signals: at most `capacity` of each step."""

    capacity: int
    broadcasts: list[Broadcast]


def compete(current: Workspace | None, update: Workspace | list[Broadcast]) -> Workspace:
    """Reduce: add broadcasts, which compete for the places of their step.

    A whole workspace replaces the old one. The order of siblings' writes does not matter, since
    ties go to the alphabetically first source.
    """
    if isinstance(update, dict):
        return update
    capacity = current["capacity"] if current else 0
    entries = [*(current["broadcasts"] if current else []), *update]
    winners: list[Broadcast] = []
    for step in sorted({entry["step"] for entry in entries}):
        rivals = [entry for entry in entries if entry["step"] == step]
        rivals.sort(key=lambda entry: (-entry["salience"], entry["source"]))
        winners += rivals[:capacity]
    return {"capacity": capacity, "broadcasts": winners}
