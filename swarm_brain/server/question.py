"""A question to a server, and the run that answers it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import RunControl

from swarm_brain.graph.context import Context
from swarm_brain.graph.state import BrainInput
from swarm_brain.server.api_keys import Owner
from swarm_brain.server.problems import Problem
from swarm_brain.validation import is_id


@dataclass(frozen=True)
class Question:
    """A question with its owner, thread and settings.

    `thread` is a public id, None for a new thread. Without `save` the run leaves no thread.
    """

    input: BrainInput
    context: Context
    topology: str = "eight"
    thread: str | None = None
    save: bool = True


@dataclass(frozen=True)
class ServedRun:
    """A run of this server; `thread` is its public id, None if not saved."""

    owner: Owner
    thread: str | None
    id: uuid.UUID
    control: RunControl = field(default_factory=RunControl)

    @property
    def private(self) -> str | None:
        """The id under which the thread is saved."""
        return None if self.thread is None else private_id(self.owner, self.thread)

    @property
    def config(self) -> RunnableConfig:
        """The LangGraph config of the run."""
        configurable: dict[str, object] = {}
        if self.private is not None:
            configurable["thread_id"] = self.private
        if self.owner.user is not None:
            configurable["langgraph_auth_user"] = self.owner.user
        return {"configurable": configurable, "run_id": self.id}


def private_id(owner: Owner, thread: str) -> str:
    """Return the id to save a thread under. Raises Problem(400) if invalid."""
    if not is_id(thread):
        raise Problem(
            400, "A thread's id has 1 to 64 letters, digits, - or _.", param="thread", code="thread"
        )
    return thread if owner.name is None else f"{owner.name}:{thread}"


def no_thread(thread: str) -> Problem:
    """Return the problem of a missing thread."""
    return Problem(404, f"There is no thread {thread}.", param="thread", code="thread_not_found")


def stopping(thread: str | None = None) -> Problem:
    """Return the problem of a server that is shutting down."""
    hint = f" The thread {thread} can be resumed." if thread else ""
    return Problem(
        503,
        f"The server is stopping.{hint}",
        type="server_error",
        code="draining",
        headers={"Retry-After": "5"},
    )
