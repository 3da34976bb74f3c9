"""The last node: pick and label the answer, measure agreement, count usage."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig

from swarm_brain import observers
from swarm_brain.graph import propagation
from swarm_brain.graph.context import Context
from swarm_brain.graph.events import Answered
from swarm_brain.graph.signal import ExpertReport, Signal
from swarm_brain.graph.state import BrainOutput, BrainState, Provenance, StopReason, Usage
from swarm_brain.graph.topology import Topology
from swarm_brain.memory import background, embeddings
from swarm_brain.memory.episodes import remember, worth_remembering
from swarm_brain.models.simulation import MARK
from swarm_brain.nodes import access, emit, parse, prompt
from swarm_brain.nodes.conversation import exchanged
from swarm_brain.nodes.expert import insist
from swarm_brain.nodes.prompt import SIGNALS_CUT
from swarm_brain.nodes.signal import LIMITS, PREVENTED, blank
from swarm_brain.nodes.turn import Turn, turn_of
from swarm_brain.observers import RunEnded
from swarm_brain.spending import reservations
from swarm_brain.spending.ledger import close_ledger
from swarm_brain.version import __version__


async def finish(topology: Topology, state: BrainState, config: RunnableConfig) -> BrainOutput:
    """Return the run's result, and remember it if it is knowledge.

    Raises ExpertFailed if the run is strict and an expert has failed, ThreadError if the run was
    started with another topology.
    """
    turn = turn_of(topology, state, config)
    close_ledger(state["run_id"])
    insist(turn)
    emit.broadcast(turn)
    result = await _result(turn)
    noted = await _remember(turn, result)
    result["notes"] = [note for note in (state["memory"]["note"], noted) if note]
    observers.report(RunEnded(state["run_id"], access.user(), result))
    return result


async def _result(turn: Turn) -> BrainOutput:
    topology, state, signals = turn.topology, turn.state, turn.signals
    chosen = choose(topology, signals)
    provenance, stop, error = label(turn, chosen)
    text, verdict = f"{MARK} No model answered: {error}.", None
    if chosen:
        text, verdict = chosen["content"], chosen["verdict"]
    drafts = [s for s in prompt.drafts(topology, signals) if s["status"] == "ok"]
    return {
        "final_output": text,
        "provenance": provenance,
        "stop_reason": stop,
        "effort": turn.effort,
        "verdict": verdict,
        "agreement": await agreement(drafts),
        "dissent": dissent(drafts, verdict, text),
        "revised": _answers(topology, signals) > 1,
        "steps": turn.last_step,
        "model": state["model"],
        "thread_id": turn.thread,
        "recalled": state["memory"]["recalled"],
        "experts": reports(turn),
        "usage": usage(signals),
        "error": error,
        "notes": [],
        "version": __version__,
        "messages": exchanged(state, text),
    }


async def _remember(turn: Turn, result: BrainOutput) -> str | None:
    """Remember the answer if it is knowledge. Return the problem, or None.

    The entries of the run's calls are deleted last, because until then a killed run is resumable.
    """
    store, context = turn.store, turn.context
    if store is None:
        return None
    space, note = turn.space, None
    written = [signal["source"] for signal in turn.signals if signal["human"] == "written"]
    if context.use_memory and written:
        note = f"not remembered: a person wrote the words of {', '.join(written)}"
    elif context.use_memory and worth_remembering(result["provenance"]):
        note = await remember(store, space, _episode(turn.state, result))
        if note is None and context.consolidation_interval:
            background.later(store, space, context, access.user())
    if turn.thread is not None:
        await reservations.clear(store, space.calls(turn.state["run_id"]))
    return note


def _episode(state: BrainState, result: BrainOutput) -> dict[str, Any]:
    """Return the episode to remember for a run."""
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
    """Return how often synthesis answered. A failed revision does not count."""
    name = topology.synthesis.name
    return sum(s["source"] == name and propagation.usable(s) for s in signals)


def choose(topology: Topology, signals: Sequence[Signal]) -> Signal | None:
    """Return the answer: synthesis's last, else the best draft, else a simulated one."""
    if answer := prompt.answer(topology, signals):
        return answer
    if drafts := prompt.drafts(topology, signals):
        return best(drafts)
    simulated = [
        signal
        for kind in ("synthesis", "proposer")
        for signal in signals
        if topology.experts[signal["source"]].kind == kind and signal["status"] == "simulated"
    ]
    return simulated[0] if simulated else None


def best(drafts: Sequence[Signal]) -> Signal:
    """Return the most salient draft of those with the most frequent verdict."""
    counts = Counter(_verdicts(drafts))
    return max(
        drafts,
        key=lambda draft: (counts[parse.normal_verdict(draft["verdict"] or "")],
                           draft["salience"]),
    )  # fmt: skip


def _verdicts(drafts: Sequence[Signal]) -> list[str]:
    return [parse.normal_verdict(draft["verdict"]) for draft in drafts if draft["verdict"]]


async def agreement(drafts: Sequence[Signal]) -> float | None:
    """Return the share of drafts with the most frequent verdict.

    For open questions, return their mean similarity. None with fewer than two drafts, or for open
    questions if no embedding is installed.
    """
    if len(drafts) < 2:
        return None
    verdicts = _verdicts(drafts)
    if verdicts:
        return round(Counter(verdicts).most_common(1)[0][1] / len(drafts), 4)
    return await asyncio.to_thread(embeddings.mean_similarity, [d["content"] for d in drafts])


def dissent(drafts: Sequence[Signal], verdict: str | None, text: str) -> list[str]:
    """Return the drafts' deviating verdicts, and the dissent stated in the answer."""
    if verdict is None:  # nothing to differ from
        return parse.read_dissent(text)
    adopted = parse.normal_verdict(verdict)
    others = [
        f"{draft['source']}: {draft['verdict']}"
        for draft in drafts
        if draft["verdict"] and parse.normal_verdict(draft["verdict"]) != adopted
    ]
    return [*others, *parse.read_dissent(text)]


def label(turn: Turn, chosen: Signal | None) -> tuple[Provenance, StopReason, str | None]:
    """Return the provenance, why the run ended, and a description of any failure."""
    failures = _failures(turn.signals)
    error = "; ".join(failures) or None
    stop = _stop_reason(turn)
    if chosen is None:
        stop = "failed" if stop in ("complete", "max_steps") else stop
        return "simulated", stop, error or _silence(turn.context)
    if chosen["status"] == "simulated":
        return "simulated", stop if turn.state["all_simulated"] else "failed", error
    return ("degraded" if failures or stop != "complete" else "full"), stop, error


def _failures(signals: Sequence[Signal]) -> list[str]:
    """Describe each failure and its experts; experts with the same problem share one."""
    experts: dict[str, list[str]] = {}
    for signal in signals:
        cut = signal["trimmed"] if signal["trimmed"] == SIGNALS_CUT else None
        if problem := signal["error"] or cut:
            experts.setdefault(problem, []).append(signal["source"])
    return [f"{', '.join(names)}: {problem}" for problem, names in experts.items()]


def _stop_reason(turn: Turn) -> StopReason:
    """Return the limit that ended the run early, if any; a budget before max_steps."""
    signals, limits = turn.signals, turn.state["limits"]
    stopped = {signal["failure"] for signal in signals} & set(LIMITS)
    if any(signal["failure"] == "stopped" for signal in signals):
        return "stopped"
    if "deadline" in stopped:
        return "deadline"
    if stopped or limits["reduced"] or any(signal["lowered"] for signal in signals):
        return "budget"
    needed = propagation.steps_needed(turn.topology, turn.effort)
    return "max_steps" if limits["max_steps"] < needed else "complete"


def _silence(context: Context) -> str:
    return f"threshold {context.threshold:g} is too high: no expert that answers was woken"


def reports(turn: Turn) -> list[ExpertReport]:
    """Return an entry for each expert that ran or was reached but not woken."""
    topology, signals = turn.topology, turn.signals
    order = list(topology.experts)
    ran = sorted(signals, key=lambda s: (s["step"], order.index(s["source"])))
    done = [report(signal) for signal in ran]
    first, _ = propagation.steps_planned(topology, turn.context.max_steps)
    for name, reached in propagation.considered(
        topology, signals, turn.effort, turn.context
    ).items():
        skipped = report(blank(name, topology.levels[name] - first + 1))
        done.append(skipped | {"status": "skipped", "model": None, "woken_by": reached})
    return sorted(done, key=lambda report: report["step"])


def report(signal: Signal) -> ExpertReport:
    """Return the result's entry for one expert's run."""
    copied = {key: signal.get(key) for key in ExpertReport.__annotations__}
    different = {
        "name": signal["source"],
        "status": "skipped" if signal["failure"] in PREVENTED else signal["status"],
        "error": signal["error"] or signal["trimmed"],
    }
    return cast(ExpertReport, copied | different)


def usage(signals: Sequence[Signal] | Sequence[Answered]) -> Usage:
    """Return the run's totals. A total is None if one of its parts is unknown."""
    replied = [s for s in signals if s["output_tokens"] is not None]

    def total(key: str) -> Any:
        values = [s[key] for s in replied]  # type: ignore[literal-required]  # keys of both
        return None if not values or None in values else sum(values)

    cost = total("cost_usd")
    return {
        "calls": sum(s["attempts"] for s in signals),
        "input_tokens": total("input_tokens"),
        "output_tokens": total("output_tokens"),
        "cached_tokens": total("cached_tokens"),
        "cost_usd": None if cost is None else round(cost, 8),
    }
