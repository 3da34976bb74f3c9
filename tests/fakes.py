"""Fakes at the network's edge: a scripted chat model, and a scripted endpoint on loopback.

Both know who is asking by the first line of the system prompt, and answer from a table.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from langchain_core.messages import BaseMessage

from swarm_brain.models.binding import Binding
from swarm_brain.models.scripted_chat import ScriptedChat, ScriptedReply

# What each shipped expert says if a test says nothing else. Sixty words make a usual reply.
DEFAULTS: dict[str, Any] = {
    "perception": "The question asks for its subject. Kind: checkable. One part.",
    "attention": '{"creative": 0.9, "analytical": 0.9}',
    "memory": "Background: the subject is well known.",
    "reasoning": "Step by step one finds the subject.\nVerdict: 42",
    "creative": "Seen from the other side the subject is the same.\nVerdict: 42",
    "analytical": "Taken apart the subject yields its parts.\nVerdict: 42",
    "synthesis": "The subject is what all of this says.\nVerdict: 42",
    "meta_cognitive": '{"defects": []}',
}

Says = str | Exception | list[Any] | Callable[[dict[str, Any]], Any]


def asker(system: str) -> str:
    """The expert whose prompt this is: `# Expert: NAME (...)`."""
    return system.splitlines()[0].removeprefix("# Expert:").split("(")[0].strip()


@dataclass
class Script:
    """Replies by expert, and every request that was made.

    A reply is text, an exception to raise, a callable of the request, or a list of these that is
    used up one by one (its last stays). `requests` holds {"expert", "system", "user", ...}.
    """

    says: dict[str, Says] = field(default_factory=lambda: dict(DEFAULTS))
    requests: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, expert: str) -> list[dict[str, Any]]:
        """The requests that this expert made."""
        return [request for request in self.requests if request["expert"] == expert]

    @property
    def askers(self) -> list[str]:
        """Who asked, in order; siblings by name."""
        return [request["expert"] for request in self.requests]

    def reply(self, request: dict[str, Any]) -> Any:
        """Record the request and give the reply for it."""
        with self.lock:
            self.requests.append(request)
            said = self.says.get(request["expert"], "A complete answer.\nVerdict: 42")
            if isinstance(said, list):
                said = said.pop(0) if len(said) > 1 else said[0]
        said = said(request) if callable(said) else said
        if isinstance(said, Exception):
            raise said
        return said


class FakeChat(ScriptedChat):
    """The shipped scripted model, answering from a Script; one token per word."""

    script: Any

    def respond(self, messages: Sequence[BaseMessage], arguments: Any) -> ScriptedReply:
        """Record the request; the reply that the script has for it."""
        system, user = (message.text for message in messages)
        text = self.script.reply(
            {"expert": asker(system), "system": system, "user": user, **arguments}
        )
        return ScriptedReply(text, len(f"{system} {user}".split()), len(text.split()))

    async def arespond(self, messages: Sequence[BaseMessage], arguments: Any) -> ScriptedReply:
        """Respond in a thread, because a test's script may sleep or wait."""
        return await asyncio.to_thread(self.respond, messages, arguments)


def bind_script(script: Script, spec: str = "scripted:model") -> Binding:
    """A binding whose calls go to the script."""
    chat = FakeChat(script=script)
    return Binding(
        spec=spec,
        endpoint="scripted",
        tuned=lambda sampling: chat.bind(sampling=sampling),
        max_tokens=256,
        schema_arguments=lambda name, schema: {"schema": schema},
    )


@dataclass
class Endpoint:
    """A running OpenAI-compatible endpoint on loopback that answers from a Script.

    `bodies` are the JSON bodies received, `headers` those requests' headers. A reply may also be a
    tuple (status, headers, body) to be sent as it is.
    """

    url: str
    script: Script
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def endpoint(script: Script | None = None, latency: float = 0.0) -> Iterator[Endpoint]:
    """Serve a Script over HTTP; `latency` seconds before each reply."""
    server = _Server(("127.0.0.1", 0), _Handler)
    served = Endpoint(f"http://127.0.0.1:{server.server_port}/v1", script or Script())
    server.served, server.latency = served, latency  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # fifty questions at once knock together

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a client was killed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet
    disable_nagle_algorithm = True

    def log_message(self, *args: Any) -> None:
        """Be quiet."""

    def do_POST(self) -> None:
        served, body = self.server.served, self._body()  # type: ignore[attr-defined]
        served.bodies.append(body)
        served.headers.append(dict(self.headers))
        time.sleep(self.server.latency)  # type: ignore[attr-defined]
        system, user = (message["content"] for message in body["messages"])
        request = {"expert": asker(system), "system": system, "user": user, "body": body}
        said = served.script.reply(request)
        if isinstance(said, tuple):
            self._send(*said)
        elif body.get("stream"):
            self._stream(said, body)
        else:
            self._send(
                200, {"Content-Type": "application/json"}, json.dumps(_completion(said, body))
            )

    def _body(self) -> dict[str, Any]:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _send(self, status: int, headers: dict[str, str], text: str) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, text: str, body: dict[str, Any]) -> None:
        """The reply word by word as server-sent events, usage in the last one."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        pieces = [{"delta": {"content": word}} for word in _words(text)]
        for piece in [*pieces, {"delta": {}, "finish_reason": "stop"}]:
            self._event(
                {**_frame(body, "chat.completion.chunk"), "choices": [{"index": 0, **piece}]}
            )
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = _completion(text, body)["usage"]
            self._event({**_frame(body, "chat.completion.chunk"), "choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _event(self, data: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()


def _words(text: str) -> list[str]:
    return [word + " " for word in text.split(" ")]


def _frame(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body["model"]}


def _completion(text: str, body: dict[str, Any]) -> dict[str, Any]:
    """A chat completion; a token is four bytes of prompt, a word of reply."""
    prompt = sum(len(message["content"].encode()) for message in body["messages"]) // 4
    reply = len(text.split())
    usage = {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {**_frame(body, "chat.completion"), "choices": [choice], "usage": usage}
