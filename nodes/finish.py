"""The node after all experts: picks the answer, labels it, measures agreement, counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig

from swarm_brain import observers
from swarm_brain.graph import propagation
from swarm_brain.graph.context import Context
from swarm_brain.graph.state import BrainState, ExpertReport, Provenance, Signal, StopReason, Usage
from swarm_brain.graph.topology import Topology
from swarm_brain.memory import background, embeddings
from swarm_brain.memory.episodes import remember, worth_remembering
from swarm_brain.models.simulation import MARK
from swarm_brain.nodes import emit, parse, prompt, settings
from swarm_brain.nodes.conversation import exchanged
from swarm_brain.nodes.expert import insist
from swarm_brain.nodes.prompt import SIGNALS_CUT
from swarm_brain.nodes.settings import run_context, same_topology
from swarm_brain.nodes.signal import LIMITS, PREVENTED
from swarm_brain.observers import Finished
from swarm_brain.spending import reservations
from swarm_brain.spending.ledger import close_ledger
from swarm_brain.version import __version__

_REPORTED = (
    "step", "status", "model", "attempts", "input_tokens", "output_tokens", "cached_tokens",
    "estimated", "cached", "latency_s", "woken_by", "human", "error",
)  # fmt: skip


async def finish(topology: Topology, state: BrainState, config: RunnableConfig) -> dict[str, Any]:
    """The run's result as a state update; what it is worth remembering is remembered.

    Raises ExpertFailed if the run is strict and an expert has failed, ThreadError if the run was
    begun with another topology.
    """
    same_topology(topology, state)
    context = run_context(state)
    close_ledger(state["run_id"])
    insist(state, context)
    emit.broadcast(topology, state, context)
    signals = state.get("signals", [])
    chosen = choose(topology, signals)
    provenance, stop, error = label(topology, state, chosen)
    text, verdict = f"{MARK} No model answered: {error}.", None
    if chosen:
        text, verdict = chosen["content"], chosen["verdict"]
    drafts = [s for s in prompt.drafts(topology, signals) if s["status"] == "ok"]
    result = {
        "final_output": text,
        "provenance": provenance,
        "stop_reason": stop,
        "verdict": verdict,
        "agreement": await agreement(drafts),
        "dissent": dissent(drafts, verdict, text),
        "revised": _answers(topology, signals) > 1,
        "steps": state.get("step", 0),
        "thread_id": settings.thread_of(config),
        "recalled": state["memory"]["recalled"],
        "experts": reports(topology, state, context),
        "usage": usage(signals),
        "error": error,
        "version": __version__,
        "messages": exchanged(state, text),
    }
    noted = await _kept(topology, state, context, result)
    _tell(state, result)
    return {**result, "notes": [note for note in (state["memory"]["note"], noted) if note]}


def _tell(state: BrainState, result: dict[str, Any]) -> None:
    """Tell who observes this process that the run has ended, and how."""
    told = {**result, "effort": state["effort"], "model": state["model"]}
    observers.tell(Finished(state["run_id"], settings.user(), told))


async def _kept(
    topology: Topology, state: BrainState, context: Context, result: dict[str, Any]
) -> str | None:
    """Remember the answer if it is knowledge; what went wrong, or None.

    The entries of the run's calls go last: until then a killed run can be resumed.
    """
    store = settings.store()
    if store is None:
        return None
    whose, note = settings.space(context), None
    written = [s["source"] for s in state.get("signals", []) if s["human"] == "written"]
    if context.use_memory and written:
        note = f"not remembered: a person has written what {', '.join(written)} said"
    elif context.use_memory and worth_remembering(result["provenance"]):
        note = await remember(store, whose, _episode(state, result))
        if note is None and context.consolidation_interval:
            background.later(store, whose, context, settings.user())
    if result["thread_id"] is not None:
        await reservations.forget(store, whose.calls(state["run_id"]))
    return note


def _episode(state: BrainState, result: dict[str, Any]) -> dict[str, Any]:
    """What is remembered of a run."""
    return {
        "question": state["query"],
        "answer": result["final_output"],
        "verdict": result["verdict"],
        "agreement": result["agreement"],
        "provenance": result["provenance"],
        "model": state["model"],
        "thread": result["thread_id"],
        "run_id": state["run_id"],
    }


def _answers(topology: Topology, signals: Sequence[Signal]) -> int:
    """How often synthesis has answered; a revision that failed is none."""
    name = topology.synthesis.name
    return sum(s["source"] == name and propagation.usable(s) for s in signals)


def choose(topology: Topology, signals: Sequence[Signal]) -> Signal | None:
    """The answer: synthesis's last, else the best draft, else any simulated answer there is."""
    if found := prompt.answer(topology, signals):
        return found
    if real := prompt.drafts(topology, signals):
        return best(real)
    answering = [
        signal
        for kind in ("synthesis", "proposer")
        for signal in signals
        if topology.experts[signal["source"]].kind == kind and signal["status"] == "simulated"
    ]
    return answering[0] if answering else None


def best(drafts: Sequence[Signal]) -> Signal:
    """The most salient draft among those with the most frequent verdict."""
    counts = Counter(_verdicts(drafts))
    return max(
        drafts,
        key=lambda draft: (counts[parse.normal_verdict(draft["verdict"] or "")],
                           draft["salience"]),
    )  # fmt: skip


def _verdicts(drafts: Sequence[Signal]) -> list[str]:
    return [parse.normal_verdict(draft["verdict"]) for draft in drafts if draft["verdict"]]


async def agreement(drafts: Sequence[Signal]) -> float | None:
    """Share of drafts with the most frequent verdict; for open questions their mean similarity.

    None with fewer than two drafts, or without verdicts where no embedding is installed.
    """
    if len(drafts) < 2:
        return None
    verdicts = _verdicts(drafts)
    if verdicts:
        return round(Counter(verdicts).most_common(1)[0][1] / len(drafts), 4)
    return await asyncio.to_thread(embeddings.mean_similarity, [d["content"] for d in drafts])


def dissent(drafts: Sequence[Signal], verdict: str | None, text: str) -> list[str]:
    """Verdicts of drafts that the answer did not adopt, and views that it kept as dissent."""
    if verdict is None:  # nothing to differ from
        return parse.read_dissent(text)
    adopted = parse.normal_verdict(verdict)
    others = [
        f"{draft['source']}: {draft['verdict']}"
        for draft in drafts
        if draft["verdict"] and parse.normal_verdict(draft["verdict"]) != adopted
    ]
    return [*others, *parse.read_dissent(text)]


def label(
    topology: Topology, state: BrainState, chosen: Signal | None
) -> tuple[Provenance, StopReason, str | None]:
    """Provenance, why the run stopped, and what went wrong if anything did."""
    signals = state.get("signals", [])
    failures = _failures(signals)
    error = "; ".join(failures) or None
    stop = _stop_reason(topology, state)
    if chosen is None:
        return (
            "simulated",
            "failed" if stop in ("complete", "max_steps") else stop,
            (error or _silence(run_context(state))),
        )
    if chosen["status"] == "simulated":
        return "simulated", stop if state["all_simulated"] else "failed", error
    return ("degraded" if failures or stop != "complete" else "full"), stop, error


def _failures(signals: Sequence[Signal]) -> list[str]:
    """What went wrong and for whom; the same trouble of several experts is told once."""
    whose: dict[str, list[str]] = {}
    for signal in signals:
        cut = signal["trimmed"] if signal["trimmed"] == SIGNALS_CUT else None
        if problem := signal["error"] or cut:
            whose.setdefault(problem, []).append(signal["source"])
    return [f"{', '.join(names)}: {problem}" for problem, names in whose.items()]


def _stop_reason(topology: Topology, state: BrainState) -> StopReason:
    """Which limit cut the run short, if any did; a budget's cut is named before the user's own."""
    signals, limits = state.get("signals", []), state["limits"]
    stopped = {signal["failure"] for signal in signals} & set(LIMITS)
    if any(signal["failure"] == "stopped" for signal in signals):
        return "stopped"
    if "deadline" in stopped:
        return "deadline"
    if stopped or limits["reduced"] or any(signal["lowered"] for signal in signals):
        return "budget"
    wanted = propagation.steps_needed(topology, state["effort"])
    return "max_steps" if limits["max_steps"] < wanted else "complete"


def _silence(context: Context) -> str:
    return f"no expert that answers was woken at threshold {context.threshold:g}: lower it"


def reports(topology: Topology, state: BrainState, context: Context) -> list[ExpertReport]:
    """One entry for each expert's run, and one for each that an edge reached but none woke."""
    signals = state.get("signals", [])
    order = list(topology.experts)
    ran = sorted(signals, key=lambda s: (s["step"], order.index(s["source"])))
    done: list[Any] = [
        {
            "name": s["source"],
            **{key: s[key] for key in _REPORTED},  # type: ignore[literal-required]
            "status": "skipped" if s["failure"] in PREVENTED else s["status"],
            "error": s["error"] or s["trimmed"],
        }
        for s in ran
    ]
    first, _ = propagation.steps_planned(topology, context.max_steps)
    for name, reached in propagation.considered(
        topology, signals, state["effort"], context
    ).items():
        done.append(
            {
                "name": name,
                "step": topology.levels[name] - first + 1,
                "status": "skipped",
                "model": None,
                "attempts": 0,
                "input_tokens": 0,
                "output_tokens": 0,
                "cached_tokens": 0,
                "estimated": False,
                "cached": False,
                "latency_s": 0.0,
                "woken_by": reached,
                "human": None,
                "error": None,
            }
        )
    return sorted(done, key=lambda report: report["step"])


def usage(signals: Sequence[Signal]) -> Usage:
    """The run's totals. A total is None where a model replied and its share is unknown."""
    replied = [s for s in signals if s["output_tokens"] is not None]

    def total(key: str) -> Any:
        values = [s[key] for s in replied]  # type: ignore[literal-required]
        return None if not values or None in values else sum(values)

    cost = total("cost_usd")
    return {
        "calls": sum(s["attempts"] for s in signals),
        "input_tokens": total("input_tokens"),
        "output_tokens": total("output_tokens"),
        "cached_tokens": total("cached_tokens"),
        "cost_usd": None if cost is None else round(cost, 8),
    }
