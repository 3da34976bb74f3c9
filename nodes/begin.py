"""The first node: read the question, reset the state, decide the effort."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from dataclasses import dataclass, replace

from langchain_core.runnables import RunnableConfig

from swarm_brain.graph import effort, propagation
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import BudgetTooSmall, ConfigError, DaySpent, QuestionTooLong
from swarm_brain.graph.state import (
    BeginUpdate,
    BrainState,
    Effort,
    Memory,
    Reset,
    RunLimits,
)
from swarm_brain.graph.topology import Expert, Topology
from swarm_brain.memory import embeddings
from swarm_brain.memory.episodes import Recalled, recall
from swarm_brain.models import choose
from swarm_brain.models.binding import Binding, estimate_tokens
from swarm_brain.nodes import access, emit, interrupt, prompt
from swarm_brain.nodes.conversation import Conversation, asked, read_conversation
from swarm_brain.nodes.plan import Case, Plan, make_plan
from swarm_brain.nodes.turn import Turn, call_settings, sampling_for, spec_for
from swarm_brain.spending import quota, reservations
from swarm_brain.spending.ledger import Amount, Budget, open_ledger
from swarm_brain.version import __version__

Bindings = dict[str, tuple[Binding, str]]  # by the name in the settings; from models.choose

SEED_BYTES = 4
# The longest that one memory gets, except for texts of mostly line ends or foreign letters.
RECALLED_CHARS = prompt.RECALLED_CHARS + prompt.ATTRIBUTE_CHARS + 200


async def begin(topology: Topology, state: BrainState, config: RunnableConfig) -> BeginUpdate:
    """Check the question and the models before any call; reset the last run's state.

    Raises InputError, ConfigError or ModelUnavailable.
    """
    context = call_settings()
    access.check(context, access.identity())
    turn = Turn(topology=topology, state=state, settings=context, context=context, config=config)
    conversation = read_conversation(state)
    _check_names(topology, context)
    interrupt.check(context.pause_before, list(topology.experts), turn.thread)
    bindings = await asyncio.to_thread(_bindings, topology, context)
    main, _ = bindings[context.model]
    uncut = conversation.instructions + conversation.question
    await asyncio.to_thread(_check_length, topology, uncut, context, main)
    recalled = await _recalled(turn, conversation.question)
    plan = await asyncio.to_thread(_plan, turn, conversation, bindings, recalled)
    if not _remembers(topology, plan.max_steps):  # the budget allows no memory expert
        recalled = Recalled([], recalled.note)
    if plan.effort == "high":  # several drafts: their agreement may need embeddings later
        asyncio.get_running_loop().run_in_executor(None, embeddings.warm)
    await _clear_old(turn)
    run_id, limits = uuid.uuid4().hex, _limits(plan, context)
    _open_ledger(run_id, limits, context)
    emit.begun(turn, plan, main.spec, recalled.items)
    simulated = all(binding.simulated for binding, _ in bindings.values())
    return {
        **_fixed(topology, context),
        "run_id": run_id,
        "limits": limits,
        "query": conversation.question,
        "instructions": conversation.instructions,
        "seed": _seed(conversation.question, context),
        "effort": plan.effort,
        "model": main.spec,
        "all_simulated": simulated,
        "memory": _memory(conversation, recalled),
        "messages": conversation.removed,
    }


def _fixed(topology: Topology, context: Context) -> Reset:
    """Return the question-independent fields, and empty channels for the new run."""
    return {
        "settings": context.model_dump(mode="json"),
        "topology": {"name": topology.source or topology.name, "hash": topology.hash},
        "version": __version__,
        "signals": None,
        "step": None,
        "workspace": {"capacity": context.capacity, "broadcasts": []},
    }


def _plan(turn: Turn, conversation: Conversation, bindings: Bindings, recalled: Recalled) -> Plan:
    """Return the plan of a run. Raises what `_plan_within_day` raises."""
    shown = prompt.joined(prompt.recalled(recalled.items))
    case = _case(turn.topology, turn.settings, conversation.text, bindings, shown)
    estimated = _effort(turn.settings, conversation.question)
    return _plan_within_day(case, estimated, access.user())


def _effort(context: Context, question: str) -> Effort:
    return effort.estimate(question) if context.effort == "auto" else context.effort


def _plan_within_day(case: Case, estimated: Effort, payer: str | None) -> Plan:
    """Return a plan within the run's budget and the user's rest of the day.

    Raises BudgetTooSmall, or DaySpent if the day's allowance is the smaller one.
    """
    plan, left = make_plan(case, estimated), quota.left(payer)
    if left == quota.Left():
        return plan
    least = {
        "budget_usd": _smaller(case.context.budget_usd, left.usd),
        "budget_tokens": _smaller(case.context.budget_tokens, left.tokens),
    }
    try:
        return make_plan(replace(case, context=case.context.model_copy(update=least)), estimated)
    except BudgetTooSmall as error:
        raise DaySpent(error.what) from None
    except ConfigError as error:
        raise ConfigError(f"This server limits dollars for each day. {error}") from None


def _smaller(one: float | None, other: float | None) -> float | None:
    return min((number for number in (one, other) if number is not None), default=None)


def _memory(conversation: Conversation, recalled: Recalled) -> Memory:
    """Return the state's record of the thread's and the store's memories."""
    return {
        "turns": conversation.messages,
        "digest": conversation.digest,
        "dropped": conversation.dropped,
        "recalled": recalled.items,
        "note": recalled.note,
    }


async def _recalled(turn: Turn, query: str) -> Recalled:
    """Recall memories from the store if a memory expert will run to use them."""
    store, context = turn.store, turn.context
    if store is None or not context.use_memory:
        return Recalled([])
    if not _remembers(turn.topology, context.max_steps):
        return Recalled([])
    return await recall(store, turn.space, query, context.recall_limit, context.recall_floor)


def _remembers(topology: Topology, max_steps: int) -> bool:
    """Return whether a memory expert may run within these steps."""
    first, last = propagation.steps_planned(topology, max_steps)
    return first == 1 and last > 1 and bool(propagation.memories(topology))


async def _clear_old(turn: Turn) -> None:
    """Delete the call entries of the thread's last run, which may be unfinished."""
    store, run_id = turn.store, turn.state.get("run_id")
    if store is not None and run_id:
        await reservations.clear(store, turn.space.calls(run_id))


def _open_ledger(run_id: str, limits: RunLimits, context: Context) -> None:
    """Open the run's ledger in this process, with nothing spent yet."""
    budget = Budget(
        context.budget_tokens, context.budget_usd, context.budget_seconds, limits["started"]
    )
    open_ledger(run_id, budget, Amount(), Amount(limits["answer_tokens"], limits["answer_usd"]))


@dataclass(frozen=True)
class Prospect:
    """The worst-case cost of a question: its plan, and a possible revision."""

    plan: Plan
    calls: int
    worst: Amount
    critic: bool
    model: str


def prospect(topology: Topology, question: str, context: Context) -> Prospect:
    """Return a question's worst case without a model call. Raises as `begin` does."""
    query = asked(question)
    _check_names(topology, context)
    bindings = _bindings(topology, context)
    # What will be recalled is not known yet: at most recall_limit memories, by one more expert.
    room = RECALLED_CHARS * context.recall_limit if context.use_memory else 0
    case = _case(topology, context, query, bindings, " " * room)
    plan = make_plan(case, _effort(context, query))
    _, last = propagation.steps_planned(topology, plan.max_steps)
    reached = [topology.experts[name] for name in topology.reached(plan.effort)]
    criticised = any(
        expert.traits.checks and topology.levels[expert.name] <= last for expert in reached
    )
    worst = plan.worst + plan.answer if criticised and context.max_revisions else plan.worst
    return Prospect(plan, plan.calls, worst, criticised, bindings[context.model][0].spec)


def _case(
    topology: Topology,
    context: Context,
    text: str,
    bindings: Bindings,
    recalled: str,
) -> Case:
    """Return the inputs of the question's worst case."""

    def binding_of(expert: Expert) -> Binding:
        return bindings[spec_for(expert, context)][0]

    def reply_of(expert: Expert) -> int:
        return sampling_for(topology, expert, context, binding_of(expert)).max_tokens

    return Case(topology, context, text, binding_of, reply_of, recalled)


def _limits(plan: Plan, context: Context) -> RunLimits:
    return {
        "max_steps": plan.max_steps,
        "max_tokens": context.max_tokens if plan.max_tokens is None else plan.max_tokens,
        "answer_tokens": plan.answer.tokens,
        "answer_usd": plan.answer.usd,
        "started": time.time(),
        "reduced": plan.reduced,
    }


def _check_names(topology: Topology, context: Context) -> None:
    """Raise ConfigError if the settings name an expert that the topology lacks."""
    for name, experts in (("expert_models", context.expert_models), ("without", context.without)):
        if unknown := sorted(set(experts) - set(topology.experts)):
            raise ConfigError(
                f"{name} names {', '.join(unknown)}; this topology has "
                f"{', '.join(topology.experts)}."
            )


def _bindings(topology: Topology, context: Context) -> Bindings:
    """Bind every model of the run, so that a missing one fails before any call."""
    specs = {context.model, *(spec_for(expert, context) for expert in topology.experts.values())}
    return {spec: choose.bind_chosen(spec, context.base_url) for spec in specs}


def _check_length(topology: Topology, query: str, context: Context, binding: Binding) -> None:
    """Raise QuestionTooLong if the question does not fit beside the longest prompt."""
    expert = max(topology.experts.values(), key=lambda other: len(other.prompt))
    text = expert.prompt + query
    size = len(text.encode()) + prompt.MESSAGE_OVERHEAD
    if size <= prompt.SURELY_FITS:
        return
    limit = binding.context_tokens()
    if limit is None:
        return
    room = limit - sampling_for(topology, expert, context, binding).max_tokens
    if size <= room:
        return
    needed = (binding.count_tokens or estimate_tokens)(text) + prompt.MESSAGE_OVERHEAD
    if needed > room:
        raise QuestionTooLong(needed + limit - room, limit, binding.spec)


def _seed(query: str, context: Context) -> int:
    if context.seed is not None:
        return context.seed
    return int.from_bytes(hashlib.sha256(query.encode()).digest()[:SEED_BYTES], "big")
