"""Build the StateGraph of a topology. langgraph.json names `graph`."""

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
from swarm_brain.graph.kinds import Kind
from swarm_brain.graph.loading import load
from swarm_brain.graph.state import BEGIN, FINISH, BrainInput, BrainOutput, BrainState, Update
from swarm_brain.graph.topology import Topology
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
    """Return the uncompiled graph of a topology, by default the shipped one."""
    topology = topology or load("eight")
    builder: Builder = StateGraph(
        BrainState,
        context_schema=_context_of(topology),
        input_schema=BrainInput,
        output_schema=BrainOutput,
    )
    builder.add_node(BEGIN, _Node(functools.partial(begin, topology)))
    for name in topology.experts:
        builder.add_node(name, _Node(functools.partial(run_expert, topology, name)))
    # The only deferred node: it runs once, when no other node is left to run.
    builder.add_node(FINISH, _Node(functools.partial(finish, topology)), defer=True)
    _add_edges(builder, topology)
    return builder


def compile_brain(
    topology: Topology | None = None,
    *,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    store: BaseStore | None = None,
) -> Brain:
    """Compile the graph of a topology, with a limit on LangGraph's supersteps."""
    topology = topology or load("eight")
    compiled = build(topology).compile(checkpointer=checkpointer, store=store, name="brain")
    supersteps = max(topology.levels.values()) + SPARE_SUPERSTEPS
    compiled = compiled.with_config(recursion_limit=supersteps, max_concurrency=PARALLEL_NODES)
    return cast(Brain, compiled)


def _context_of(topology: Topology) -> type[Context]:
    """Return Context with a schema that offers this topology's experts as choices.

    It accepts the same values. Studio shows a setting at the nodes listed in `langgraph_nodes`.
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
    """A node that `ainvoke` awaits and `invoke` runs on the background loop.

    A RunnableLambda would add a second run to each node's trace.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    async def ainvoke(
        self, input: BrainState, config: RunnableConfig | None = None, **kwargs: object
    ) -> Update:
        """Run the node on the caller's loop."""
        return await self._work(input, config or {})

    def invoke(
        self, input: BrainState, config: RunnableConfig | None = None, **kwargs: object
    ) -> Update:
        """Run the node on the background loop and wait for it."""
        return wait_for(self.ainvoke(input, config))


def _add_edges(builder: Builder, topology: Topology) -> None:
    """Connect the nodes. Each expert leads to `finish` unless it wakes another one.

    An expert whose signal is edited later can therefore reach `finish` too (docs/decisions/0021).
    """
    builder.add_edge(START, BEGIN)
    routes = _entries(topology)
    builder.add_conditional_edges(BEGIN, _from_begin(topology, routes), _by_label(routes))
    for name in topology.experts:
        if routes := _routes(topology, name):
            router = _from_expert(topology, name, routes)
            builder.add_conditional_edges(name, router, _by_label(routes))
        else:
            builder.add_edge(name, FINISH)
    builder.add_edge(FINISH, END)


Routes = dict[str, str]  # target to label; LangGraph draws one label for each target
Router = Callable[[BrainState], Sequence[str]]


def _by_label(routes: Routes) -> dict[Hashable, str]:
    """Return the path map that LangGraph expects."""
    return {label: target for target, label in routes.items()}


def _entries(topology: Topology) -> Routes:
    """Return the routes to every expert that `begin` may wake."""
    first = {expert.name for expert in topology.targets(BEGIN)}
    names = first | propagation.starters(topology)
    routes = {
        name: _label(topology, BEGIN, name) if name in first else f"{name}: few max_steps"
        for name in topology.experts
        if name in names
    }
    return routes | ({FINISH: "nobody is woken"} if propagation.may_wake_nobody(topology) else {})


def _routes(topology: Topology, source: str) -> Routes:
    """Return the routes from an expert; none if it wakes no other."""
    expert = topology.experts[source]
    routes = {
        target.name: _label(topology, source, target.name) for target in topology.targets(source)
    }
    if expert.traits.checks:
        routes[topology.synthesis.name] = "quoted defect"
    return routes | {FINISH: expert.traits.end} if routes else {}


def _label(topology: Topology, source: str, target: str) -> str:
    """Return the condition of an edge, unique per source: the router returns it."""
    expert = topology.experts[target]
    edge = next(edge for edge in expert.woken_by if edge.source == source)
    if source == BEGIN:
        recalled = " or recalled" if expert.kind == "memory" and edge.effort != "any" else ""
        return f"{target}: {edge.effort} effort{recalled}"
    terms = [f"{edge.weight:g}", "salience", *(["gate"] if expert.gated else [])]
    condition = "" if edge.effort == "any" else f", {edge.effort} effort"
    return f"{target}: {' x '.join(terms)}{condition}"


def _from_begin(topology: Topology, routes: Routes) -> Router:
    def wake(state: BrainState) -> Sequence[str]:
        woken = propagation.entries(
            topology,
            state["effort"],
            state["limits"]["max_steps"],
            recalled=bool(state["memory"]["recalled"]),
        )
        return [routes[name] for name in woken or [FINISH]]

    return wake


def _from_expert(topology: Topology, name: str, routes: Routes) -> Router:
    def wake(state: BrainState) -> Sequence[str]:
        context, signals = run_context(state), state["signals"]
        signal = next(signal for signal in reversed(signals) if signal["source"] == name)
        edges = propagation.leaving(topology, signal, signals, state["effort"], context)
        return [routes[edge.to] for edge in edges if edge.fired] or [routes[FINISH]]

    return wake


graph = compile_brain()
