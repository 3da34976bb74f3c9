"""A brain on a LangGraph server, used like the one in this process.

`connect(url)` returns LangGraph's RemoteGraph with three differences: what it streams and returns
has the local graph's form, errors are those of `graph.errors`, and the only key that it sends is
SWARM_BRAIN_KEY (langgraph-sdk by itself sends LANGSMITH_API_KEY to any address).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

from langchain_core.messages import BaseMessage, messages_from_dict
from langchain_core.runnables import RunnableConfig
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Interrupt, StreamMode
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import APIStatusError
from typing_extensions import TypedDict

from swarm_brain.config import variable
from swarm_brain.graph.compiled import BrainResult
from swarm_brain.graph.errors import BlankQuestion, BrainError, ConfigError, ServerError
from swarm_brain.graph.state import BrainOutput

__all__ = ["RemoteBrain", "connect"]

GRAPH = "brain"
KEY = "SWARM_BRAIN_KEY"
CONNECT_SECONDS, SILENCE_SECONDS = 5, 300  # as langgraph-sdk has them
INTERRUPTED = "__interrupt__"

Json = dict[str, Any]
Modes = StreamMode | list[StreamMode] | None


class RemoteBrain(RemoteGraph):
    """RemoteGraph with the parts and results of the local graph."""

    @property
    def url(self) -> str:
        """The server's address."""
        return str(self._validate_client().http.client.base_url).rstrip("/")

    # LangGraph's `invoke` has other results with version="v2", which this one does not take.
    async def ainvoke(  # type: ignore[override]  # no version="v2"
        self, input: object, config: RunnableConfig | None = None, **options: Any
    ) -> BrainResult:
        """Return the result of a run. Raises BrainError."""
        return _output(await super().ainvoke(cast("Json", input), config, **options))

    def invoke(  # type: ignore[override]  # as ainvoke
        self, input: object, config: RunnableConfig | None = None, **options: Any
    ) -> BrainResult:
        """Return the result of a run. Raises BrainError."""
        return _output(super().invoke(cast("Json", input), config, **options))

    async def astream(
        self,
        input: object,
        config: RunnableConfig | None = None,
        *,
        stream_mode: Modes = None,
        **options: Any,
    ) -> AsyncIterator[Any]:
        """Yield the same parts as the local graph.

        Leaving the iterator cancels the run. Raises BrainError.
        """
        with translated(self.url):
            parts = super().astream(
                cast("Json", input), config, stream_mode=stream_mode, **_options(options)
            )
            async for part in parts:
                yield _local(cast("_Part", part), alone=not isinstance(stream_mode, list))

    def stream(
        self,
        input: object,
        config: RunnableConfig | None = None,
        *,
        stream_mode: Modes = None,
        **options: Any,
    ) -> Iterator[Any]:
        """`astream` for callers without an event loop."""
        with translated(self.url):
            parts = super().stream(
                cast("Json", input), config, stream_mode=stream_mode, **_options(options)
            )
            for part in parts:
                yield _local(cast("_Part", part), alone=not isinstance(stream_mode, list))


def connect(url: str, graph: str = GRAPH) -> RemoteBrain:
    """Return the graph or assistant of this name on a LangGraph server.

    Raises ConfigError if the address or SWARM_BRAIN_KEY is not valid.
    """
    import httpx  # slow to import

    headers = {"Authorization": f"Bearer {key}"} if (key := _key()) else {}
    base_url = _checked(url)
    timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS, pool=None)
    limits = httpx.Limits(max_connections=None)
    client = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=timeout, limits=limits)
    sync = httpx.Client(base_url=base_url, headers=headers, timeout=timeout, limits=limits)
    return RemoteBrain(graph, client=LangGraphClient(client), sync_client=SyncLangGraphClient(sync))


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises ValueError if it is not a port
    except ValueError:
        raise ConfigError("The server's address is not valid: write http://HOST:PORT") from None
    if parts.username or parts.password:  # not shown: it may hold a password
        raise ConfigError(
            f"Remove the user and the key from the server's address: set {KEY} instead."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} is not a server's address: write http://HOST:PORT")
    return url.rstrip("/")


def _key() -> str | None:
    key = variable(KEY)
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{KEY} is not a valid key: it must be printable ASCII.")
    return key


def _options(options: Json) -> Json:
    """Return the options of a run: it ends when its client disconnects."""
    return {"on_disconnect": "cancel", "multitask_strategy": "reject"} | options | {"version": "v2"}


class _Part(TypedDict):
    """One part of a stream of version 2."""

    type: str
    data: Any  # by type: a state, an event, a message with its metadata
    interrupts: tuple[Interrupt, ...]


def _local(part: _Part, *, alone: bool) -> object:
    mode, data = part["type"], part["data"]
    if mode == "messages":
        data = (*_messages(data[:1]), data[1])
    elif mode == "values":
        data = _values(data, part["interrupts"])
    elif mode == "updates" and INTERRUPTED in data:
        data = {INTERRUPTED: tuple(Interrupt(**pause) for pause in data[INTERRUPTED])}
    return data if alone else (mode, data)


def _messages(messages: Sequence[Json]) -> list[BaseMessage]:
    return messages_from_dict([{"type": message["type"], "data": message} for message in messages])


def _values(state: Json, interrupts: tuple[Interrupt, ...]) -> Json:
    messages = {"messages": _messages(state["messages"])} if "messages" in state else {}
    return {**state, **messages, **({INTERRUPTED: interrupts} if interrupts else {})}


def _output(state: Json | None) -> BrainResult:
    """Return the output that the local graph would return for a state."""
    names = {*BrainOutput.__annotations__, INTERRUPTED}
    output = {name: value for name, value in (state or {}).items() if name in names}
    return cast(BrainResult, output)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise errors of the network, of the server and of a run in it as BrainError."""
    import httpx  # slow to import

    try:
        yield
    except RemoteException as error:
        raise _failed(url, error.args[0] if error.args else None) from None
    except APIStatusError as error:
        raise ServerError(url, _refusal(error)) from None
    except httpx.TimeoutException:
        raise ServerError(url, "it does not answer in time.") from None
    except httpx.ConnectError as error:
        raise ServerError(url, f"it cannot be reached ({error}). Is it running?") from None
    except (httpx.HTTPError, json.JSONDecodeError) as error:
        raise ServerError(url, f"its answer is not a LangGraph server's ({error}).") from None


def _failed(url: str, reported: object) -> BrainError:
    """Return the error of a failed run, of its local class if that is known."""
    kind, message = "", str(reported)
    if isinstance(reported, dict):
        kind = str(reported.get("error", ""))
        message = str(reported.get("message") or reported.get("error"))
    if kind == BlankQuestion.__name__:
        return BlankQuestion()
    if kind in (ConfigError.__name__, "TopologyError"):
        return ConfigError(message)
    return ServerError(url, f"the run failed: {message}")


def _refusal(error: APIStatusError) -> str:
    status, why = error.status_code, " ".join(error.message.split())
    match status:
        case 401 | 403:
            what = "refuses the key in" if variable(KEY) else "requires a key: set"
            return f"it {what} {KEY} (status {status})."
        case 404:
            return f"not found: {why}. Is it a LangGraph server of Swarm Brain?"
        case 422 if "assistant" in why:
            return f"it does not serve this graph: {why}"
        case 409:
            return "a run is under way in this thread. Wait for it, or ask in another thread."
        case 429:
            return f"it accepts no more requests now: {why}"
        case _:
            return f"status {status}: {why}"
