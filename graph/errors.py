"""The errors that this project raises on purpose.

    BrainError
    ├── InputError              the question cannot be asked
    │   ├── BlankQuestion         it is empty
    │   ├── NotText               it is not text
    │   └── QuestionTooLong       longer than the model's context
    ├── ConfigError             a setting is wrong; nothing was called
    │   └── TopologyError         a topology file is wrong; names the file and the entry
    ├── BudgetTooSmall          the budget does not pay for one call; nothing was called
    │   └── DaySpent              what is left of the day's allowance does not
    ├── ModelUnavailable        a model cannot be used (package, key, weights)
    ├── MemoryUnavailable       memories or threads cannot be read or written
    ├── ThreadError             a thread cannot do this; names the command that can
    ├── ServerError             a server of the brain cannot be reached, or its run failed
    ├── ModelError              one call to a model failed (see `kind`)
    ├── RunCancelled            somebody cancelled the run; its thread can be resumed
    └── ExpertFailed            an expert failed and `on_error` is "raise"

Each message says what happened and what to do. No message contains a key.
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
    "left_out",  # by the setting `without`
    "skipped",  # by a person at a pause
    "stopped",  # a person ended the run at a pause
    "budget",  # the rest of the budget does not cover the call's worst case
    "deadline",  # the run's time is used up
    "circuit_open",  # the endpoint has failed too often in this run
]


class BrainError(RuntimeError):  # the LangGraph server hides the messages of other errors
    """Base class of all errors that this project raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the message and the attributes: Exception would call `__init__` with the message.

        So an error can cross to another process.
        """
        return _unpickled, (type(self), self.args), vars(self)


def _unpickled(kind: type[BrainError], args: tuple[object, ...]) -> BrainError:
    return kind.__new__(kind, *args)


class InputError(BrainError, ValueError):
    """The question cannot be asked."""


class BlankQuestion(InputError):
    """The question is empty or blank."""

    def __init__(self) -> None:
        super().__init__(
            "The question is empty. Pass it as {'question': '...'} or as the last human message."
        )


class NotText(InputError):
    """The question is not text."""

    def __init__(self, got: object) -> None:
        what = "bytes that are not UTF-8" if isinstance(got, str) else type(got).__name__
        super().__init__(f"The question must be text, not {what}.")


class QuestionTooLong(InputError):
    """The question does not fit into the model's context."""

    def __init__(self, tokens: int, context: int, model: str) -> None:
        super().__init__(
            f"The question needs about {tokens} tokens with its prompt and reply, but {model} has "
            f"a context of {context}. Shorten it, lower max_tokens or choose another model."
        )


class ConfigError(BrainError, ValueError):
    """A setting is wrong."""


class TopologyError(ConfigError):
    """A topology is wrong. `where` names the file."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")


class BudgetTooSmall(BrainError):
    """The budget does not pay for one call. `what` states the budget and the minimum."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The budget is too small for one call: {what}. No model was called.")
        self.what = what


class DaySpent(BudgetTooSmall):
    """The rest of the day's allowance does not pay for one call."""

    def __init__(self, what: str) -> None:
        BrainError.__init__(
            self,
            f"What is left of this day's allowance is too small for one call: {what}. No model was "
            "called. The allowance renews at midnight UTC.",
        )
        self.what = what


class ModelUnavailable(BrainError):
    """A model is not usable. `fix` suggests a remedy."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(f"{what} {fix}".strip())


class MemoryUnavailable(BrainError):
    """Memories cannot be read or written. `where` names the file or database."""

    def __init__(self, where: str, why: object) -> None:
        super().__init__(f"{where}: {str(why).strip() or type(why).__name__}")


class ThreadError(BrainError):
    """A saved thread does not support the requested action."""


class RunCancelled(BrainError):
    """The run was cancelled. Its thread can be resumed."""

    def __init__(self) -> None:
        super().__init__("The run was cancelled.")


class ServerError(BrainError):
    """A server of the brain cannot be reached, or its run failed."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{url}: {why}")
        self.url = url


class ModelError(BrainError):
    """One call to a model failed.

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


class ExpertFailed(BrainError):
    """An expert failed and `on_error` is "raise"."""

    def __init__(self, expert: str, reason: str) -> None:
        super().__init__(f"The expert {expert} failed: {reason}")
        self.expert = expert
