"""A brain on a LangGraph server, used like the one in this process.

`connect(url)` gives LangGraph's own RemoteGraph with three differences: what it streams and returns
has the local graph's form, errors are those of `graph.errors`, and the only key that leaves this
machine is SWARM_BRAIN_KEY (langgraph-sdk by itself would send LANGSMITH_API_KEY to any address).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

from langchain_core.messages import BaseMessage, messages_from_dict
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Interrupt
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import APIStatusError

from swarm_brain.config import variable
from swarm_brain.graph.compiled import BrainResult
from swarm_brain.graph.errors import BlankQuestion, BrainError, ConfigError, ServerError
from swarm_brain.graph.state import BrainOutput

__all__ = ["RemoteBrain", "connect"]

GRAPH = "brain"
KEY = "SWARM_BRAIN_KEY"
CONNECT_SECONDS, SILENCE_SECONDS = 5, 300  # as langgraph-sdk has them
INTERRUPTED = "__interrupt__"


class RemoteBrain(RemoteGraph):
    """RemoteGraph whose parts and results look like the local graph's."""

    @property
    def url(self) -> str:
        """The server's address."""
        return str(self._validate_client().http.client.base_url).rstrip("/")

    # LangGraph's `invoke` has other results with version="v2", which this one does not take.
    async def ainvoke(  # type: ignore[override]
        self, input: Any, config: Any = None, **options: Any
    ) -> BrainResult:
        """Return the result of a run. Raises BrainError."""
        return _output(await super().ainvoke(input, config, **options))

    def invoke(  # type: ignore[override]
        self, input: Any, config: Any = None, **options: Any
    ) -> BrainResult:
        """Return the result of a run. Raises BrainError."""
        return _output(super().invoke(input, config, **options))

    async def astream(
        self, input: Any, config: Any = None, *, stream_mode: Any = None, **options: Any
    ) -> AsyncIterator[Any]:
        """Parts as the local graph streams them: (mode, data) where several modes are asked for.

        Leaving the iterator cancels the run. Raises BrainError.
        """
        with translated(self.url):
            parts = super().astream(
                input, config, stream_mode=stream_mode, **_options(options), version="v2"
            )
            async for part in parts:
                yield _local(part, alone=not isinstance(stream_mode, list))

    def stream(
        self, input: Any, config: Any = None, *, stream_mode: Any = None, **options: Any
    ) -> Iterator[Any]:
        """The same, for callers without an event loop."""
        with translated(self.url):
            parts = super().stream(
                input, config, stream_mode=stream_mode, **_options(options), version="v2"
            )
            for part in parts:
                yield _local(part, alone=not isinstance(stream_mode, list))


def connect(url: str, graph: str = GRAPH) -> RemoteBrain:
    """The graph, or the assistant, of this name on a LangGraph server; nothing is sent yet.

    Raises ConfigError if the address or SWARM_BRAIN_KEY cannot be one.
    """
    import httpx

    headers = {"Authorization": f"Bearer {key}"} if (key := _key()) else {}
    options: Any = {
        "base_url": _checked(url),
        "headers": headers,
        "timeout": httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS, pool=None),
        "limits": httpx.Limits(max_connections=None),
    }
    client = LangGraphClient(httpx.AsyncClient(**options))
    return RemoteBrain(
        graph, client=client, sync_client=SyncLangGraphClient(httpx.Client(**options))
    )


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises for what is none
    except ValueError:
        raise ConfigError("This is no address of a server: write http://HOST:PORT") from None
    if parts.username or parts.password:  # not shown: it may hold a password
        raise ConfigError(f"The address of a server holds no user and no key: set {KEY} instead.")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} is no address of a server: write http://HOST:PORT")
    return url.rstrip("/")


def _key() -> str | None:
    key = variable(KEY)
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{KEY} holds characters that no key has.")
    return key


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """What a run is started with: nobody goes on paying for an answer that nobody waits for."""
    given.pop("version", None)
    return {"on_disconnect": "cancel", "multitask_strategy": "reject"} | given


def _local(part: Any, *, alone: bool) -> Any:
    mode, data = part["type"], part["data"]
    if mode == "messages":
        data = (*_messages(data[:1]), data[1])
    elif mode == "values":
        data = _values(data, part["interrupts"])
    elif mode == "updates" and INTERRUPTED in data:
        data = {INTERRUPTED: tuple(Interrupt(**found) for found in data[INTERRUPTED])}
    return data if alone else (mode, data)


def _messages(found: Sequence[dict[str, Any]]) -> list[BaseMessage]:
    return messages_from_dict([{"type": message["type"], "data": message} for message in found])


def _values(state: dict[str, Any], interrupts: tuple[Interrupt, ...]) -> dict[str, Any]:
    spoken = {"messages": _messages(state["messages"])} if "messages" in state else {}
    return {**state, **spoken, **({INTERRUPTED: interrupts} if interrupts else {})}


def _output(state: dict[str, Any] | None) -> BrainResult:
    """Return what the local graph's `invoke` returns of a state."""
    names = {*BrainOutput.__annotations__, INTERRUPTED}
    output = {name: value for name, value in (state or {}).items() if name in names}
    return cast(BrainResult, output)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Errors of the network, the server and the run in it, as BrainError."""
    import httpx

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
        raise ServerError(url, f"this is not how a LangGraph server answers ({error}).") from None


def _failed(url: str, told: Any) -> BrainError:
    """A run's own error: the same that the local graph raises where that can be told."""
    kind, message = "", str(told)
    if isinstance(told, dict):
        kind, message = str(told.get("error", "")), str(told.get("message") or told.get("error"))
    if kind == BlankQuestion.__name__:
        return BlankQuestion()
    if kind in (ConfigError.__name__, "TopologyError"):
        return ConfigError(message)
    return ServerError(url, f"the run failed: {message}")


def _refusal(error: APIStatusError) -> str:
    status, why = error.status_code, " ".join(error.message.split())
    match status:
        case 401 | 403:
            what = "refuses the key in" if variable(KEY) else "wants a key: set"
            return f"it {what} {KEY} (status {status})."
        case 404:
            return f"it has no such thing: {why}. Is it a LangGraph server of Swarm Brain?"
        case 422 if "assistant" in why:
            return f"it serves no such graph: {why}"
        case 409:
            return "a run is under way in this thread. Wait for it, or ask in another thread."
        case 429:
            return f"it takes no more requests now: {why}"
        case _:
            return f"status {status}: {why}"
