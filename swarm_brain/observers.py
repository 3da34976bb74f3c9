"""Observers of runs, such as a server's metrics and logs.

Each event is reported once. An observer that fails does not disturb the run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from swarm_brain.graph.signal import Signal
from swarm_brain.graph.state import Result

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExpertEnded:
    """An expert has answered or failed."""

    signal: Signal


@dataclass(frozen=True)
class RunEnded:
    """A run has ended with a result; `user` is None for the local user."""

    run_id: str
    user: str | None
    result: Result


Observer = Callable[[ExpertEnded | RunEnded], None]
_observers: list[Observer] = []


def observe(observer: Observer) -> None:
    """Report all events of this process to the observer, once."""
    if observer not in _observers:
        _observers.append(observer)


def forget(observer: Observer) -> None:
    """Stop reporting to the observer."""
    if observer in _observers:
        _observers.remove(observer)


def report(event: ExpertEnded | RunEnded) -> None:
    """Report an event to all observers."""
    for observer in list(_observers):
        try:
            observer(event)
        except Exception as error:  # noqa: BLE001  whatever its fault, the run continues
            log.warning("an observer has failed: %s", type(error).__name__)
