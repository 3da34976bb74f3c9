"""Consolidation: distil facts from episodes, and remove near-duplicates.

Each new episode is read once. A batch's facts, links and removals are written together with the
note that its episodes have been read, so consolidation can stop anywhere and start again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage
from langgraph.store.base import BaseStore, Item, Op, PutOp

from swarm_brain import prompts
from swarm_brain.calls.client import ask
from swarm_brain.calls.request import Call
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ModelError
from swarm_brain.graph.state import MemoryKind
from swarm_brain.memory import embeddings
from swarm_brain.memory.comparable import comparable
from swarm_brain.memory.facts import facts_schema, read_facts
from swarm_brain.memory.maintenance import paged
from swarm_brain.memory.nearest import nearest
from swarm_brain.memory.space import Space
from swarm_brain.models import choose
from swarm_brain.models.binding import Binding, Sampling
from swarm_brain.spending.ledger import Budget, Ledger

log = logging.getLogger(__name__)
Value = dict[str, Any]  # of an item, as LangGraph types it
Values = dict[str, Value]  # by key

BATCH = 8  # episodes read in one call
# Similarity from which two memories are the same: near 1, because one of them is deleted.
SAME_QUESTION, SAME_ANSWER, SAME_FACT = 0.97, 0.9, 0.95
ANSWER_CHARS = 1_500
NEAREST = 32  # memories compared at once
REPLY_TOKENS = 512
SECONDS = 120.0


@dataclass
class Consolidation:
    """The result of one consolidation.

    `left` counts unread episodes, and `why` says what stopped it.
    """

    read: int = 0
    facts: int = 0
    merged: int = 0
    duplicates: int = 0
    left: int = 0
    tokens: int = 0
    cost_usd: float | None = 0.0
    why: str | None = None


@dataclass(frozen=True)
class _Work:
    """The shared inputs of a consolidation's parts."""

    store: BaseStore
    space: Space
    binding: Binding
    ledger: Ledger
    payer: str | None

    def put(self, kind: MemoryKind, key: str, value: Value | None) -> Op:
        """Return the operation that writes a memory, or deletes it if the value is None."""
        return PutOp(self.space.of(kind), key, value, ["text"])

    def read(self, key: str) -> Op:
        """Return the operation that notes that an episode has been read."""
        return PutOp(self.space.unconsolidated, key, None)


async def consolidate(
    store: BaseStore, space: Space, context: Context, payer: str | None = None
) -> Consolidation:
    """Distil facts from all new episodes, within `consolidation_tokens`.

    The calls count against the daily quota of `payer`. Raises ConfigError or ModelUnavailable if
    no model is available. A simulation distils nothing.
    """
    report = Consolidation()
    keys = sorted([item.key async for item in paged(store, space.unconsolidated)])
    report.left = len(keys)
    if not keys:
        return report
    binding, _ = await asyncio.to_thread(choose.bind_chosen, context.model, context.base_url)
    if binding.simulated:
        report.why = "no model is available, and a simulation cannot distil facts"
        return report
    work = _Work(store, space, binding, Ledger(Budget(tokens=context.consolidation_tokens)), payer)
    for at in range(0, len(keys), BATCH):
        if not await _batch(work, keys[at : at + BATCH], report):
            break
    report.tokens, report.cost_usd = work.ledger.spent.tokens, work.ledger.spent.usd
    return report


async def _batch(work: _Work, keys: Sequence[str], report: Consolidation) -> bool:
    """Read some episodes. Return False if the consolidation must stop."""
    items = [await work.store.aget(work.space.of("episode"), key) for key in keys]
    doubles = await _duplicates(work, [item for item in items if item])
    new = [item for item in items if item and item.key not in doubles]
    facts, problem = await _distilled(work, new)
    if problem:
        report.why = problem
        return False
    written = await _relinked(work, doubles)
    merged = [await _fact(work, text, sources, written) for text, sources in facts]
    await work.store.abatch(
        [
            *(work.read(key) for key in [*keys, *doubles]),
            *(work.put("episode", key, None) for key in doubles),
            *(work.put("fact", key, value) for key, value in written.items()),
        ]
    )
    report.merged += sum(merged)
    report.facts += len(merged) - sum(merged)
    report.read += len(new)
    report.duplicates += len(doubles)
    report.left -= len(keys)
    return True


async def _duplicates(work: _Work, episodes: Sequence[Item]) -> dict[str, str]:
    """Return the new key by the old one, for episodes that a later one repeats."""
    doubles: dict[str, str] = {}
    for item in sorted(episodes, key=lambda item: str(item.value["date"])):
        for other in await _near(work, "episode", item.value["question"], SAME_QUESTION):
            older = (str(other.value["date"]), other.key) < (str(item.value["date"]), item.key)
            if older and await asyncio.to_thread(_same_answer, item, other):
                doubles[other.key] = item.key
    return {old: _last(doubles, new) for old, new in doubles.items()}


def _last(doubles: Mapping[str, str], key: str) -> str:
    """Return the key at the end of a chain of replacements."""
    while key in doubles:
        key = doubles[key]
    return key


async def _near(work: _Work, kind: MemoryKind, text: str, least: float) -> list[Item]:
    """Return memories with nearly the same meaning as a text."""
    embedder = embeddings.chosen()
    if embedder is None:
        return []
    near: list[Item] = []
    while len(near) % NEAREST == 0:
        page = await nearest(
            work.store, work.space.of(kind), text, embedder, limit=NEAREST, offset=len(near)
        )
        close = [item for item in page if (item.score or 0) >= least]
        near += close
        if not close:
            break
    return [item for item in near if comparable(text, str(item.value["text"]))]


def _same_answer(one: Item, other: Item) -> bool:
    verdicts = [item.value["verdict"] for item in (one, other)]
    if all(verdicts):
        return len({str(verdict).strip().casefold() for verdict in verdicts}) == 1
    first, second = (str(item.value["answer"]) for item in (one, other))
    if first == second:
        return True
    similarity = embeddings.mean_similarity([first, second]) or 0
    return similarity >= SAME_ANSWER and comparable(first, second)


async def _relinked(work: _Work, doubles: Mapping[str, str]) -> Values:
    """Return the facts of removed duplicates, linked to their replacements."""
    moved: Values = {}
    if not doubles:
        return moved
    async for fact in paged(work.store, work.space.of("fact")):
        sources = [doubles.get(key, key) for key in fact.value["episodes"]]
        if sources != fact.value["episodes"]:
            moved[fact.key] = {**fact.value, "episodes": list(dict.fromkeys(sources))}
    return moved


async def _distilled(
    work: _Work, episodes: Sequence[Item]
) -> tuple[list[tuple[str, list[str]]], str | None]:
    """Return facts with the keys of their episodes, or the reason for none."""
    if not episodes:
        return [], None
    reply = await ask(work.binding, _call(work, episodes))
    if reply.error is not None:
        return [], _reason(reply.error)
    facts = read_facts(reply.text, [item.key for item in episodes])
    if facts is None:
        return [], f"{work.binding.spec} did not reply with the requested JSON"
    return facts, None


def _reason(error: ModelError) -> str:
    return f"consolidation_tokens: {error}" if error.kind == "budget" else str(error)


def _call(work: _Work, episodes: Sequence[Item]) -> Call:
    shown = "\n\n".join(_shown(number, item) for number, item in enumerate(episodes, 1))
    return Call(
        messages=[SystemMessage(prompts.load("consolidation")), HumanMessage(shown)],
        sampling=Sampling(temperature=0.0, top_p=1.0, max_tokens=REPLY_TOKENS),
        timeout=SECONDS,
        max_attempts=2,
        label="consolidation",
        schema=facts_schema(),
        ledger=work.ledger,
        payer=work.payer,
    )


def _shown(number: int, item: Item) -> str:
    value = item.value
    text = f"Question: {value['question']}\nAnswer: {value['answer'][:ANSWER_CHARS]}"
    quoted = "\n".join(f"| {line}" for line in text.splitlines())
    return f"Episode {number} ({value['date'][:10]}):\n{quoted}"


async def _fact(work: _Work, text: str, sources: list[str], written: Values) -> bool:
    """Add a fact to `written`. Return whether it only adds sources to a known one."""
    embedder = embeddings.chosen()
    near = await _near(work, "fact", text, SAME_FACT)
    key = near[0].key if near else await asyncio.to_thread(_same_fact, text, written)
    key = key or hashlib.sha256(text.encode()).hexdigest()[:32]
    known = written.get(key)
    if known is None and (item := await work.store.aget(work.space.of("fact"), key)):
        known = item.value
    base = known or {
        "kind": "fact",
        "text": text,
        "episodes": [],
        "model": work.binding.spec,
        "date": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    written[key] = {
        **base,
        "episodes": list(dict.fromkeys([*base["episodes"], *sources])),
        "embedder": embedder.name if embedder else None,
    }
    return known is not None


def _same_fact(text: str, written: Values) -> str | None:
    """Return the key of an equal fact of this batch that is not yet stored."""
    embedder = embeddings.chosen()
    if embedder is None or not written:
        return None
    texts = [str(value["text"]) for value in written.values()]
    vectors = embedder.embed([text, *texts])
    scores = vectors[1:] @ vectors[0]
    for key, other, score in zip(written, texts, scores, strict=True):
        if score >= SAME_FACT and comparable(text, other):
            return key
    return None
