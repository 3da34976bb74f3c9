"""The brain against a scripted OpenAI-compatible endpoint: what goes over the wire, and back."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from swarm_brain import PhiBrain
from swarm_brain.graph.brain import compile_brain, graph
from swarm_brain.graph.errors import ExpertFailed
from tests import fakes
from tests.fakes import Endpoint, Script, endpoint
from tests.integration.processes import CANARY, REPO, plain_environment

HARD = "Why is the subject what it is?"
SIMPLE = "What does subject mean?"
MODEL = "meta-llama/Meta-Llama-3.1-405B-Instruct"
EIGHT = ["perception", "attention", "memory", "reasoning", "creative", "analytical", "synthesis",
         "meta_cognitive"]  # fmt: skip
JSON_EXPERTS = {"attention", "meta_cognitive"}
ECHO = (401, {}, json.dumps({"error": {"message": f"Incorrect API key provided: {CANARY}."}}))


class Handler(fakes._Handler):
    """Also notes the paths, can stream slowly, and can break off in the middle of a stream.

    A reply [words] is streamed in chunks and cut; [words, None] ends like a stream that is whole,
    but for the frames that say so.
    """

    paths: list[str] = []  # noqa: RUF012  emptied for each test
    pace = 0.0

    def do_POST(self) -> None:
        self.paths.append(self.path)
        super().do_POST()

    def _stream(self, text: Any, body: dict[str, Any]) -> None:
        if not isinstance(text, list):
            return super()._stream(text, body)
        framing = {"Connection": "close"} if len(text) > 1 else {"Transfer-Encoding": "chunked"}
        self.send_response(200)
        for name, value in {"Content-Type": "text/event-stream", **framing}.items():
            self.send_header(name, value)
        self.end_headers()
        piece = {"index": 0, "delta": {"content": text[0]}}
        frame = {**fakes._frame(body, "chat.completion.chunk"), "choices": [piece]}
        data = f"data: {json.dumps(frame)}\n\n".encode()
        self.wfile.write(data if len(text) > 1 else f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
        return None

    def _event(self, data: dict[str, Any]) -> None:
        time.sleep(self.pace)
        super()._event(data)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """An endpoint that Hyperbolic's settings lead to, with a canary for a key."""
    monkeypatch.setattr(fakes, "_Handler", Handler)
    Handler.paths.clear()
    with endpoint() as running:
        monkeypatch.setenv("HYPERBOLIC_API_URL", running.url)
        monkeypatch.setenv("HYPERBOLIC_API_KEY", CANARY)
        yield running


def run(question: str = HARD, **context: Any) -> dict[str, Any]:
    return graph.invoke({"question": question}, context=context)


def refuse(status: int, said: str) -> Any:
    """A reply that refuses `response_format` and answers without it."""
    refused = (status, {}, '{"error": {"message": "response_format is not supported"}}')
    return lambda request: refused if "response_format" in request["body"] else said


def entry(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(e for e in result["experts"] if e["name"] == name)


def with_schema(served: Endpoint) -> list[str]:
    return [r["expert"] for r in served.script.requests if "response_format" in r["body"]]


@pytest.mark.parametrize("path", ["", "/", "/chat/completions"])
def test_body_for_hyperbolic_is_what_its_documentation_asks(served, monkeypatch, path):
    monkeypatch.setenv("HYPERBOLIC_API_URL", served.url + path)
    result = run()
    assert set(Handler.paths) == {"/v1/chat/completions"}
    assert {headers["authorization"] for headers in served.headers} == {f"Bearer {CANARY}"}
    assert sorted(served.script.askers) == sorted(EIGHT)
    for request in served.script.requests:
        body = request["body"]
        own = {"response_format"} if request["expert"] in JSON_EXPERTS else set()
        assert set(body) - {"stream"} == {"messages", "model", "max_tokens", "temperature",
                                          "top_p"} | own  # fmt: skip
        assert [message["role"] for message in body["messages"]] == ["system", "user"]
        assert all(isinstance(message["content"], str) for message in body["messages"])
        assert HARD in body["messages"][1]["content"]
        assert body["model"] == MODEL
        assert (body["max_tokens"], body["temperature"], body["top_p"]) == (2048, 0.7, 0.9)
        assert not body.get("stream")
    assert result["model"] == f"hyperbolic:{MODEL}"
    assert (result["provenance"], result["stop_reason"]) == ("full", "complete")
    assert result["usage"]["calls"] == 8


def test_schemas_ask_for_a_number_per_gated_expert_and_for_a_list_of_defects(served):
    run()
    forms = {r["expert"]: r["body"].get("response_format") for r in served.script.requests}
    assert {name for name, form in forms.items() if form} == JSON_EXPERTS
    assert {form["type"] for form in forms.values() if form} == {"json_schema"}
    gates = forms["attention"]["json_schema"]["schema"]
    assert gates["required"] == ["creative", "analytical"]
    assert set(gates["properties"]) == {"creative", "analytical"}
    for number in gates["properties"].values():
        assert (number["type"], number["minimum"], number["maximum"]) == ("number", 0, 1)
    defects = forms["meta_cognitive"]["json_schema"]["schema"]["properties"]["defects"]
    assert defects["type"] == "array"
    assert set(defects["items"]["required"]) == {"quote", "problem"}


def test_settings_of_the_run_reach_the_wire(served):
    run(SIMPLE, max_tokens=77, temperature=0.1, top_p=0.5, seed=9)
    for body in served.bodies:
        assert (body["max_tokens"], body["temperature"], body["top_p"]) == (77, 0.1, 0.5)
        assert body["seed"] == 9


@pytest.mark.parametrize("mode", ["values", "messages"])
@pytest.mark.parametrize("status", [400, 422])
def test_refused_schema_is_asked_again_in_plain_text_and_remembered(served, status, mode):
    script = served.script
    script.says["attention"] = refuse(status, '{"creative": 0.9, "analytical": 0.1}')
    script.says["meta_cognitive"] = refuse(status, '{"defects": []}')
    result: Any = None
    for kind, part in graph.stream({"question": HARD}, stream_mode=[mode, "values"], context={}):
        result = part if kind == "values" else result
    assert with_schema(served) == ["attention"]
    assert Counter(script.askers)["attention"] == 2
    assert entry(result, "attention")["attempts"] == 2
    assert entry(result, "meta_cognitive")["attempts"] == 1
    assert entry(result, "analytical")["status"] == "skipped"  # the plain reply was read
    assert result["provenance"] == "full"
    assert result["usage"]["calls"] == len(served.bodies) == 8
    run()
    assert with_schema(served) == ["attention"]
    assert len(served.bodies) == 8 + 7


def test_two_experts_refused_at_once_are_both_asked_again(served):
    """Two questions at a time, so that neither knows yet what the other was told."""
    script = served.script
    script.says["attention"] = refuse(400, '{"creative": 0.9, "analytical": 0.9}')
    script.says["meta_cognitive"] = refuse(400, '{"defects": []}')

    async def both() -> list[dict[str, Any]]:
        questions = [graph.ainvoke({"question": HARD}, context={}) for _ in range(2)]
        return await asyncio.gather(*questions)

    results = asyncio.run(both())
    assert [result["provenance"] for result in results] == ["full", "full"]
    assert sum(result["usage"]["calls"] for result in results) == len(served.bodies)
    assert set(with_schema(served)) == {"attention"}


def test_other_400s_are_not_asked_again(served):
    script = served.script
    refused = (400, {}, '{"error": {"message": "no"}}')
    script.says["attention"] = script.says["creative"] = refused
    result = run()
    assert entry(result, "creative")["attempts"] == 1
    assert entry(result, "attention")["attempts"] == 2  # with schema, then without
    assert with_schema(served) == ["attention", "meta_cognitive"]  # its 400 had another cause
    assert result["provenance"] == "degraded"
    assert result["usage"]["calls"] == len(served.bodies) == 9


@pytest.mark.parametrize(
    "reply",
    [
        (429, {"Retry-After": "0"}, "{}"),
        (503, {}, "<html>"),
        (200, {}, "<html>no JSON</html>"),
        (200, {"Content-Type": "application/json"}, '{"choices": []}'),
        (200, {"Content-Type": "application/json"}, '{"error": {"message": "busy"}}'),
        (200, {"Content-Type": "application/json"}, "{"),
    ],
    ids=["429", "503", "html", "no choices", "error in 200", "cut JSON"],
)
def test_passing_trouble_is_retried_and_counted(served, reply):
    script = served.script
    script.says["reasoning"] = [reply, "At last.\nVerdict: 42"]
    result = run(SIMPLE)
    assert entry(result, "reasoning")["attempts"] == 2
    assert entry(result, "reasoning")["error"] is None
    assert result["usage"]["calls"] == len(served.bodies) == 4
    assert result["provenance"] == "full"


def test_lasting_trouble_ends_after_max_attempts_and_degrades(served):
    served.script.says["reasoning"] = (429, {"Retry-After": "0"}, "{}")
    result = run(SIMPLE, max_attempts=3)
    assert entry(result, "reasoning")["attempts"] == 3
    assert entry(result, "reasoning")["status"] == "simulated"
    assert "429" in entry(result, "reasoning")["error"]
    assert result["usage"]["calls"] == len(served.bodies) == 5
    assert result["provenance"] == "degraded"


@pytest.mark.alone
def test_silence_is_a_timeout_and_is_retried(served):
    silent = threading.Event()
    served.script.says["perception"] = [lambda _: silent.wait(5) and "late", "In time."]
    started = time.monotonic()
    result = run(SIMPLE, timeout=0.3)
    silent.set()
    assert time.monotonic() - started < 4
    assert entry(result, "perception")["attempts"] == 2
    assert result["usage"]["calls"] == len(served.bodies) == 4
    assert result["provenance"] == "full"


def test_key_shows_up_nowhere(served, caplog):
    """Not in result, state, logs at DEBUG, nor in errors when the endpoint echoes it."""
    caplog.set_level(logging.DEBUG)
    served.script.says["creative"] = ECHO
    brain = compile_brain(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    streamed = list(brain.stream({"question": HARD}, config, stream_mode=["debug", "custom"]))
    history = list(brain.get_state_history(config))
    result = brain.get_state(config).values
    assert [h["authorization"] for h in served.headers] == [f"Bearer {CANARY}"] * len(served.bodies)
    assert "401" in entry(result, "creative")["error"]
    assert "Incorrect API key provided" in entry(result, "creative")["error"]
    assert result["provenance"] == "degraded"
    for shown in (repr(result), repr(history), repr(streamed), repr(brain.checkpointer.storage)):
        assert CANARY not in shown
    assert len(caplog.records) > 20  # the libraries did log
    assert CANARY not in caplog.text
    assert not any(CANARY in repr(record.__dict__) for record in caplog.records)


def test_key_echoed_to_a_strict_run_is_not_in_the_error(served, caplog):
    caplog.set_level(logging.DEBUG)
    served.script.says = dict.fromkeys(EIGHT, ECHO)
    with pytest.raises(ExpertFailed) as failure:
        run(SIMPLE, on_error="raise")
    error: BaseException | None = failure.value
    while error is not None:
        assert CANARY not in repr(error) + str(error)
        error = error.__cause__ or error.__context__
    assert "401" in str(failure.value)
    assert CANARY not in caplog.text


def test_key_given_to_the_seed_interface_stays_in_the_process(served, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.delenv("HYPERBOLIC_API_KEY")
    brain = PhiBrain(use_api=True, api_key=CANARY)
    result = brain.think(SIMPLE)
    assert result["provenance"] == "full"
    assert {headers["authorization"] for headers in served.headers} == {f"Bearer {CANARY}"}
    assert CANARY not in repr(result) + repr(brain) + caplog.text
    stats = [neuron.get_stats() for neuron in brain.orchestrator.neurons.values()]
    assert len(stats) == 8
    assert sum(s["total_api_calls"] for s in stats) == len(served.bodies) == 3
    assert {s["api_success_rate"] for s in stats if s["total_api_calls"]} == {1.0}


def test_two_brains_with_two_keys_do_not_mix_them(served, monkeypatch):
    monkeypatch.delenv("HYPERBOLIC_API_KEY")

    async def both() -> None:
        brains = [PhiBrain(use_api=True, api_key=f"key-{n}") for n in range(2)]
        await asyncio.gather(*(b.athink(f"Why is {n} odd?") for n, b in enumerate(brains)))

    asyncio.run(both())
    assert len(served.bodies) == 16
    for body, headers in zip(served.bodies, served.headers, strict=True):
        number = re.search(r"Why is (\d) odd", body["messages"][1]["content"])
        assert headers["authorization"] == f"Bearer key-{number[1]}"


def test_fifty_questions_at_once_all_end_right_and_none_sees_another(served):
    def echo(request: dict[str, Any]) -> str:
        """Answer with the number of the question, which every later expert is shown."""
        return f"About topic-{_topics(request['user']).pop()}.\nVerdict: ok"

    script = served.script
    script.says |= {name: echo for name in EIGHT if name not in JSON_EXPERTS}

    async def ask_all() -> list[dict[str, Any]]:
        questions = [{"question": f"Why is topic-{n} what it is?"} for n in range(50)]
        return await asyncio.gather(*(graph.ainvoke(q, context={}) for q in questions))

    results = asyncio.run(ask_all())
    assert [_topics(result["final_output"]) for result in results] == [{str(n)} for n in range(50)]
    assert {result["provenance"] for result in results} == {"full"}
    assert {result["usage"]["calls"] for result in results} == {8}
    assert len(served.bodies) == 400
    assert all(len(_topics(request["user"])) == 1 for request in script.requests)


def _topics(text: str) -> set[str]:
    return set(re.findall(r"topic-(\d+)", text))


async def test_tokens_arrive_as_they_are_generated_and_usage_is_counted(served, monkeypatch):
    monkeypatch.setattr(Handler, "pace", 0.04)
    text = " ".join(f"word{n}" for n in range(25))
    served.script.says["synthesis"] = text
    came: list[float] = []
    said, result = "", {}
    stream = graph.astream(
        {"question": SIMPLE}, context={}, stream_mode=["messages", "values"]
    )  # fmt: skip
    async for mode, part in stream:
        if mode == "values":
            result = part
        elif part[1]["langgraph_node"] == "synthesis" and part[0].text and len(said) < len(text):
            came.append(time.monotonic())
            said += part[0].text
    assert said.strip() == text == result["final_output"]
    assert len(came) == 25
    assert came[-1] - came[0] > 0.6  # 25 x 0.04 s, if they are passed on as they come
    assert {body.get("stream") for body in served.bodies} == {True}
    assert all(body["stream_options"] == {"include_usage": True} for body in served.bodies)
    assert entry(result, "synthesis")["output_tokens"] == 25
    assert entry(result, "synthesis")["estimated"] is False
    assert result["usage"]["input_tokens"] > 100
    assert result["provenance"] == "full"


@pytest.mark.parametrize("half", [["Half an"], ["Half an", None]], ids=["cut", "no end stated"])
async def test_broken_stream_is_retried_and_says_so_before_the_new_text(served, half):
    """Also one that ends without `finish_reason`, as behind a proxy whose upstream is gone."""
    served.script.says["synthesis"] = [half, "A whole answer."]
    seen: list[tuple[str, str]] = []
    result: dict[str, Any] = {}
    modes: Any = ["messages", "custom", "values"]
    async for mode, part in graph.astream({"question": SIMPLE}, context={}, stream_mode=modes):
        if mode == "values":
            result = part
        elif mode == "custom" and part.get("expert") == "synthesis":
            seen.append((part["event"], ""))
        elif mode == "messages" and part[1]["langgraph_node"] == "synthesis" and part[0].text:
            seen.append(("token", part[0].text))
    events = [event for event, _ in seen]
    words = [text for event, text in seen if event == "token"]
    assert words[:2] == ["Half an", "A "]
    assert events.index("revised") == events.index("token") + 1
    assert result["final_output"] == "A whole answer."
    assert entry(result, "synthesis")["attempts"] == 2
    assert result["usage"]["calls"] == len(served.bodies) == 4
    assert result["provenance"] == "full"


def test_single_expert_speaks_with_a_model_of_another_endpoint(served, monkeypatch):
    with endpoint(Script({"synthesis": "The other one says so."})) as other:
        monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", other.url)
        result = run(SIMPLE, expert_models={"synthesis": "openai-compatible:small"})
    assert served.script.askers == ["perception", "reasoning"]
    assert other.script.askers == ["synthesis"]
    assert other.bodies[0]["model"] == "small"
    assert CANARY not in other.headers[0]["authorization"]
    assert result["final_output"] == "The other one says so."
    assert entry(result, "synthesis")["model"] == "openai-compatible:small"
    assert entry(result, "reasoning")["model"] == f"hyperbolic:{MODEL}"
    assert result["provenance"] == "full"


def test_refusal_of_schemas_is_remembered_for_one_endpoint_only(served, monkeypatch):
    served.script.says["attention"] = refuse(400, '{"creative": 0.9, "analytical": 0.9}')
    run()
    with endpoint() as other:
        monkeypatch.setenv("HYPERBOLIC_API_URL", other.url)
        run()
        assert sorted(with_schema(other)) == ["attention", "meta_cognitive"]


def test_named_provider_of_the_settings_file(served, monkeypatch, tmp_path: Path):
    (tmp_path / "swarm-brain.toml").write_text(
        f'[providers.lab]\nbase_url = "{served.url}"\napi_key_env = "LAB_KEY"\nmax_tokens = 333\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_KEY", "lab-secret")
    result = run(SIMPLE, model="lab:big/model:v2")
    assert result["provenance"] == "full"
    assert result["model"] == "lab:big/model:v2"
    assert {body["model"] for body in served.bodies} == {"big/model:v2"}
    assert {body["max_tokens"] for body in served.bodies} == {333}
    assert {headers["authorization"] for headers in served.headers} == {"Bearer lab-secret"}


def test_nobody_listens(served, monkeypatch):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        result = run(SIMPLE, model="openai-compatible:m", base_url=url, max_attempts=1)
    assert (result["provenance"], result["stop_reason"]) == ("simulated", "failed")
    assert result["usage"]["calls"] == sum(e["attempts"] for e in result["experts"]) == 3
    assert result["usage"]["output_tokens"] is None
    assert url in result["error"]


def test_questions_print_nothing_and_leave_logging_alone(served, tmp_path: Path):
    """An open question measures agreement with a library that would set up logging."""
    for name in ("reasoning", "creative", "analytical", "synthesis"):
        served.script.says[name] = f"An open answer of {name}."
    code = (
        "import logging\n"
        "from swarm_brain.graph.brain import graph\n"
        f"for _ in range(2): result = graph.invoke({{'question': {HARD!r}}})\n"
        "print(result['agreement'], logging.root.handlers, logging.root.level)"
    )
    own = {"HYPERBOLIC_API_KEY": CANARY, "HYPERBOLIC_API_URL": served.url}
    environment = plain_environment(tmp_path, **own)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, env=environment, capture_output=True, timeout=60
    )
    assert done.stderr.decode() == ""
    assert re.fullmatch(r"0\.\d+ \[\] 30\n", done.stdout.decode())


# ---- LangSmith

LIMITS = {"use_multipart_endpoint": False, "size_limit": 100, "size_limit_bytes": 20_000_000,
          "scale_up_qsize_trigger": 1000, "scale_up_nthreads_limit": 16,
          "scale_down_nempty_trigger": 4}  # fmt: skip


class LangSmith(BaseHTTPRequestHandler):
    """Takes traces as LangSmith does, and keeps their bodies."""

    protocol_version = "HTTP/1.1"
    runs: dict[str, dict[str, Any]]
    raw: list[bytes]

    def log_message(self, *args: Any) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        self._reply({"version": "0", "batch_ingest_config": LIMITS})

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.raw.append(data)  # type: ignore[attr-defined]
        batch = json.loads(data)
        for run in [*batch.get("post", []), *batch.get("patch", [])]:
            known = {key: value for key, value in run.items() if value is not None}
            self.server.runs.setdefault(run["id"], {}).update(known)  # type: ignore[attr-defined]
        self._reply({})

    def _reply(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def langsmith() -> Iterator[Any]:
    """A recording LangSmith on loopback: `runs` by id, `raw` bodies, `url`."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), LangSmith)
    server.runs, server.raw, server.daemon_threads = {}, [], True
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_tracing_shows_one_run_with_eight_named_children(served, langsmith, tmp_path: Path):
    """In a process of its own, because LangSmith reads its variables once."""
    code = f"from swarm_brain.graph.brain import graph; graph.invoke({{'question': {HARD!r}}})"
    environment = plain_environment(
        tmp_path,
        HYPERBOLIC_API_KEY=CANARY,
        HYPERBOLIC_API_URL=served.url,
        LANGSMITH_TRACING="true",
        LANGSMITH_ENDPOINT=langsmith.url,
        LANGSMITH_API_KEY="ls-key",
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    roots = [run for run in langsmith.runs.values() if not run.get("parent_run_id")]
    assert [root["name"] for root in roots] == ["brain"]
    children = [r for r in langsmith.runs.values() if r.get("parent_run_id") == roots[0]["id"]]
    named = Counter(child["name"] for child in children)
    assert {name: named[name] for name in EIGHT} == dict.fromkeys(EIGHT, 1)
    assert set(named) == {"begin", *EIGHT, "finish"}
    for child in children:
        assert child["end_time"], f"{child['name']} has no end"
        if child["name"] in EIGHT:
            models = [r for r in langsmith.runs.values() if r["run_type"] == "llm"
                      and r["dotted_order"].startswith(child["dotted_order"])]  # fmt: skip
            assert len(models) == 1, f"{child['name']} shows no model call"
    assert len(served.bodies) == 8
    assert langsmith.raw
    assert not any(CANARY.encode() in body for body in langsmith.raw)


def test_the_cache_on_disk_holds_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("SWARM_BRAIN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("HYPERBOLIC_API_KEY", CANARY)
    with endpoint() as served:
        monkeypatch.setenv("HYPERBOLIC_API_URL", served.url)
        context = {"model": "hyperbolic:m", "cache": "sqlite"}
        results = [graph.invoke({"question": SIMPLE}, context=context) for _ in range(2)]
        assert len(served.bodies) == 3
    assert results[1]["usage"]["calls"] == 0
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert results[0]["final_output"].splitlines()[0].encode() in stored
    assert CANARY.encode() not in stored
