"""`embedded:` a llama.cpp server inside this process, on loopback, behind a random key."""

from __future__ import annotations

import atexit
import gc
import os
import re
import secrets
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from swarm_brain.graph.errors import ModelUnavailable
from swarm_brain.models import embedded_weights

if TYPE_CHECKING:
    from swarm_brain.models.binding import Binding

HOST = "127.0.0.1"
PARALLEL = 4  # requests answered at once; more of them wait in line
MAX_CONTEXT_TOKENS = 8192  # per request; memory for all of them is taken at the start
# A prompt is read in steps of this many tokens. Larger ones are no faster on a processor, and a
# running step must end before the server can.
STEP_TOKENS = 256
# Prompts read before are kept outside the slots: with more experts than slots, each would
# otherwise have its instructions read anew every time.
PROMPT_CACHE_MIB = 512
SMALL_MAX_TOKENS, MAX_TOKENS = 256, 1024
MAX_THREADS = 8
HEADER_BYTES = 1 << 20
TEXT_LENGTH, LIST_LENGTH = 120, 3  # of what a JSON schema leaves open, in characters and items
ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class LocalServer:
    """A running server: base `url` ending in /v1, its key, and the context of one request."""

    url: str
    api_key: str = field(repr=False)
    context_tokens: int


_running: dict[Path, tuple[LocalServer, Any]] = {}
_lock = threading.Lock()


def bind(model: str) -> Binding:
    """Bind `embedded:model`; fetches the weights and starts the server on first use.

    Raises ModelUnavailable where the package or the weights cannot be had.
    """
    from swarm_brain.models import endpoint

    server = serve(embedded_weights.resolve(model) or embedded_weights.fetch(model))
    bound = endpoint.bind(
        f"embedded:{model}",
        server.url,
        server.api_key,
        max_tokens=SMALL_MAX_TOKENS if model in embedded_weights.CATALOG else MAX_TOKENS,
        context_tokens=server.context_tokens,
    )
    return replace(
        bound,
        count_tokens=lambda text: count_tokens(server, text),
        schema_arguments=lambda name, schema: endpoint.response_format(name, _bounded(schema)),
        price=lambda *_: 0.0,
    )


def _bounded(schema: Any) -> Any:
    """A schema whose replies end: small models write one text on and on until they are cut off."""
    match schema:
        case {"type": "string"}:
            return {**schema, "maxLength": TEXT_LENGTH}
        case {"type": "array"}:
            return {**schema, "maxItems": LIST_LENGTH, "items": _bounded(schema["items"])}
        case {"properties": properties}:
            parts = {name: _bounded(part) for name, part in properties.items()}
            return {**schema, "properties": parts}
        case _:
            return schema


def serve(path: Path) -> LocalServer:
    """The server for the GGUF file at `path`, started if it is not running yet.

    Blocks while the model loads, from half a second up; one server per file, whichever thread
    asks. Raises ModelUnavailable if the file cannot be read or loaded, or if the package is
    missing. The server ends with the interpreter.
    """
    place = embedded_weights.require_gguf(path).resolve()
    with _lock:
        if place not in _running:
            # Anew each time, so that it runs before the handlers registered until now.
            atexit.unregister(stop_all)
            atexit.register(stop_all)
            _running[place] = _start(place)
        return _running[place][0]


def stop_all() -> None:
    """End every server, within about a second; requests under way lose their connection."""
    with _lock:
        for place in list(_running):
            server, engine = _running.pop(place)
            _hang_up(urlsplit(server.url).port)
            # The last reference: dropping it ends the server's threads and waits for them.
            del engine


def count_tokens(server: LocalServer, text: str) -> int:
    """Tokens of `text` by the model's own tokenizer, without a chat template; blocks.

    Raises ModelUnavailable if the server does not answer.
    """
    return len(_ask(server, "POST", "/tokenize", {"content": text})["tokens"])


def _ask(server: LocalServer, method: str, path: str, body: object = None) -> Any:
    import httpx

    url = server.url.removesuffix("/v1") + path
    key = {"Authorization": f"Bearer {server.api_key}"}
    try:
        # Past any proxy of the environment: none has a way into this process.
        reply = httpx.request(
            method, url, json=body, headers=key, timeout=ANSWER_SECONDS, trust_env=False
        )
        return reply.raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise ModelUnavailable(
            f"The embedded model at {server.url} does not answer: {error or type(error).__name__}."
        ) from error


def _start(path: Path) -> tuple[LocalServer, Any]:
    key = secrets.token_urlsafe(32)
    engine = _load(path, key)
    base = f"{engine.listening_address}/v1"
    props = _ask(LocalServer(base, key, 0), "GET", "/props")
    return LocalServer(base, key, props["default_generation_settings"]["n_ctx"]), engine


def _load(path: Path, key: str) -> Any:
    try:
        xllamacpp = _library()
    except ImportError as error:
        raise ModelUnavailable(
            f"embedded: needs the package xllamacpp ({error}).",
            "Install the extra: pip install 'swarm-brain[embedded]'",
        ) from None
    # Half the memory at the same speed, but not every architecture can have it.
    for precision in ("GGML_TYPE_Q8_0", "GGML_TYPE_F16"):
        params = _params(xllamacpp.CommonParams(), path, key)
        params.cache_type_k = params.cache_type_v = getattr(xllamacpp.ggml_type, precision)
        with suppress(RuntimeError, ValueError, MemoryError):
            return xllamacpp.Server(params)
    raise ModelUnavailable(
        f"llama.cpp cannot load {path}.",
        "The file is damaged, of an unknown architecture, or too large for the free memory.",
    )


def _library() -> Any:
    """Import llama.cpp such that its threads sleep while they wait for each other.

    By default OpenMP's threads spin. On a machine with anything else to do, every step of every
    layer then waits for a thread that has no processor: replies take ten times as long and more.
    OpenMP reads the variable once, when it is loaded.
    """
    before = os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import xllamacpp
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
    """The context the model was trained for, in tokens, as the file's metadata state it."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    # The key `<architecture>.context_length`, the code of its type (u32), the value.
    found = re.search(rb"\.context_length\x04\0\0\0(.{4})", header, re.DOTALL)
    tokens = int.from_bytes(found[1], "little") if found else 0
    return tokens or MAX_CONTEXT_TOKENS


def _threads() -> int:
    """Half of the processors this process may use, which are mostly its real cores.

    At least three, but one always stays free: the threads wait for each other at every layer, and
    a single one that has to share its processor makes all of them many times slower.
    """
    usable = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):  # no quota: the file is missing or says "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        usable = min(usable, int(quota) // int(period))
    return max(1, min(usable - 1, max(3, usable // 2), MAX_THREADS))


def _hang_up(port: int | None) -> None:
    """Close every connection of this process with the server on `port`, and its listener.

    The server waits without end for requests under way, and it crashes the process if the
    interpreter ends while they run; both ends of their connections are in this process.
    """
    for _ in range(2):  # again for what was accepted while the listener was being closed
        for connection in _own_sockets():
            with suppress(OSError):
                if (HOST, port) in _ends(connection):
                    connection.shutdown(socket.SHUT_RDWR)


def _ends(connection: socket.socket) -> Iterator[object]:
    yield connection.getsockname()
    with suppress(OSError):  # a listener has no peer
        yield connection.getpeername()


def _own_sockets() -> Iterator[socket.socket]:
    """The sockets of this process; those of libraries too, where descriptors can be listed."""
    descriptors = Path("/dev/fd")
    if not descriptors.is_dir():
        yield from [it for it in gc.get_objects() if issubclass(type(it), socket.socket)]
        return
    for entry in descriptors.iterdir():
        with suppress(OSError):  # closed in the meantime
            if stat.S_ISSOCK(os.fstat(int(entry.name)).st_mode):
                with socket.socket(fileno=os.dup(int(entry.name))) as connection:
                    yield connection
