"""Errors as the `error` event reports them. Pure."""

from __future__ import annotations

from swarm_brain.graph.errors import (
    BrainError,
    BudgetTooSmall,
    ConfigError,
    ExpertFailed,
    InputError,
    QuestionTooLong,
    RunCancelled,
    ThreadError,
)
from swarm_brain.graph.events import Failed, Failure

REQUEST, SERVER = "invalid_request_error", "server_error"

# The first class that fits.
_KINDS: tuple[tuple[type[BrainError], str, str], ...] = (
    (QuestionTooLong, REQUEST, "context_length_exceeded"),
    (InputError, REQUEST, "invalid_question"),
    (ConfigError, REQUEST, "invalid_setting"),
    (BudgetTooSmall, REQUEST, "budget_too_small"),
    (ThreadError, REQUEST, "thread_conflict"),
    (RunCancelled, REQUEST, "cancelled"),
    (ExpertFailed, SERVER, "expert_failed"),
    (BrainError, SERVER, "unavailable"),
)


def failure_of(error: BrainError) -> Failure:
    """Return the reported form of an error."""
    _, kind, code = next(row for row in _KINDS if isinstance(error, row[0]))
    return {"message": str(error), "type": kind, "param": None, "code": code}


def failed(error: BrainError) -> Failed:
    """Return the event that ends a run with this error."""
    return {"event": "error", "error": failure_of(error)}
