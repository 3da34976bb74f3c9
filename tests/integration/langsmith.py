"""A small LangSmith on loopback: datasets, examples, experiments, runs, feedback, all recorded."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LIMITS = {"use_multipart_endpoint": False, "size_limit": 100, "size_limit_bytes": 20_000_000,
          "scale_up_qsize_trigger": 1000, "scale_up_nthreads_limit": 16,
          "scale_down_nempty_trigger": 4}  # fmt: skip
NOW = "2026-01-01T00:00:00+00:00"
Row = dict[str, Any]


@dataclass
class Recorded:
    """What has arrived. `runs` by id; `raw` are all bodies; `calls` are methods and paths."""

    url: str
    datasets: dict[str, Row] = field(default_factory=dict)
    examples: dict[str, Row] = field(default_factory=dict)
    sessions: dict[str, Row] = field(default_factory=dict)
    runs: dict[str, Row] = field(default_factory=dict)
    feedback: list[Row] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def children(self, run: Row) -> list[Row]:
        """The runs directly below this one."""
        return [one for one in self.runs.values() if one.get("parent_run_id") == run["id"]]

    def below(self, run: Row) -> list[Row]:
        """All runs below this one."""
        order = run["dotted_order"] + "."
        return [one for one in self.runs.values() if one["dotted_order"].startswith(order)]


@contextmanager
def langsmith() -> Iterator[Recorded]:
    """A LangSmith that forgets with the block."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.kept = Recorded(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        kept: Recorded = self.server.kept  # type: ignore[attr-defined]
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        place = urlsplit(self.path)
        with kept.lock:
            kept.calls.append(f"{method} {place.path}")
            kept.raw.append(data)
            body = json.loads(data) if data[:1] in (b"{", b"[") else None
            told = _answer(kept, method, place.path.strip("/").split("/"), _words(place), body)
            if told is None:
                kept.unknown.append(f"{method} {self.path}")
        text = json.dumps({} if told is None else told).encode()
        self.send_response(404 if told is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def _words(place: Any) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(place.query).items()}


def _answer(kept: Recorded, method: str, path: list[str], words: dict[str, str], body: Any) -> Any:
    """What LangSmith would say; None for what this one does not know."""
    match method, path:
        case "GET", ["info"]:
            return {"version": "0", "batch_ingest_config": LIMITS}
        case _, ["runs", *_]:
            _take_runs(kept, method, path, body)
            return {}
        case "POST", ["feedback", *_]:
            kept.feedback += body if isinstance(body, list) else [body]
            return {}
        case _, ["datasets", *_]:
            return _datasets(kept, method, path, words, body)
        case _, ["examples", *_]:
            return _examples(kept, method, words, body)
        case _, ["sessions", *_]:
            return _sessions(kept, method, path, words, body)
    return None


def _take_runs(kept: Recorded, method: str, path: list[str], body: Any) -> None:
    if path[-1] == "batch":
        rows = [*body.get("post", []), *body.get("patch", [])]
    else:
        rows = [body | ({"id": path[-1]} if method == "PATCH" else {})]
    for row in rows:
        known = {key: value for key, value in row.items() if value is not None}
        kept.runs.setdefault(row["id"], {}).update(known)


def _datasets(
    kept: Recorded, method: str, path: list[str], words: dict[str, str], body: Any
) -> Any:
    if method == "POST":
        row = {"id": str(uuid.uuid4()), "created_at": NOW, "modified_at": NOW, **body}
        kept.datasets[row["id"]] = row
        return row
    if len(path) > 1:
        return kept.datasets.get(path[1])
    return [row for row in kept.datasets.values() if words.get("name") in (None, row["name"])]


def _examples(kept: Recorded, method: str, words: dict[str, str], body: Any) -> Any:
    if method == "POST":
        made = [{"created_at": NOW, "modified_at": NOW, **row} for row in body]
        kept.examples |= {row["id"]: row for row in made}
        return made
    start, limit = int(words.get("offset", 0)), int(words.get("limit", 100))
    rows = [row for row in kept.examples.values() if row["dataset_id"] == words.get("dataset")]
    return rows[start : start + limit]


def _sessions(
    kept: Recorded, method: str, path: list[str], words: dict[str, str], body: Any
) -> Any:
    if method == "POST":
        row = {"tenant_id": str(uuid.uuid4()), **body}
        kept.sessions[row["id"]] = row
        return row
    if method == "PATCH":
        kept.sessions[path[1]].update({k: v for k, v in body.items() if v is not None})
        return kept.sessions[path[1]]
    if len(path) > 1:
        return kept.sessions.get(path[1])
    return [row for row in kept.sessions.values() if words.get("name") in (None, row["name"])]
