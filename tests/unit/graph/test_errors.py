"""Errors cross from one process to another as they are."""

from __future__ import annotations

import copy
import pickle

import pytest

from swarm_brain.graph import errors


@pytest.mark.parametrize(
    "error",
    [
        errors.BlankQuestion(),
        errors.QuestionTooLong(9, 8, "m"),
        errors.TopologyError("mine.yaml", "no experts"),
        errors.BudgetTooSmall("budget_tokens is 1"),
        errors.DaySpent("budget_tokens is 1"),
        errors.RunCancelled(),
        errors.ModelError("rate_limit", "slow down", status=429, retry_after=2.0),
        errors.ExpertFailed("creative", "no entry"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_pickled_and_copied(error: errors.BrainError):
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert (str(other), vars(other)) == (str(error), vars(error))
