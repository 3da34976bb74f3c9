"""Measure calls, wall time and prompt tokens with an endpoint of fixed latency.

The endpoint is on loopback and takes one second for each reply of 60 tokens. Prompt tokens are
counted with the embedded model's tokenizer if it is installed, else as four bytes each.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

from swarm_brain.graph.brain import graph
from tests.fakes import Endpoint, Script, endpoint

LATENCY_S = 1.0
REPLY_WORDS = 60  # of one token each
WORDS = "the question is about what we can know and how we come to know it in the first place"
SIMPLE = "What does entropy mean?"
HARD = "What is the nature of consciousness?"
TARGETS = {
    "simple": (3, 3.2, 800),
    "hard": (8, 4.2, 4000),
    "hard, revised": (9, 5.2, 4000),
}


def script(*, defect: bool) -> Script:
    """Return a model with sixty-word replies, whose critic reports a defect or none."""
    words = " ".join(itertools.islice(itertools.cycle(WORDS.split()), REPLY_WORDS - 4))
    says = dict.fromkeys(
        ("perception", "memory", "reasoning", "creative", "analytical", "synthesis"),
        f"{words}\nVerdict: yes",
    )
    gates = '{"creative": 0.9, "analytical": 0.9}'
    critic = '{"defects": [{"quote": "the first place", "problem": "there is no such place"}]}'
    return Script(
        {**says, "attention": gates, "meta_cognitive": critic if defect else '{"defects": []}'}
    )


def main() -> None:
    """Print the table of targets and measurements, and fifty questions at once."""
    count = tokenizer()
    print("| question | calls | wall / latency | target | prompt tokens | target |")
    print("|---|---|---|---|---|---|")
    for name, (calls, ratio, tokens) in TARGETS.items():
        with endpoint(script(defect="revised" in name), LATENCY_S) as served:
            question = SIMPLE if name == "simple" else HARD
            ask(served, SIMPLE)  # imports and connections are not measured
            served.bodies.clear()
            wall = ask(served, question)
            used = sum(count(m["content"]) for b in served.bodies for m in b["messages"])
            print(
                f"| {name} | {len(served.bodies)} (target {calls}) | {wall / LATENCY_S:.2f} | "
                f"<= {ratio} | {used} | <= {tokens} |"
            )
    fifty()


def ask(served: Endpoint, question: str) -> float:
    """Ask one question and return the seconds."""
    started = time.perf_counter()
    result = graph.invoke({"question": question}, context=settings(served))
    assert result["provenance"] == "full", result["error"]
    return time.perf_counter() - started


def settings(served: Endpoint) -> dict[str, object]:
    """Return a context that uses this endpoint."""
    return {"model": "openai-compatible:bench", "base_url": served.url}


def tokenizer() -> Callable[[str], int]:
    """Return the embedded model's tokenizer, or an estimate of four bytes a token."""
    from swarm_brain.models import embedded_weights
    from swarm_brain.models.choose import bind

    if embedded_weights.cached("smollm2-135m") is None:
        print("(prompt tokens counted as four bytes each)\n")
        return lambda text: -(-len(text.encode()) // 4)
    binding = bind("embedded:smollm2-135m")
    print("(prompt tokens counted with SmolLM2's tokenizer, without chat template)\n")
    assert binding.count_tokens is not None
    return binding.count_tokens


def fifty() -> None:
    """Ask fifty different questions at once in one process, and check the answers."""
    model = script(defect=False)
    model.says["synthesis"] = lambda request: request["user"].split("\n")[1]
    questions = [f"Why is number {n} what it is?" for n in range(50)]

    async def all_at_once(served: Endpoint) -> list[dict[str, object]]:
        runs = (graph.ainvoke({"question": q}, context=settings(served)) for q in questions)
        return await asyncio.gather(*runs)

    with endpoint(model, LATENCY_S) as served:
        ask(served, questions[0])
        started = time.perf_counter()
        results = asyncio.run(all_at_once(served))
        wall = time.perf_counter() - started
    right = sum(r["final_output"] == q for r, q in zip(results, questions, strict=True))
    print(f"\nfifty questions at once: {right} of 50 right, {wall / LATENCY_S:.2f} latencies")
