"""`embedded:` a llama.cpp server in this process, on loopback, with a random key."""

from __future__ import annotations

import atexit
import gc
import os
import re
import secrets
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from swarm_brain.graph.errors import ModelUnavailable
from swarm_brain.models import embedded_weights, endpoint
from swarm_brain.models.choose import EMBEDDED_NAME

if TYPE_CHECKING:
    from swarm_brain.models.binding import Binding, JsonSchema

HOST = "127.0.0.1"
PARALLEL = 4  # requests answered at once; more of them wait in line
MAX_CONTEXT_TOKENS = 8192  # per request; memory for all of them is taken at the start
# A prompt is read in steps of this many tokens. Larger ones are not faster on a CPU, and a running
# step must end before the server can stop.
STEP_TOKENS = 256
# Cached prompts outside the slots: with more experts than slots, each expert's instructions would
# otherwise be read again every time.
PROMPT_CACHE_MIB = 512
SMALL_MAX_TOKENS, MAX_TOKENS = 256, 1024
MAX_THREADS = 8
HEADER_BYTES = 1 << 20
TEXT_LENGTH, LIST_LENGTH = 120, 3  # limits where a JSON schema has none, in characters and items
ANSWER_SECONDS = 30.0


class _Engine(Protocol):
    """A server of xllamacpp; it stops when its last reference is dropped."""

    listening_address: str


@dataclass(frozen=True)
class LocalServer:
    """A running server: its base URL, its key, the context of one request."""

    url: str
    api_key: str = field(repr=False)
    context_tokens: int


_running: dict[Path, tuple[LocalServer, _Engine]] = {}
_lock = threading.Lock()


def bind(model: str, base_url: str | None = None) -> Binding:
    """Bind `embedded:model`; fetches the weights and starts the server on first use.

    Raises ModelUnavailable if the package or the weights cannot be had.
    """
    model = model or EMBEDDED_NAME
    server = serve(embedded_weights.resolve(model) or embedded_weights.fetch(model))
    binding = endpoint.bind(
        f"embedded:{model}",
        server.url,
        server.api_key,
        max_tokens=SMALL_MAX_TOKENS if model in embedded_weights.CATALOG else MAX_TOKENS,
        context_tokens=server.context_tokens,
    )
    return replace(
        binding,
        count_tokens=lambda text: count_tokens(server, text),
        schema_arguments=lambda name, schema: endpoint.response_format(name, _bounded(schema)),
        price=lambda *_: 0.0,
    )


def _bounded(schema: JsonSchema) -> JsonSchema:
    """Limit texts and lists of a schema, since small models may never stop."""
    match schema:
        case {"type": "string"}:
            return {**schema, "maxLength": TEXT_LENGTH}
        case {"type": "array", "items": Mapping() as items}:
            return {**schema, "maxItems": LIST_LENGTH, "items": _bounded(items)}
        case {"properties": Mapping() as properties}:
            parts = {name: _bounded(part) for name, part in properties.items()}
            return {**schema, "properties": parts}
        case _:
            return schema


def serve(path: Path) -> LocalServer:
    """Return the server for the GGUF file at `path`, started if necessary.

    Blocks while the model loads, half a second or more. There is one server per file, which ends
    with the interpreter. Raises ModelUnavailable if the file cannot be read or loaded, or if the
    package is missing.
    """
    place = embedded_weights.require_gguf(path).resolve()
    with _lock:
        if place not in _running:
            # Registered again each time, so that it runs before all handlers registered so far.
            atexit.unregister(stop_all)
            atexit.register(stop_all)
            _running[place] = _start(place)
        return _running[place][0]


def stop_all() -> None:
    """Stop every server within about a second, cutting off running requests."""
    with _lock:
        for place in list(_running):
            server, engine = _running.pop(place)
            _hang_up(urlsplit(server.url).port)
            # The last reference: dropping it ends the server's threads and waits for them.
            del engine


def count_tokens(server: LocalServer, text: str) -> int:
    """Count the tokens of `text` without a chat template. Blocking.

    Raises ModelUnavailable if the server does not answer.
    """
    return len(_request(server, "POST", "/tokenize", {"content": text})["tokens"])


def _request(server: LocalServer, method: str, path: str, body: object = None) -> Any:
    import httpx  # slow to import

    url = server.url.removesuffix("/v1") + path
    key = {"Authorization": f"Bearer {server.api_key}"}
    try:
        # Without a proxy of the environment: none reaches this process.
        reply = httpx.request(
            method, url, json=body, headers=key, timeout=ANSWER_SECONDS, trust_env=False
        )
        return reply.raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise ModelUnavailable(
            f"The embedded model at {server.url} does not answer: {error or type(error).__name__}."
        ) from error


def _start(path: Path) -> tuple[LocalServer, _Engine]:
    key = secrets.token_urlsafe(32)
    engine = _load(path, key)
    base = f"{engine.listening_address}/v1"
    props = _request(LocalServer(base, key, 0), "GET", "/props")
    return LocalServer(base, key, props["default_generation_settings"]["n_ctx"]), engine


def _load(path: Path, key: str) -> _Engine:
    try:
        xllamacpp = _library()
    except ImportError as error:
        raise ModelUnavailable(
            f"embedded: needs the package xllamacpp ({error}).",
            "Install the extra: pip install 'swarm-brain[embedded]'",
        ) from None
    # Half the memory at the same speed, but not every architecture supports it.
    for precision in ("GGML_TYPE_Q8_0", "GGML_TYPE_F16"):
        params = _params(xllamacpp.CommonParams(), path, key)
        params.cache_type_k = params.cache_type_v = getattr(xllamacpp.ggml_type, precision)
        with suppress(RuntimeError, ValueError, MemoryError):
            engine: _Engine = xllamacpp.Server(params)
            return engine
    raise ModelUnavailable(
        f"llama.cpp cannot load {path}.",
        "The file is damaged, of an unknown architecture, or too large for the free memory.",
    )


def _library() -> Any:
    """Import llama.cpp so that its threads sleep while they wait for each other.

    By default OpenMP's threads spin. On a busy machine every layer then waits for a thread without
    a CPU, and replies take more than ten times as long. OpenMP reads the variable once, when it is
    loaded.
    """
    before = os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import xllamacpp  # an extra
    finally:
        if before is None:
            del os.environ["OMP_WAIT_POLICY"]
    return xllamacpp


def _params(params: Any, path: Path, key: str) -> Any:
    params.model.path = str(path)
    params.hostnames, params.port = [HOST], 0
    params.api_keys, params.ui = [key], False
    params.n_parallel = PARALLEL
    params.n_ctx = PARALLEL * min(_trained_context(path), MAX_CONTEXT_TOKENS)
    params.n_batch = params.n_ubatch = STEP_TOKENS
    params.cache_prompt, params.cache_ram_mib = True, PROMPT_CACHE_MIB
    params.cpuparams.n_threads = _threads()
    params.verbosity = -1
    return params


def _trained_context(path: Path) -> int:
    """Return the model's trained context in tokens, from the file's metadata."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    # The key `<architecture>.context_length`, the code of its type (u32), the value.
    match = re.search(rb"\.context_length\x04\0\0\0(.{4})", header, re.DOTALL)
    tokens = int.from_bytes(match[1], "little") if match else 0
    return tokens or MAX_CONTEXT_TOKENS


def _threads() -> int:
    """Return half of this process's CPUs, which is about its real cores.

    It is at least three but leaves one free. The threads wait for each other at every layer, and
    one that shares its CPU makes all of them many times slower.
    """
    usable = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):  # without a quota the file is missing or says "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        usable = min(usable, int(quota) // int(period))
    return max(1, min(usable - 1, max(3, usable // 2), MAX_THREADS))


def _hang_up(port: int | None) -> None:
    """Close this process's connections to the server on `port`, and its listener.

    The server waits forever for running requests, and crashes the process if the interpreter ends
    meanwhile. Both ends of the connections are in this process.
    """
    for _ in range(2):  # once more for connections accepted while the listener was closing
        for connection in _own_sockets():
            with suppress(OSError):
                if (HOST, port) in _ends(connection):
                    connection.shutdown(socket.SHUT_RDWR)


def _ends(connection: socket.socket) -> Iterator[object]:
    yield connection.getsockname()
    with suppress(OSError):  # a listener has no peer
        yield connection.getpeername()


def _own_sockets() -> Iterator[socket.socket]:
    """Yield the sockets of this process, including those of libraries if possible."""
    descriptors = Path("/dev/fd")
    if not descriptors.is_dir():
        yield from [it for it in gc.get_objects() if issubclass(type(it), socket.socket)]
        return
    for entry in descriptors.iterdir():
        with suppress(OSError):  # closed in the meantime
            if stat.S_ISSOCK(os.fstat(int(entry.name)).st_mode):
                with socket.socket(fileno=os.dup(int(entry.name))) as connection:
                    yield connection
