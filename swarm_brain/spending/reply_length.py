"""Compute the longest reply within a budget, and its worst case."""

from __future__ import annotations

from dataclasses import replace

from swarm_brain.calls.request import Call
from swarm_brain.models.binding import Binding, Sampling
from swarm_brain.spending.ledger import LEAST_REPLY_TOKENS, Amount


def afford(binding: Binding, call: Call, bound: int | None) -> tuple[Sampling, Amount]:
    """Return the sampling within the budget, and the request's worst case.

    `bound` is the maximum tokens of the prompt; None if nothing is limited.
    """
    sampling = call.sampling
    if bound is None:
        return sampling, Amount()
    most = sampling.max_tokens
    if (left := call.ledger.affordable_tokens(answering=call.answering)) is not None:
        most = min(most, left - bound)
    if (usd := call.ledger.affordable_usd(answering=call.answering)) is not None:
        most = min(most, _reply_for(binding, bound, most, usd))
    least = min(LEAST_REPLY_TOKENS, sampling.max_tokens)
    sampling = replace(sampling, max_tokens=max(most, least))
    total = bound + sampling.max_tokens
    return sampling, Amount(total, binding.price(bound, 0, sampling.max_tokens))


def _reply_for(binding: Binding, bound: int, most: int, usd: float) -> int:
    """Return the tokens of the longest reply that `usd` dollars pay for."""
    low, high = 0, max(most, 0)
    while low < high:
        middle = (low + high + 1) // 2
        cost = binding.price(bound, 0, middle)
        low, high = (middle, high) if cost is not None and cost <= usd else (low, middle - 1)
    return low
