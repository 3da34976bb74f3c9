"""The brain: a StateGraph built from a topology, and `graph`, which langgraph.json names."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore
from pydantic import ConfigDict

from swarm_brain.calls.background_loop import wait_for
from swarm_brain.graph import propagation
from swarm_brain.graph.compiled import Brain, BrainResult
from swarm_brain.graph.context import Context
from swarm_brain.graph.loading import load
from swarm_brain.graph.state import BEGIN, FINISH, BrainInput, BrainOutput, BrainState, Update
from swarm_brain.graph.topology import Kind, Topology
from swarm_brain.nodes.begin import begin
from swarm_brain.nodes.expert import run_expert
from swarm_brain.nodes.finish import finish
from swarm_brain.nodes.turn import run_context

__all__ = ["Brain", "BrainResult", "build", "compile_brain", "graph"]

Work = Callable[[BrainState, RunnableConfig], Awaitable[Update]]
Builder = StateGraph[BrainState, Context, BrainInput, BrainOutput]

SPARE_SUPERSTEPS = 8  # begin, finish, the revision, and room for a client's own
PARALLEL_NODES = 64  # LangGraph's default pool for invoke() has cpu + 4 threads


def build(topology: Topology | None = None) -> Builder:
    """The graph of a topology, not yet compiled. Default: the shipped eight experts."""
    topology = topology or load("eight")
    builder: Builder = StateGraph(
        BrainState,
        context_schema=_context_of(topology),
        input_schema=BrainInput,
        output_schema=BrainOutput,
    )
    builder.add_node(BEGIN, _Node(functools.partial(begin, topology)))
    for name in topology.experts:
        work = functools.partial(run_expert, topology, name)
        builder.add_node(name, _Node(work))
    # The only deferred node: it runs once, when nothing else is left to run.
    builder.add_node(FINISH, _Node(functools.partial(finish, topology)), defer=True)
    builder.add_edge(START, BEGIN)
    builder.add_edge(BEGIN, FINISH)
    builder.add_edge(FINISH, END)
    _add_waking_edges(builder, topology)
    return builder


def compile_brain(
    topology: Topology | None = None,
    *,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    store: BaseStore | None = None,
) -> Brain:
    """A brain ready to run: `build` compiled, with its own bound on supersteps."""
    topology = topology or load("eight")
    compiled = build(topology).compile(checkpointer=checkpointer, store=store, name="brain")
    supersteps = max(topology.levels.values()) + SPARE_SUPERSTEPS
    compiled = compiled.with_config(recursion_limit=supersteps, max_concurrency=PARALLEL_NODES)
    return cast(Brain, compiled)


def _context_of(topology: Topology) -> type[Context]:
    """Context, whose schema offers this topology's experts as choices. It takes the same.

    Studio shows a setting beside the nodes of `langgraph_nodes`: those it alone concerns.
    """
    beside: dict[str, Kind] = {
        "recall_limit": "memory", "recall_floor": "memory", "max_revisions": "critic"
    }  # fmt: skip

    def choices(schema: dict[str, Any]) -> None:
        fields, experts = schema["properties"], list(topology.experts)
        for name in ("pause_before", "without"):
            fields[name]["items"]["enum"] = experts
        fields["expert_models"]["propertyNames"] = {"enum": experts}
        for name, kind in beside.items():
            fields[name]["langgraph_nodes"] = [expert.name for expert in topology.of_kind(kind)]

    class Described(Context):
        __doc__ = Context.__doc__
        model_config = ConfigDict(title="Context", json_schema_extra=choices)

    return Described


class _Node(Runnable[BrainState, Update]):
    """Work as a node that `ainvoke` awaits and `invoke` runs on the background loop.

    A plain Runnable and no RunnableLambda, which would put a second run into each node's trace.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    async def ainvoke(
        self, input: BrainState, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Update:
        """Run the node on the caller's loop."""
        return await self._work(input, config or {})

    def invoke(
        self, input: BrainState, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Update:
        """Run the node on the background loop and wait for it."""
        return wait_for(self.ainvoke(input, config))


def _add_waking_edges(builder: Builder, topology: Topology) -> None:
    builder.add_conditional_edges(BEGIN, _from_begin(topology), _entries(topology))
    for name, expert in topology.experts.items():
        labels = _labels(topology, name)
        if expert.kind == "critic":
            labels[REVISE] = topology.synthesis.name
        if labels:
            builder.add_conditional_edges(name, _from_expert(topology, name), labels)


REVISE = "quoted defect"


def _entries(topology: Topology) -> dict[Hashable, str]:
    """Label to name of everybody whom `begin` may wake."""
    names = propagation.starters(topology)
    first = {expert.name for expert in topology.targets(BEGIN)}
    return {
        (_label(topology, BEGIN, name) if name in first else f"{name}: few max_steps"): name
        for name in topology.experts
        if name in names | first
    }


def _labels(topology: Topology, source: str) -> dict[Hashable, str]:
    """Label to target for each waking edge from `source`; the picture shows the labels."""
    return {
        _label(topology, source, target.name): target.name for target in topology.targets(source)
    }


def _label(topology: Topology, source: str, target: str) -> str:
    """What the edge takes to fire. Unique per source, because the router answers with it."""
    expert = topology.experts[target]
    edge = next(edge for edge in expert.woken_by if edge.source == source)
    if source == BEGIN:
        recalled = " or recalled" if expert.kind == "memory" and edge.effort != "any" else ""
        return f"{target}: {edge.effort} effort{recalled}"
    terms = [f"{edge.weight:g}", "salience", *(["gate"] if expert.gated else [])]
    condition = "" if edge.effort == "any" else f", {edge.effort} effort"
    return f"{target}: {' x '.join(terms)}{condition}"


def _from_begin(topology: Topology) -> Callable[[BrainState], Sequence[Hashable]]:
    labels = {name: label for label, name in _entries(topology).items()}

    def wake(state: BrainState) -> Sequence[Hashable]:
        steps, recalled = run_context(state).max_steps, bool(state["memory"]["recalled"])
        woken = propagation.entries(topology, state["effort"], steps, recalled=recalled)
        return [labels[name] for name in woken]

    return wake


def _from_expert(topology: Topology, name: str) -> Callable[[BrainState], Sequence[Hashable]]:
    labels = {target: label for label, target in _labels(topology, name).items()}

    def wake(state: BrainState) -> Sequence[Hashable]:
        context, signals = run_context(state), state["signals"]
        signal = next(signal for signal in reversed(signals) if signal["source"] == name)
        fired = propagation.fired(topology, signal, state["effort"], context)
        revision = propagation.revises(topology, signal, signals, context)
        return [*(labels[target] for target in fired), *([REVISE] if revision else [])]

    return wake


graph = compile_brain()
