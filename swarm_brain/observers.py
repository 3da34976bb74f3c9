"""Who wants to know what runs do: a server's metrics and logs. Each event is told once.

Where nobody observes nothing is done, and an observer that fails disturbs no run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answered:
    """An expert has said something, or has failed to."""

    signal: Mapping[str, Any]


@dataclass(frozen=True)
class Finished:
    """A run has ended with a result; `user` is who has signed in, None for the local user."""

    run_id: str
    user: str | None
    result: Mapping[str, Any]


Observer = Callable[[Answered | Finished], None]
_observers: list[Observer] = []


def observe(observer: Observer) -> None:
    """Tell this observer all that happens from now on, in this process. Twice is once."""
    if observer not in _observers:
        _observers.append(observer)


def forget(observer: Observer) -> None:
    """Tell it nothing any more."""
    if observer in _observers:
        _observers.remove(observer)


def tell(event: Answered | Finished) -> None:
    """Tell everybody who observes."""
    for observer in list(_observers):
        try:
            observer(event)
        except Exception as error:  # noqa: BLE001  any observer, any fault; the run goes on
            log.warning("an observer has failed: %s", type(error).__name__)
