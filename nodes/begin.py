"""The node before all experts: reads the question, clears the last run, decides the effort."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from graph import effort, propagation
from graph.context import Context
from graph.errors import BlankQuestion, ConfigError, NotText, QuestionTooLong
from graph.state import BrainState, RunLimits, Turn
from graph.topology import Expert, Topology
from nodes import planning, prompting
from nodes.expert import current_context, sampling_for, spec_for
from swarm_brain import models
from swarm_brain.memory import embeddings
from swarm_brain.models.binding import Binding, estimate_tokens
from swarm_brain.models.ledger import Amount

TURNS = 8  # earlier messages that are heard; older ones stay in the thread
SEED_BYTES = 4


async def begin(topology: Topology, state: BrainState, config: RunnableConfig) -> dict[str, Any]:
    """Check the question and the models before anything is called; reset what a run leaves.

    Raises InputError, ConfigError or ModelUnavailable.
    """
    context = current_context()
    query, earlier = question_of(state)
    _known_experts(topology, context)
    bindings = await asyncio.to_thread(_bindings, topology, context)
    main, _ = bindings[context.model]
    await asyncio.to_thread(_fits, topology, query, context, main)
    said = turns(earlier)
    wanted = effort.estimate(query) if context.effort == "auto" else context.effort
    case = planning_case(topology, context, query, said, bindings)
    plan = await asyncio.to_thread(planning.plan, case, wanted)
    decided = plan.effort
    if decided == "high":  # several drafts: their agreement may want embeddings, while models think
        asyncio.get_running_loop().run_in_executor(None, embeddings.warm)
    return {
        "run_id": uuid.uuid4().hex,
        "limits": _limits(plan, context),
        "query": query,
        "seed": _seed(query, context),
        "effort": decided,
        "model": main.spec,
        "all_simulated": all(binding.simulated for binding, _ in bindings.values()),
        "memory": {"turns": said, "recalled": []},
        "signals": None,
        "step": None,
        "workspace": {"capacity": context.capacity, "broadcasts": []},
    }


@dataclass(frozen=True)
class Prospect:
    """What a question would take at worst: the plan, and a revision if a critic may ask for it."""

    plan: planning.Plan
    calls: int
    worst: Amount
    critic: bool
    model: str


def prospect(topology: Topology, question: str, context: Context) -> Prospect:
    """The worst case of a question, without asking any model. Raises what `begin` raises."""
    query = _asked(question)
    _known_experts(topology, context)
    bindings = _bindings(topology, context)
    wanted = effort.estimate(query) if context.effort == "auto" else context.effort
    plan = planning.plan(planning_case(topology, context, query, [], bindings), wanted)
    _, last = propagation.steps_planned(topology, plan.max_steps)
    critics = {critic.name for critic in topology.of_kind("critic")}
    criticised = any(
        topology.levels[name] <= last for name in critics & topology.reached(plan.effort)
    )
    worst = plan.worst + plan.answer if criticised and context.max_revisions else plan.worst
    return Prospect(plan, plan.calls, worst, criticised, bindings[context.model][0].spec)


def planning_case(
    topology: Topology,
    context: Context,
    query: str,
    said: list[Turn],
    bindings: dict[str, tuple[Binding, str]],
) -> planning.Case:
    """What the worst case of this question depends on."""

    def binding_of(expert: Expert) -> Binding:
        return bindings[spec_for(expert, context)][0]

    return planning.Case(
        topology,
        context,
        "\n".join([*(turn["text"] for turn in said), query]),
        binding_of,
        lambda expert: sampling_for(expert, context, binding_of(expert)).max_tokens,
    )


def _limits(plan: planning.Plan, context: Context) -> RunLimits:
    return {
        "max_steps": plan.max_steps,
        "max_tokens": context.max_tokens if plan.max_tokens is None else plan.max_tokens,
        "answer_tokens": plan.answer.tokens,
        "answer_usd": plan.answer.usd,
        "started": time.time(),
        "reduced": plan.reduced,
    }


def question_of(state: BrainState) -> tuple[str, list[AnyMessage]]:
    """The question and the messages before it. `question` wins over the last human message."""
    messages = list(state.get("messages") or [])
    given: Any = state.get("question")
    if given is not None:
        if not isinstance(given, str):
            raise NotText(given)
        last = messages[-1:]
        if last and isinstance(last[0], HumanMessage) and last[0].text == given:
            messages.pop()
        return _asked(given), messages
    for at in range(len(messages) - 1, -1, -1):
        if isinstance(messages[at], HumanMessage):
            return _asked(_text(messages[at])), messages[:at]
    raise BlankQuestion


def _asked(text: str) -> str:
    if not text.strip():
        raise BlankQuestion
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates: what Python makes of undecodable bytes
        raise NotText(text) from None
    return text.strip()


def _text(message: BaseMessage) -> str:
    """A message's words. Raises NotText if it holds only pictures or the like."""
    if message.content and not message.text.strip() and not isinstance(message.content, str):
        raise NotText(message.content)
    return message.text


def turns(messages: list[AnyMessage]) -> list[Turn]:
    """The last TURNS messages of user and assistant that have words."""
    said: list[Turn] = [
        {"role": "user" if isinstance(message, HumanMessage) else "assistant", "text": message.text}
        for message in messages
        if isinstance(message, HumanMessage | AIMessage) and message.text.strip()
    ]
    return said[-TURNS:]


def _known_experts(topology: Topology, context: Context) -> None:
    if unknown := sorted(set(context.expert_models) - set(topology.experts)):
        raise ConfigError(
            f"expert_models names {', '.join(unknown)}; this topology has "
            f"{', '.join(topology.experts)}."
        )


def _bindings(topology: Topology, context: Context) -> dict[str, tuple[Binding, str]]:
    """Every model this run may use, by its requested name: what is missing shows before a call."""
    specs = {context.model, *(spec_for(expert, context) for expert in topology.experts.values())}
    return {spec: models.bind_chosen(spec, context.base_url) for spec in specs}


def _fits(topology: Topology, query: str, context: Context, binding: Binding) -> None:
    """Refuse a question that the longest prompt could not hold uncut."""
    expert = max(topology.experts.values(), key=lambda other: len(other.prompt))
    text = expert.prompt + query
    size = len(text.encode()) + prompting.MESSAGE_OVERHEAD
    if size <= prompting.SURELY_FITS:
        return
    limit = binding.context_tokens()
    room = None if limit is None else limit - sampling_for(expert, context, binding).max_tokens
    if limit is None or room is None or size <= room:
        return
    needed = (binding.count_tokens or estimate_tokens)(text) + prompting.MESSAGE_OVERHEAD
    if needed > room:
        raise QuestionTooLong(needed + limit - room, limit, binding.spec)


def _seed(query: str, context: Context) -> int:
    if context.seed is not None:
        return context.seed
    return int.from_bytes(hashlib.sha256(query.encode()).digest()[:SEED_BYTES], "big")
