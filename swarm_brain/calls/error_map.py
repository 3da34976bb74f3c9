"""Map every vendor's errors to ModelError."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from swarm_brain.graph.errors import FailureKind, ModelError, ModelUnavailable


@dataclass(frozen=True)
class Origin:
    """The model and endpoint for error messages, and the key to hide in them."""

    spec: str
    endpoint: str
    secret: str | None = field(default=None, repr=False)

    def redact(self, text: str) -> str:
        """Remove the key, which some endpoints echo in their errors."""
        return text.replace(self.secret, "[key]") if self.secret else text


MESSAGE_LENGTH = 300

# Failures that are certainly not billed.
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
# The wording of OpenAI and vLLM, of llama.cpp and of others.
_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|context (length|size|window)|too many tokens",
    re.I,
)
# Raised by parsing a body that is not a reply: HTML, broken JSON, no choices, wrong types.
_UNPARSABLE = (json.JSONDecodeError, ValueError, IndexError, TypeError, KeyError, AttributeError)


def as_model_error(error: ModelError | ModelUnavailable) -> ModelError:
    """Return a ModelError, also for a model that disappears during a run."""
    return error if isinstance(error, ModelError) else ModelError("unavailable", str(error))


def translate(error: Exception, origin: Origin) -> ModelError:
    """Convert a vendor's error to a ModelError, in one line without the key."""
    if isinstance(error, ModelError):
        return error
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    headers = getattr(response, "headers", None) or {}
    message = " ".join(origin.redact(_message(error)).split())[:MESSAGE_LENGTH]
    return ModelError(
        _kind(error, status),
        f"{origin.spec} at {origin.endpoint}: {type(error).__name__}: {message}",
        status=status,
        retry_after=seconds(headers.get("retry-after")),
    )


def _message(error: Exception) -> str:
    """Return the messages of an error and of its root cause.

    Some vendors say no more than "Connection error".
    """
    root: BaseException = error
    while (deeper := root.__cause__ or root.__context__) is not None:
        root = deeper
    return f"{error} ({root})" if str(root) and str(root) not in str(error) else str(error)


def _kind(error: Exception, status: int | None) -> FailureKind:
    """Return the kind of failure, by the error's class name, else by its status.

    Names are compared, because vendors share no base class.
    """
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
    """Return Retry-After (seconds or an HTTP date) in seconds; None if unreadable."""
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
