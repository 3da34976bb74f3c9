"""Report a saved run: its live events, derived from its last state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swarm_brain.graph import propagation
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import BrainError, ExpertFailed, ThreadError
from swarm_brain.graph.events import Answered, Begun, Event, Failed
from swarm_brain.graph.loading import load
from swarm_brain.graph.signal import Limits, Signal, Trace
from swarm_brain.graph.state import BrainState
from swarm_brain.graph.topology import Topology
from swarm_brain.nodes import emit
from swarm_brain.nodes.signal import PREVENTED
from swarm_brain.nodes.turn import run_context
from swarm_brain.runs.failures import failed
from swarm_brain.runs.live import finished, paused
from swarm_brain.spending.ledger import Amount
from swarm_brain.threads import history
from swarm_brain.threads.checkpoints import SavedState

_Timed = tuple[float, Event]


def replay(saved: SavedState, thread: str | None = None) -> list[Event]:
    """Return the events of a saved run in their original order.

    `thread` is the thread's public id. Tokens are not saved: `answered` has the whole text. A run
    that was killed ends without `paused`, `finished` or `error`. Raises ThreadError if the run has
    another version's format.
    """
    with history.of_this_version(saved):
        return _replay(saved, thread)


def _replay(saved: SavedState, thread: str | None) -> list[Event]:
    state, signals = saved.values, list(saved.signals)
    try:
        topology, context = _topology_of(state), run_context(state)
    except ThreadError:  # another version's settings: what became of the edges is not known
        topology, context = None, _settings(state)
    # What an unfinished step has done does not count: its other experts may still be decided on.
    failure = _failed(state.get("signals", []), context)
    events: list[Event] = [
        {"event": "started", "thread": thread, "run": state["run_id"]},
        _begun(topology, context, state, signals),
    ]
    steps = sorted({signal["step"] for signal in signals})
    for step in steps:
        events += _step(topology, context, state, signals, step)
        # A strict run fails before it reports what its last step put into the workspace.
        last = step == steps[-1]
        broadcast = emit.broadcast_of(state, context, step)
        if broadcast and not (last and failure):
            events.append(broadcast)
    if not saved.next:
        answers = [event for event in events if event["event"] == "answered"]
        events.append(finished(state, answers, thread))
    elif failure:
        events.append(failure)
    elif saved.pauses:
        events.append(paused(saved.pauses))
    return events


def _topology_of(state: BrainState) -> Topology | None:
    """Return the run's topology; None if it is gone or has changed."""
    try:
        topology = load(state["topology"]["name"])
    except BrainError:
        return None
    return topology if topology.hash == state["topology"]["hash"] else None


def _begun(
    topology: Topology | None, context: Context, state: BrainState, signals: Sequence[Signal]
) -> Begun:
    effort, max_steps = state["effort"], state["limits"]["max_steps"]
    recalled = state["memory"]["recalled"]
    return {
        "event": "begun",
        "effort": effort,
        "max_steps": max_steps,
        "model": state["model"],
        "woken": (
            propagation.entries(topology, effort, max_steps, recalled=bool(recalled))
            if topology
            else [signal["source"] for signal in signals if signal["step"] == 1]
        ),
        "recalled": recalled,
        "limits": emit.limits_of(context),
    }


def _settings(state: BrainState) -> Context:
    """Return the run's settings, even if its version had other fields."""
    return Context.model_construct(None, **state["settings"])


def _step(
    topology: Topology | None,
    context: Context,
    state: BrainState,
    signals: Sequence[Signal],
    step: int,
) -> Iterator[Event]:
    """Return the events of one step, ordered by the times in `trace`.

    Version 0.1.0 saved no traces. Then all experts are woken first, and end in the state's order.
    """
    timed: list[_Timed] = []
    before = sum(_amounts(s for s in signals if s["step"] < step), Amount())
    for signal in (signal for signal in signals if signal["step"] == step):
        before += Amount(signal["charged_tokens"], signal["charged_usd"])
        edges = None
        if topology:
            until = [other for other in signals if other["step"] <= step]
            edges = propagation.edges(topology, signal, until, state["effort"], context)
        answered = emit.answered(signal, edges)
        if "trace" in signal:
            timed += _traced(signal, signal["trace"], answered)
        else:
            timed += _untraced(context, signals, signal, answered, before)
    return (event for _, event in sorted(timed, key=lambda item: item[0]))


def _amounts(signals: Iterator[Signal]) -> Iterator[Amount]:
    return (Amount(signal["charged_tokens"], signal["charged_usd"]) for signal in signals)


def _traced(signal: Signal, trace: Trace, answered: Answered) -> Iterator[_Timed]:
    """Return one expert's events with their times."""
    expert, step = signal["source"], signal["step"]
    yield trace["woken_at"], emit.woken(expert, step, signal["model"], signal["woken_by"])
    for withdrawal in trace["withdrawn"]:
        yield withdrawal["at"], emit.revised(expert, step, withdrawal["reason"])
    yield trace["answered_at"], answered
    yield trace["answered_at"], emit.budget(step, trace["spent"], trace["limits"])


def _untraced(
    context: Context,
    signals: Sequence[Signal],
    signal: Signal,
    answered: Answered,
    spent: Amount,
) -> Iterator[_Timed]:
    """Return one expert's events in a run of version 0.1.0.

    `spent` is the sum of the charges so far.
    """
    expert, step = signal["source"], signal["step"]
    yield 0.0, emit.woken(expert, step, signal["model"], signal["woken_by"])
    if signal["failure"] not in PREVENTED and any(
        other["source"] == expert and other["step"] < step and propagation.usable(other)
        for other in signals
    ):
        yield 1.0, emit.revised(expert, step, emit.DEFECT_FOUND)
    yield 1.0, answered
    usd = None if spent.usd is None else round(spent.usd, 8)
    amounts: Limits = {"tokens": spent.tokens, "usd": usd, "seconds": None}
    yield 1.0, emit.budget(step, amounts, emit.limits_of(context))


def _failed(signals: Sequence[Signal], context: Context) -> Failed | None:
    """Return the event that ended a strict run: its first expert's failure."""
    if context.on_error != "raise":
        return None
    for signal in signals:
        if signal["error"] is not None and signal["failure"] not in PREVENTED:
            return failed(ExpertFailed(signal["source"], signal["error"]))
    return None
