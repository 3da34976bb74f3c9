"""`ask --url`: ask a brain on a LangGraph server, shown as a local one is."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from rich.console import Console

from swarm_brain.cli.terminal.run import Ask, Running
from swarm_brain.cli.terminal.session import Session
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import ServerError, ThreadError
from swarm_brain.graph.loading import load
from swarm_brain.graph.state import Result
from swarm_brain.nodes.conversation import asked as checked
from swarm_brain.remote import GRAPH, RemoteBrain, connect, translated

UNFINISHED = {"busy": "is running", "interrupted": "waits for a decision, or was interrupted"}


async def answer(request: Ask, url: str, err: Console) -> Result | None:
    """Ask one question. Return None if the run is paused. Raises BrainError.

    Only explicit settings are sent; the server decides the others.
    """
    checked(request.question)
    context = make_context(request.settings)
    settings = context.model_dump(mode="json", include=context.model_fields_set)
    brain = connect(url)
    err.print(f"asking {brain.url}", style="dim", markup=False, soft_wrap=True)
    thread = await thread_for(brain, request.thread) if request.save else None
    running = RemoteRun(Session(err), brain, load(), thread, request.as_json, request.progress)
    return await running.to_the_end(running.start(request.question), settings)


@dataclass
class RemoteRun(Running):
    """A run on a server, in a saved thread unless saving is off."""

    @property
    def saved(self) -> bool:
        """Whether it has a thread."""
        return self.thread is not None

    @property
    def hint(self) -> str:
        """How to continue it: in Studio or by langgraph-sdk, with the thread's id."""
        return (
            f"Thread {self.thread} is saved on the server: continue in Studio or by langgraph-sdk."
        )


async def thread_for(brain: RemoteBrain, name: str | None) -> str:
    """Return the id of the server's thread of this name, created if missing.

    A name in the form of an id is used as the id. Raises ThreadError if the thread's run is
    unfinished.
    """
    api = brain.client.threads if brain.client else None
    assert api  # noqa: S101  `connect` has made it
    with translated(brain.url):
        thread: object
        if name is None:
            thread = await api.create(graph_id=GRAPH)
        elif _is_id(name):
            thread = await api.create(thread_id=name, if_exists="do_nothing", graph_id=GRAPH)
        else:
            named = await api.search(metadata={"name": name}, limit=1)
            thread = named[0] if named else await api.create(
                metadata={"name": name}, graph_id=GRAPH
            )  # fmt: skip
    if not isinstance(thread, dict) or not {"thread_id", "status"} <= thread.keys():
        raise ServerError(brain.url, "its answer is not a LangGraph server's.")
    if doing := UNFINISHED.get(thread["status"]):
        raise ThreadError(
            f"The thread {name} on {brain.url} {doing}. Finish it in Studio or by langgraph-sdk, "
            "or ask in another thread."
        )
    return str(thread["thread_id"])


def _is_id(name: str) -> bool:
    try:
        uuid.UUID(name)
    except ValueError:
        return False
    return True
