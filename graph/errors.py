"""Every error this project raises on purpose.

    BrainError
    ├── InputError              the question cannot be asked
    │   ├── BlankQuestion         nothing in it
    │   ├── NotText               not text at all
    │   └── QuestionTooLong       longer than the model's context
    ├── ConfigError             a setting is wrong; nothing was called
    │   └── TopologyError         a topology file is wrong; names the file and the entry
    ├── BudgetTooSmall          not even one call can be paid; nothing was called
    │   └── DaySpent              because of what is left of a day's allowance
    ├── ModelUnavailable        no model can be had under this name (package, key, weights)
    ├── MemoryUnavailable       memories or threads cannot be read or written
    ├── ThreadError             a thread cannot do what is asked; says which command can
    ├── ServerError             a server of the brain cannot be asked, or its run has failed
    ├── ModelError              one call to a model has failed (see `kind`)
    ├── RunCancelled            somebody ended the run; its thread can be resumed
    └── ExpertFailed            an expert failed and the run was told to be strict

Each message says what, which and what to do. None of them ever carries a key.
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "BlankQuestion",
    "BrainError",
    "BudgetTooSmall",
    "ConfigError",
    "DaySpent",
    "ExpertFailed",
    "FailureKind",
    "InputError",
    "MemoryUnavailable",
    "ModelError",
    "ModelUnavailable",
    "NotText",
    "QuestionTooLong",
    "RunCancelled",
    "ServerError",
    "ThreadError",
    "TopologyError",
]

FailureKind = Literal[
    "auth",  # 401, 403
    "not_found",  # 404
    "refused_request",  # 400, 422 and other 4xx
    "context_overflow",  # the prompt is longer than the model's context
    "rate_limit",  # 429
    "server",  # 5xx
    "timeout",
    "connection",  # refused, reset, cut, unknown host
    "no_reply",  # 200, but nothing that is a reply
    "unreadable",  # a reply, but not in the form that was asked for
    "unavailable",  # the model could not be loaded
    "left_out",  # the setting `without` says so
    "skipped",  # somebody at a pause said so
    "stopped",  # somebody at a pause ended the run
    "budget",  # the call's worst case is not in the run's balance
    "deadline",  # the run's time is used up
    "circuit_open",  # the endpoint has failed too often in this run
]

_RETRYABLE: frozenset[FailureKind] = frozenset(
    {"rate_limit", "server", "timeout", "connection", "no_reply"}
)


class BrainError(RuntimeError):  # of other kinds the LangGraph server hides the message
    """Parent of all errors raised on purpose."""


class InputError(BrainError, ValueError):
    """The question cannot be asked as it stands."""


class BlankQuestion(InputError):
    """The question is empty or blank."""

    def __init__(self) -> None:
        super().__init__(
            "The question is empty. Give it as {'question': '...'} or as the last human message."
        )


class NotText(InputError):
    """The question is something else than text."""

    def __init__(self, got: object) -> None:
        what = "bytes that are not UTF-8" if isinstance(got, str) else type(got).__name__
        super().__init__(f"The question must be text, not {what}.")


class QuestionTooLong(InputError):
    """The question does not fit into the model's context."""

    def __init__(self, tokens: int, context: int, model: str) -> None:
        super().__init__(
            f"The question has about {tokens} tokens with its prompt and reply; {model} reads "
            f"{context}. Shorten it, lower max_tokens or choose a model with a longer context."
        )


class ConfigError(BrainError, ValueError):
    """A setting is wrong."""


class TopologyError(ConfigError):
    """A topology is wrong; `where` names the file and, if it can, the entry."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")


class BudgetTooSmall(BrainError):
    """Not even one call can be paid; `what` says what is there and what is needed at least."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The budget pays for no call: {what}. Nothing was asked.")
        self.what = what


class DaySpent(BudgetTooSmall):
    """What is left of the day's allowance pays for no call; there is a new one at midnight, UTC."""

    def __init__(self, what: str) -> None:
        BrainError.__init__(
            self,
            f"What is left of this day's allowance pays for no call: {what}. Nothing was asked; a "
            "new day begins at midnight, UTC.",
        )
        self.what = what


class ModelUnavailable(BrainError):
    """No model can be had under this name; `fix` says what would help."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(f"{what} {fix}".strip())


class MemoryUnavailable(BrainError):
    """Memories cannot be read or written; `where` is a file, a database or an embedder."""

    def __init__(self, where: str, why: object) -> None:
        super().__init__(f"{where}: {str(why).strip() or type(why).__name__}")


class ThreadError(BrainError):
    """A saved thread cannot do what is asked of it."""


class RunCancelled(BrainError):
    """Somebody ended the run."""

    def __init__(self) -> None:
        super().__init__("The run was cancelled.")


class ServerError(BrainError):
    """A server of the brain cannot be asked, or its run has failed."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{url}: {why}")
        self.url = url


class ModelError(BrainError):
    """One call to a model has failed.

    `kind` says how, `status` is the HTTP status if there was one, `retry_after` is in seconds.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind in _RETRYABLE


class ExpertFailed(BrainError):
    """An expert failed and `on_error` is "raise"."""

    def __init__(self, expert: str, reason: str) -> None:
        super().__init__(f"The expert {expert} failed: {reason}")
        self.expert = expert
