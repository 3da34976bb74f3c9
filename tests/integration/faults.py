"""What an endpoint can do wrong, a fault a name, as replies that a fakes.Script may hold."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from swarm_brain.graph.errors import FailureKind
from tests import fakes
from tests.integration.processes import CANARY

MARKER = "ENDPOINTS-OWN-WORDS"  # stands in every faulty body; no user and no expert may read it
SAID = f"{MARKER}: Incorrect API key provided: {CANARY}."
JSON = {"Content-Type": "application/json"}
released = threading.Event()  # set at a test's end, so that nobody hangs longer than it

Act = Callable[["Handler"], None]


class Handler(fakes._Handler):
    """A scripted endpoint whose reply may also be (act,): what it does to the connection."""

    def _send(self, status: Any, headers: Any = None, text: str = "") -> None:
        if callable(status):
            status(self)
        else:
            super()._send(status, headers, text)

    def _stream(self, text: Any, body: dict[str, Any]) -> None:
        with suppress(ConnectionError):  # the asker may have gone
            super()._stream(text, body)


@dataclass(frozen=True)
class Fault:
    """A faulty reply and what it is to us. `final`: never asked again; `streamed`: in a stream."""

    reply: Any
    kind: FailureKind
    final: bool = False
    streamed: bool = False
    slow: bool = False  # ends by our timeout


def refusal(status: int, code: str = "", **headers: str) -> tuple[int, dict[str, str], str]:
    """An error as OpenAI-compatible endpoints send it, with the key echoed in it."""
    error = {"message": SAID, "type": "error", "code": code}
    return status, {**JSON, **headers}, json.dumps({"error": error})


def completion(message: Any, **fields: Any) -> tuple[int, dict[str, str], str]:
    """A completion with this message, right in form apart from it."""
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    frame = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return 200, JSON, json.dumps({**frame, "choices": [choice], "usage": usage, **fields})


def words(content: Any) -> tuple[int, dict[str, str], str]:
    """A completion of this content."""
    return completion({"role": "assistant", "content": content})


def hang(handler: BaseHTTPRequestHandler) -> None:
    """Never answer."""
    released.wait(20)
    handler.close_connection = True


def truncated(handler: BaseHTTPRequestHandler) -> None:
    """Promise more bytes than are sent, then close."""
    data = words(SAID)[2].encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data) + 100))
    handler.end_headers()
    handler.wfile.write(data)
    handler.close_connection = True


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Reset the connection instead of answering."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def stall(handler: BaseHTTPRequestHandler) -> None:
    """Stream two words, then nothing."""
    _first_words(handler)
    hang(handler)


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Stream two words, then close."""
    _first_words(handler)
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def _first_words(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for word in (MARKER, " and"):
        choice = {"index": 0, "delta": {"content": word}}
        frame = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        data = f"data: {json.dumps({**frame, 'choices': [choice]})}\n\n".encode()
        handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        handler.wfile.flush()
        time.sleep(0.01)


HTML = f"<html><body><h1>502 {SAID}</h1></body></html>"

FAULTS: Mapping[str, Fault] = {
    "429": Fault(refusal(429), "rate_limit"),
    "429 with Retry-After": Fault(refusal(429, **{"Retry-After": "0.1"}), "rate_limit"),
    "500": Fault(refusal(500), "server"),
    "503 HTML": Fault((503, {"Content-Type": "text/html"}, HTML), "server"),
    "hang before headers": Fault((hang,), "timeout", slow=True),
    "stall in mid-stream": Fault((stall,), "timeout", streamed=True, slow=True),
    "cut in mid-stream": Fault((cut,), "connection", streamed=True),
    "reset": Fault((reset,), "connection"),
    "HTML with 200": Fault((200, {"Content-Type": "text/html"}, HTML), "no_reply"),
    "HTML with 200, streamed": Fault(
        (200, {"Content-Type": "text/html"}, HTML), "no_reply", streamed=True
    ),
    "broken JSON": Fault((200, JSON, words(SAID)[2][:-9]), "no_reply"),
    "truncated body": Fault((truncated,), "connection"),
    "no choices": Fault(completion({}, choices=[], note=SAID), "no_reply"),
    "error with 200": Fault((200, JSON, refusal(200)[2]), "no_reply"),
    "null content": Fault(words(None), "no_reply"),
    "empty text": Fault(words(" \n"), "no_reply"),
    "null message": Fault(completion(None, note=SAID), "no_reply"),
    "wrong type: choices": Fault(completion({}, choices=SAID), "no_reply"),
    "wrong type: content": Fault(words({"said": SAID}), "no_reply"),
    "wrong type: message": Fault(completion(SAID), "no_reply"),
    "wrong type: a list": Fault((200, JSON, json.dumps([SAID])), "no_reply"),
    "401": Fault(refusal(401), "auth", final=True),
    "404": Fault(refusal(404), "not_found", final=True),
    "400": Fault(refusal(400), "refused_request", final=True),
    "context overflow": Fault(
        refusal(400, "context_length_exceeded"), "context_overflow", final=True
    ),
}
