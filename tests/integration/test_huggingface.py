"""The local pipeline on the small model's real weights: batches, limits, streams, constraints."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage

from swarm_brain.calls.client import Call, ask
from swarm_brain.graph.brain import graph
from swarm_brain.graph.errors import ModelError, ModelUnavailable
from swarm_brain.models.binding import Binding, Sampling
from swarm_brain.models.huggingface import provider
from swarm_brain.models.huggingface import weights as hf_weights
from swarm_brain.nodes.parse import defects_schema, read_defects

_MISSING = [
    name
    for name in ("torch", "transformers", "langchain_huggingface", "gguf", "llguidance")
    if importlib.util.find_spec(name) is None
]
pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(
        bool(_MISSING),
        reason=f"the extra huggingface is not installed ({', '.join(_MISSING)} missing): "
        "make install EXTRAS=huggingface",
    ),
]
LOADED_SECONDS = 3.0
STORY = [SystemMessage("You tell stories."), HumanMessage("Tell me a long story about a cat.")]
GATES = {
    "type": "object",
    "properties": {key: {"type": "number", "minimum": 0, "maximum": 1} for key in ("a", "b")},
    "required": ["a", "b"],
    "additionalProperties": False,
}


class Loads:
    """One model loaded by eight threads at once, from a cache folder that was empty."""

    def __init__(self, weights: Path, folder: Path) -> None:
        self.conversions = self.loads = 0
        self.folder, self.weights = folder, weights
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SWARM_BRAIN_CACHE_DIR", str(folder))
            patch.setattr(hf_weights, "_make", self._counted("conversions", hf_weights._make))
            patch.setattr(provider, "_load", self._counted("loads", provider._load))
            with ThreadPoolExecutor(8) as threads:
                bound = list(threads.map(provider.bind, [str(weights)] * 8))
        self.binding: Binding = bound[0]
        self.engine = provider.load(provider.ModelSource(str(weights))).engine

    def _counted(self, name: str, work: Any) -> Any:
        def counted(*arguments: Any) -> Any:
            setattr(self, name, getattr(self, name) + 1)
            return work(*arguments)

        return counted

    def ask(self, max_tokens: int = 12, stop: Any = None, **settings: Any) -> Any:
        """One reply by the binding's own runnable; settings of a sampling, or `schema`."""
        schema = settings.pop("schema", None)
        sampling = Sampling(
            **{"temperature": 0.7, "top_p": 0.9, "seed": 1, **settings}, max_tokens=max_tokens
        )
        held = self.binding.schema_arguments("expert", schema) if schema else {}
        return self.binding.tuned(sampling).ainvoke(STORY, stop=stop, **held)


@pytest.fixture(scope="module")
def model(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Loads:
    return Loads(weights, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def batches(model: Loads, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many sequences each `generate` of the test had."""
    sizes: list[int] = []
    generate = model.engine.model.generate

    def counted(**arguments: Any) -> Any:
        sizes.append(len(arguments["input_ids"]))
        return generate(**arguments)

    monkeypatch.setattr(model.engine.model, "generate", counted)
    return sizes


def test_eight_threads_load_one_model_and_convert_it_once(model: Loads):
    assert (model.conversions, model.loads) == (1, 1)


def test_a_converted_model_loads_fast(model: Loads, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SWARM_BRAIN_CACHE_DIR", str(model.folder))
    monkeypatch.setattr(hf_weights, "_make", lambda *_: pytest.fail("converted again"))
    started = time.perf_counter()
    again = provider._load(provider.ModelSource(str(model.weights)))
    seconds = time.perf_counter() - started
    again.engine.batcher.close()
    assert seconds < LOADED_SECONDS


def test_binding_states_its_limits_and_costs_nothing(model: Loads):
    assert model.binding.max_tokens == 256
    assert model.binding.context_tokens() == 8192
    assert model.binding.price(100, 0, 100) == 0.0


async def test_hard_question_is_one_batch_a_wave(model: Loads, batches: list[int]):
    settings = {
        "model": f"huggingface:{model.weights}",
        "effort": "high",
        "threshold": 0.0,  # all eight experts, whatever the small model's gates say
        "max_tokens": 24,
        "max_revisions": 0,
        "seed": 1,
        "timeout": 200,
        "use_memory": False,
    }
    result = await graph.ainvoke({"question": "Is free will real?"}, context=settings)
    assert batches == [3, 3, 1, 1]
    assert result["provenance"] == "full", result["error"]  # gates and defects could be read
    for expert in result["experts"]:
        assert (expert["status"], expert["estimated"]) == ("ok", False), expert
        assert 0 < expert["output_tokens"] <= 24


async def test_each_sequence_has_its_own_limit(model: Loads, batches: list[int]):
    replies = await asyncio.gather(*(model.ask(size) for size in (3, 9, 15)))
    assert [reply.usage_metadata["output_tokens"] for reply in replies] == [3, 9, 15]
    assert {reply.response_metadata["finish_reason"] for reply in replies} == {"length"}
    assert batches == [3]


async def test_each_sequence_has_its_own_stop(model: Loads, batches: list[int]):
    free, stopped = await asyncio.gather(model.ask(16), model.ask(16, stop=[" "]))
    assert batches == [2]
    assert " " not in stopped.text
    assert free.text.startswith(stopped.text)
    assert free.usage_metadata["output_tokens"] == 16


async def test_reply_ends_at_the_models_own_stop(model: Loads):
    messages = [HumanMessage("What is the capital of France? Answer in one word.")]
    chat = model.binding.tuned(Sampling(0.0, 1.0, 64))
    reply = await chat.ainvoke(messages)
    assert reply.response_metadata["finish_reason"] == "stop"
    assert "Paris" in reply.text
    assert "<|" not in reply.text


async def test_tokens_are_counted_not_estimated(model: Loads):
    tokenizer = model.engine.tokenizer
    turns = [
        {"role": "system", "content": STORY[0].text},
        {"role": "user", "content": STORY[1].text},
    ]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
    call = Call(STORY, Sampling(0.0, 1.0, 12), timeout=60, max_attempts=1, label="reasoning")
    reply = await ask(model.binding, call)
    assert reply.error is None
    assert (reply.input_tokens, reply.output_tokens) == (len(prompt), 12)
    assert not reply.estimated
    assert model.binding.count_tokens
    assert abs(model.binding.count_tokens(reply.text) - 12) <= 1  # text can be cut in many ways


async def test_same_seed_same_text_and_another_another(model: Loads):
    first, again, other = [
        (await model.ask(12, seed=seed, temperature=1.2)).text for seed in (7, 7, 8)
    ]
    assert first == again
    assert first != other


async def test_each_sequence_is_drawn_by_its_own_sampling(model: Loads, batches: list[int]):
    settings: list[dict[str, Any]] = [{"temperature": 0.0, "seed": s} for s in (1, 2)]
    replies = await asyncio.gather(
        *(model.ask(8, **each) for each in settings), model.ask(8, temperature=2.0, top_p=1.0)
    )
    assert batches == [3]
    assert replies[0].text == replies[1].text != replies[2].text


async def test_sequences_of_a_batch_keep_to_their_own_schemas(model: Loads, batches: list[int]):
    gates, short, defects, free = await asyncio.gather(
        model.ask(60, schema=GATES, temperature=1.5),
        model.ask(24, schema=defects_schema(), temperature=1.5, seed=3),
        model.ask(60, schema=defects_schema()),
        model.ask(8),
    )
    assert batches == [4]
    assert all(0 <= json.loads(gates.text)[name] <= 1 for name in ("a", "b"))
    for reply in (short, defects):  # brought to an end before their limits
        assert set(json.loads(reply.text)) == {"defects"}
        assert read_defects(reply.text) is not None
    assert not free.text.startswith("{")


async def test_tokens_arrive_as_they_are_drawn(model: Loads):
    settings = {
        "model": f"huggingface:{model.weights}",
        "max_steps": 1,  # reasoning alone
        "max_tokens": 24,
        "seed": 1,
        "timeout": 200,
        "use_memory": False,
    }
    arrivals = []
    async for chunk, _ in graph.astream(
        {"question": "Why is the sky blue?"}, context=settings, stream_mode="messages"
    ):
        if isinstance(chunk, AIMessageChunk) and chunk.text:
            arrivals.append(time.perf_counter())
    assert len(arrivals) > 8
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    # Replayed at the end they would come at once; drawn, most of them wait for a step.
    assert sum(gap > 0.005 for gap in gaps) > len(gaps) / 2


async def test_a_stream_leaves_the_loop_free(model: Loads):
    longest, running = 0.0, True

    async def tick() -> None:
        nonlocal longest
        while running:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - before)

    ticking = asyncio.create_task(tick())
    await model.ask(20)
    running = False
    await ticking
    assert longest < 0.5


async def test_one_cancelled_request_leaves_the_others(model: Loads, batches: list[int]):
    gone = asyncio.create_task(model.ask(200, seed=2))
    stays = asyncio.create_task(model.ask(20))
    await asyncio.sleep(0.4)
    gone.cancel()
    reply = await stays
    assert gone.cancelled() or gone.cancelling()
    assert reply.usage_metadata["output_tokens"] == 20
    assert batches == [2]


async def test_a_batch_that_nobody_waits_for_ends(model: Loads):
    gone = asyncio.create_task(model.ask(4000))
    await asyncio.sleep(0.5)
    gone.cancel()
    started = time.perf_counter()
    await model.ask(2)
    assert time.perf_counter() - started < 5


async def test_a_prompt_longer_than_the_context_is_refused(model: Loads):
    chat = model.binding.tuned(Sampling(0.7, 0.9, 8))
    with pytest.raises(ModelError, match="8192") as caught:
        await chat.ainvoke([HumanMessage("word " * 9000)])
    assert caught.value.kind == "context_overflow"


def test_a_call_without_a_loop_works(model: Loads):
    chat = model.binding.tuned(Sampling(0.7, 0.9, 4, seed=1))
    assert chat.invoke(STORY).usage_metadata["output_tokens"] == 4
    assert "".join(chunk.text for chunk in chat.stream(STORY)) == chat.invoke(STORY).text


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantization_without_a_gpu_says_so(model: Loads, quantization: Any):
    import torch

    if torch.accelerator.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ModelUnavailable, match=rf"{quantization} needs a GPU.*embedded:"):
        provider.bind(str(model.weights), quantization=quantization)


def test_missing_weights_are_named_with_folder_and_command(monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailable) as caught:
        provider.bind("nobody/no-such-model")
    said = str(caught.value)
    assert "nobody/no-such-model" in said
    assert constants.HF_HUB_CACHE in said
    assert "hf download nobody/no-such-model" in said
    assert "HF_HUB_OFFLINE" in said


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    monkeypatch.setattr(hf_weights, "LOOKUP_SECONDS", 1.0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.perf_counter()
        with pytest.raises(ModelUnavailable, match="hf download nobody/no-such-model"):
            provider.bind("nobody/no-such-model")
    assert time.perf_counter() - started < 10


def test_weights_that_were_cut_short_are_named(model: Loads, tmp_path: Path):
    (made,) = (place for place in model.folder.rglob("*-*-*") if place.is_dir())
    for part in made.iterdir():
        with part.open("rb") as content:
            (tmp_path / part.name).write_bytes(content.read(10_000_000))
    with pytest.raises(ModelUnavailable, match="weights are damaged"):
        provider.bind(str(tmp_path))


def test_damaged_files_are_named(tmp_path: Path):
    text, cut = tmp_path / "text.gguf", tmp_path / "folder"
    text.write_text("no model")
    cut.mkdir()
    (cut / "config.json").write_text('{"model_type": "llama"}')
    for place in (text, cut):
        with pytest.raises(ModelUnavailable, match=place.name):
            provider.bind(str(place))


def test_simple_question_is_answered_and_counted(model: Loads, weights: Path):
    spec = f"huggingface:{weights}"
    settings = {"model": spec, "max_tokens": 24, "seed": 1, "timeout": 200, "max_attempts": 1}
    result = graph.invoke({"question": "What is the capital of France?"}, context=settings)
    assert result["provenance"] == "full", result["error"]
    assert result["model"] == spec
    assert [e["name"] for e in result["experts"]] == ["perception", "reasoning", "synthesis"]
    assert result["final_output"].strip()
    assert "[simulated]" not in result["final_output"]
    assert "<|im_" not in result["final_output"]  # the reply alone, without template or prompt
    for expert in result["experts"]:
        assert 0 < expert["output_tokens"] <= 25, expert
        assert expert["input_tokens"] > 50
    assert result["usage"]["cost_usd"] == 0.0
