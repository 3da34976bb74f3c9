"""The node before all experts: reads the question, clears the last run, decides the effort."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.runnables import RunnableConfig

from swarm_brain.graph import effort, propagation
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import BudgetTooSmall, ConfigError, DaySpent, QuestionTooLong
from swarm_brain.graph.state import BrainState, Effort, Memory, RunLimits, Turn
from swarm_brain.graph.topology import Expert, Topology
from swarm_brain.memory import embeddings
from swarm_brain.memory.episodes import Recalled, recall
from swarm_brain.models import choose
from swarm_brain.models.binding import Binding, estimate_tokens
from swarm_brain.nodes import emit, interrupt, prompt, settings
from swarm_brain.nodes import plan as planning
from swarm_brain.nodes.conversation import asked, instructions_of, leaving, question_of, short_term
from swarm_brain.nodes.settings import sampling_for, spec_for
from swarm_brain.spending import quota, reservations
from swarm_brain.spending.ledger import Amount, Budget, open_ledger
from swarm_brain.version import __version__

SEED_BYTES = 4
# Of one memory at worst, but for texts of mostly line ends or foreign letters.
RECALLED_CHARS = prompt.RECALLED_CHARS + prompt.ATTRIBUTE_CHARS + 200


async def begin(topology: Topology, state: BrainState, config: RunnableConfig) -> dict[str, Any]:
    """Check the question and the models before anything is called; reset what a run leaves.

    Raises InputError, ConfigError or ModelUnavailable.
    """
    context = settings.permitted_context()
    query, earlier = question_of(state)
    instructions = instructions_of(state)
    _known_experts(topology, context)
    interrupt.check(context.pause_before, list(topology.experts), settings.thread_of(config))
    bindings = await asyncio.to_thread(_bindings, topology, context)
    main, _ = bindings[context.model]
    await asyncio.to_thread(_fits, topology, instructions + query, context, main)
    short = short_term(earlier, _dropped(state))
    recalled = await _recalled(topology, context, query)
    said = "\n".join([instructions, short[1], *(turn["text"] for turn in short[0]), query])
    wanted = effort.estimate(query) if context.effort == "auto" else context.effort
    shown = prompt.joined(prompt.recalled(recalled.items))
    case = planning_case(topology, context, said, bindings, shown)
    plan = await asyncio.to_thread(_planned, case, wanted, settings.user())
    if not _told_of(topology, plan.max_steps):  # the budget has left nobody to tell it
        recalled = Recalled([], recalled.note)
    if plan.effort == "high":  # several drafts: their agreement may want embeddings meanwhile
        asyncio.get_running_loop().run_in_executor(None, embeddings.warm)
    await _clear_old(state, context)
    run_id, limits = uuid.uuid4().hex, _limits(plan, context)
    _open_ledger(run_id, limits, context)
    emit.begun(topology, context, plan, main.spec, recalled.items)
    return {
        **_fixed(topology, context),
        "run_id": run_id,
        "limits": limits,
        "query": query,
        "instructions": instructions,
        "seed": _seed(query, context),
        "effort": plan.effort,
        "model": main.spec,
        "all_simulated": all(binding.simulated for binding, _ in bindings.values()),
        "memory": _memory(short, recalled),
        "messages": leaving(earlier),
    }


def _fixed(topology: Topology, context: Context) -> dict[str, Any]:
    """What is the same for every question, and what the last run has left, emptied."""
    return {
        "settings": context.model_dump(mode="json"),
        "topology": {"name": topology.source or topology.name, "hash": topology.hash},
        "version": __version__,
        "signals": None,
        "step": None,
        "workspace": {"capacity": context.capacity, "broadcasts": []},
    }


def _planned(case: planning.Case, wanted: Effort, payer: str | None) -> planning.Plan:
    """A plan within the run's budget, and within what the day has left for this payer.

    Raises BudgetTooSmall, or DaySpent if it is the day that is too small.
    """
    plan, left = planning.plan(case, wanted), quota.left(payer)
    least = {
        "budget_usd": _smaller(case.context.budget_usd, left.usd),
        "budget_tokens": _smaller(case.context.budget_tokens, left.tokens),
    }
    if left == quota.Left():
        return plan
    try:
        return planning.plan(replace(case, context=case.context.model_copy(update=least)), wanted)
    except BudgetTooSmall as error:
        raise DaySpent(error.what) from None
    except ConfigError as error:
        raise ConfigError(f"The dollars of a day are limited here. {error}") from None


def _smaller(one: float | None, other: float | None) -> float | None:
    return min((number for number in (one, other) if number is not None), default=None)


def _memory(short: tuple[list[Turn], str, str], recalled: Recalled) -> Memory:
    """What is remembered, as state: the thread's own turns and what the store gave."""
    told, digest, dropped = short
    return {
        "turns": told,
        "digest": digest,
        "dropped": dropped,
        "recalled": recalled.items,
        "note": recalled.note,
    }


def _dropped(state: BrainState) -> str:
    """The digest of the messages that have left this thread's state."""
    before = state.get("memory")
    return before["dropped"] if before else ""


async def _recalled(topology: Topology, context: Context, query: str) -> Recalled:
    """What is remembered about the question, where a memory expert will be there to tell it."""
    store = settings.store()
    if store is None or not context.use_memory or not _told_of(topology, context.max_steps):
        return Recalled([])
    whose = settings.space(context)
    return await recall(store, whose, query, context.recall_limit, context.recall_floor)


def _told_of(topology: Topology, max_steps: int) -> bool:
    """Whether a memory expert will be among those who run."""
    first, last = propagation.steps_planned(topology, max_steps)
    return first == 1 and last > 1 and bool(propagation.memories(topology))


async def _clear_old(state: BrainState, context: Context) -> None:
    """Drop what is kept about the calls of the thread's last run, should it have been given up."""
    store, run_id = settings.store(), state.get("run_id")
    if store is not None and run_id:
        await reservations.forget(store, settings.space(context).calls(run_id))


def _open_ledger(run_id: str, limits: RunLimits, context: Context) -> None:
    """This process has begun the run: it knows all that is spent."""
    budget = Budget(
        context.budget_tokens, context.budget_usd, context.budget_seconds, limits["started"]
    )
    open_ledger(run_id, budget, Amount(), Amount(limits["answer_tokens"], limits["answer_usd"]))


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
    query = asked(question)
    _known_experts(topology, context)
    bindings = _bindings(topology, context)
    wanted = effort.estimate(query) if context.effort == "auto" else context.effort
    # What will be recalled is not known yet: at worst as much as may be, by one expert more.
    room = RECALLED_CHARS * context.recall_limit if context.use_memory else 0
    case = planning_case(topology, context, query, bindings, " " * room)
    plan = planning.plan(case, wanted)
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
    text: str,
    bindings: dict[str, tuple[Binding, str]],
    recalled: str,
) -> planning.Case:
    """What the worst case of this question depends on; `text` is it with the earlier turns."""

    def binding_of(expert: Expert) -> Binding:
        return bindings[spec_for(expert, context)][0]

    return planning.Case(
        topology,
        context,
        text,
        binding_of,
        lambda expert: sampling_for(expert, context, binding_of(expert)).max_tokens,
        recalled,
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


def _known_experts(topology: Topology, context: Context) -> None:
    for name, experts in (("expert_models", context.expert_models), ("without", context.without)):
        if unknown := sorted(set(experts) - set(topology.experts)):
            raise ConfigError(
                f"{name} names {', '.join(unknown)}; this topology has "
                f"{', '.join(topology.experts)}."
            )


def _bindings(topology: Topology, context: Context) -> dict[str, tuple[Binding, str]]:
    """Every model this run may use, by its requested name: what is missing shows before a call."""
    specs = {context.model, *(spec_for(expert, context) for expert in topology.experts.values())}
    return {spec: choose.bind_chosen(spec, context.base_url) for spec in specs}


def _fits(topology: Topology, query: str, context: Context, binding: Binding) -> None:
    """Refuse a question that the longest prompt could not hold uncut."""
    expert = max(topology.experts.values(), key=lambda other: len(other.prompt))
    text = expert.prompt + query
    size = len(text.encode()) + prompt.MESSAGE_OVERHEAD
    if size <= prompt.SURELY_FITS:
        return
    limit = binding.context_tokens()
    room = None if limit is None else limit - sampling_for(expert, context, binding).max_tokens
    if limit is None or room is None or size <= room:
        return
    needed = (binding.count_tokens or estimate_tokens)(text) + prompt.MESSAGE_OVERHEAD
    if needed > room:
        raise QuestionTooLong(needed + limit - room, limit, binding.spec)


def _seed(query: str, context: Context) -> int:
    if context.seed is not None:
        return context.seed
    return int.from_bytes(hashlib.sha256(query.encode()).digest()[:SEED_BYTES], "big")
