"""Fifty questions to a cluster at once, and what became of them."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph_sdk import get_client

from tests.cluster.aegra import TESTER, Worker

# Each with a number of its own, by which the endpoint knows it and no other is recalled for it.
HARD, SIMPLE = "Why is subject {} what it is?", "What does subject {} mean?"
CALLS = {"high": 8, "low": 3}
_numbers = itertools.count(1_000)


def marker(text: str) -> str:
    """The number that tells a question from all others, wherever its words stand."""
    found = re.search(r"subject (\d{4})\b", text)
    assert found, text
    return found[1]


def questions(count: int) -> list[str]:
    """Hard and simple ones in turn."""
    return [(HARD, SIMPLE)[at % 2].format(next(_numbers)) for at in range(count)]


@dataclass
class Asked:
    """Questions under way: their threads, and since when."""

    threads: dict[str, str] = field(default_factory=dict)  # question to thread
    since: float = field(default_factory=time.monotonic)


def client_of(worker: Worker) -> Any:
    """The tester's client, to be used on one loop."""
    return get_client(url=worker.url, api_key=worker.keys[TESTER])


def ask(workers: Sequence[Worker], texts: Sequence[str]) -> Asked:
    """Put all questions to the workers in turn, as a balancer in front of them would."""
    return asyncio.run(_ask(workers, texts))


async def _ask(workers: Sequence[Worker], texts: Sequence[str]) -> Asked:
    clients = [client_of(worker) for worker in workers]
    threads = await asyncio.gather(*(clients[0].threads.create() for _ in texts))
    asked = Asked({text: made["thread_id"] for text, made in zip(texts, threads, strict=True)})
    await asyncio.gather(
        *(
            client.runs.create(thread, "brain", input={"question": text})
            for client, (text, thread) in zip(
                itertools.cycle(clients), asked.threads.items(), strict=False
            )
        )
    )
    return asked


def results(worker: Worker, asked: Asked, seconds: float) -> tuple[dict[str, Any], float]:
    """Each question's final state, and the seconds that all took together."""
    return asyncio.run(_results(client_of(worker), asked, seconds))


async def _results(client: Any, asked: Asked, seconds: float) -> tuple[dict[str, Any], float]:
    deadline = time.monotonic() + seconds
    while await client.threads.search(status="busy", limit=1):
        assert time.monotonic() < deadline, "some questions have not ended"
        await asyncio.sleep(0.1)
    took = time.monotonic() - asked.since
    states = await asyncio.gather(*(client.threads.get_state(t) for t in asked.threads.values()))
    return dict(zip(asked.threads, (state["values"] for state in states), strict=True)), took


def answered(worker: Worker, thread: str) -> set[str]:
    """The experts whose signals the thread has already, in its state or as pending writes."""
    state = worker.client.threads.get_state(thread)
    signals = list((state["values"] or {}).get("signals") or [])
    for task in state["tasks"]:
        signals += (task.get("result") or {}).get("signals") or []
    return {signal["source"] for signal in signals}
