"""The rules of retries: failures to retry, waits, and the circuit breaker."""

from __future__ import annotations

import random

from swarm_brain.graph.errors import FailureKind

BACKOFF_SECONDS, BACKOFF_MOST = 0.5, 8.0
RETRY_AFTER_MOST = 60.0

# Failures after which the same request may succeed.
RETRYABLE_KINDS: frozenset[FailureKind] = frozenset(
    {"rate_limit", "server", "timeout", "connection", "no_reply"}
)
# Failures of the endpoint; three final ones in a row open its circuit.
ENDPOINT_KINDS: frozenset[FailureKind] = frozenset(
    {"auth", "not_found", "rate_limit", "server", "timeout", "connection", "no_reply",
     "unavailable"}
)  # fmt: skip


def pause(attempts: int, retry_after: float | None) -> float:
    """Return the seconds to wait after the n-th failed attempt.

    That is what the endpoint asks for, else exponential backoff with up to 50 % jitter, so that
    siblings do not retry at the same moment.
    """
    if retry_after is not None:
        return min(retry_after, RETRY_AFTER_MOST)
    wait = min(BACKOFF_SECONDS * 2.0 ** (attempts - 1), BACKOFF_MOST)
    return wait * (1 + random.random() / 2)  # noqa: S311
