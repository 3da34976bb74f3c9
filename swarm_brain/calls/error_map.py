"""What can go wrong with a call, told in our words: every vendor's errors as ModelError."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from swarm_brain.graph.errors import FailureKind, ModelError, ModelUnavailable


@dataclass(frozen=True)
class Origin:
    """Whose call it was: what messages name, and the key that they must not."""

    spec: str
    endpoint: str
    secret: str | None = field(default=None, repr=False)

    def redact(self, text: str) -> str:
        """`text` without the key, which some endpoints echo in their errors."""
        return text.replace(self.secret, "[key]") if self.secret else text


MESSAGE_LENGTH = 300

# Failures that speak against the endpoint; three final ones in a row open its circuit.
ENDPOINT_KINDS: frozenset[FailureKind] = frozenset(
    {"auth", "not_found", "rate_limit", "server", "timeout", "connection", "no_reply",
     "unavailable"}
)  # fmt: skip
# Failures of which it is certain that nobody bills them.
UNBILLED_KINDS: frozenset[FailureKind] = frozenset(
    {"auth", "not_found", "refused_request", "context_overflow", "rate_limit", "unavailable"}
)
_BY_NAME: tuple[tuple[str, FailureKind], ...] = (
    ("ContextOverflow", "context_overflow"),
    ("Timeout", "timeout"),
    ("Connection", "connection"),
    ("Connect", "connection"),
    ("RemoteProtocol", "connection"),
    ("ReadError", "connection"),
)
# How servers word it: OpenAI and vLLM, llama.cpp, and others.
_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|context (length|size|window)|too many tokens",
    re.I,
)
# What parsing a body raises that is no reply: HTML, broken JSON, no choices, wrong types.
_UNPARSABLE = (json.JSONDecodeError, ValueError, IndexError, TypeError, KeyError, AttributeError)


def as_model_error(error: ModelError | ModelUnavailable) -> ModelError:
    """A model that is gone in the middle of a run is a failed call, like any other."""
    return error if isinstance(error, ModelError) else ModelError("unavailable", str(error))


def translate(error: Exception, origin: Origin) -> ModelError:
    """A vendor's error as ours: kind, status and Retry-After, without the key, on one line."""
    if isinstance(error, ModelError):
        return error
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    headers = getattr(response, "headers", None) or {}
    said = " ".join(origin.redact(_words(error)).split())[:MESSAGE_LENGTH]
    return ModelError(
        _kind(error, status),
        f"{origin.spec} at {origin.endpoint}: {type(error).__name__}: {said}",
        status=status,
        retry_after=seconds(headers.get("retry-after")),
    )


def _words(error: Exception) -> str:
    """The error's own words, and its root cause's: vendors say no more than "Connection error"."""
    root: BaseException = error
    while (deeper := root.__cause__ or root.__context__) is not None:
        root = deeper
    return f"{error} ({root})" if str(root) and str(root) not in str(error) else str(error)


def _kind(error: Exception, status: int | None) -> FailureKind:
    """The kind of failure, by the error's class name (vendors share no base), else by status."""
    for ancestor in type(error).__mro__:
        for part, kind in _BY_NAME:
            if part in ancestor.__name__:
                return kind
    match status:
        case 401 | 403:
            return "auth"
        case 404:
            return "not_found"
        case 408:
            return "timeout"
        case 429:
            return "rate_limit"
        case 400 | 413 | 422 if _OVERFLOW.search(f"{getattr(error, 'body', '')} {error}"):
            return "context_overflow"
        case int() if 400 <= status < 500:
            return "refused_request"
        case int() if status >= 500:
            return "server"
        case _:
            return "no_reply" if isinstance(error, _UNPARSABLE) else "connection"


def seconds(value: str | None) -> float | None:
    """Retry-After in seconds, given as seconds or as an HTTP date; None if absent or unreadable."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
