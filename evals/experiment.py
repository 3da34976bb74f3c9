"""One experiment from its questions to its report: run the arms, judge, analyse, write."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from swarm_brain.evals import report
from swarm_brain.evals.arms.model import Model, bound
from swarm_brain.evals.arms.registry import ALLOCATED, MINUS, NAMES, PLACEBO, named
from swarm_brain.evals.arms.response import Setup
from swarm_brain.evals.cases.examples import Example, content_hash
from swarm_brain.evals.judge import compare as judge_pair
from swarm_brain.evals.judge import grade, judge_of, judges_itself
from swarm_brain.evals.report.analysis import LEAST_PAIRS, SWARM, analysed
from swarm_brain.evals.results import Experiment, Judged
from swarm_brain.evals.runner import Key, Plan, Records, mean_tokens, open_records, run_arm
from swarm_brain.evals.stats.judge_bias import JudgedPair, judge_bias
from swarm_brain.evals.tracing import Place, kept_home, place_of, tell
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ConfigError, ModelError
from swarm_brain.graph.topology import Topology
from swarm_brain.progress import prepare_run
from swarm_brain.version import __version__

ANSWERS, JUDGED = "answers.jsonl", "judged.jsonl"


@dataclass(frozen=True)
class Wanted:
    """What the user asked for."""

    name: str
    examples: Sequence[Example]
    arms: Sequence[str]
    context: Context
    topology: Topology
    output: Path
    budget_tokens: int | None = None
    repetitions: int = 1
    concurrency: int = 4
    resume: bool = False
    judge: str | None = None
    judge_base_url: str | None = None
    self_judge: bool = False
    command: str = ""


async def experiment(wanted: Wanted, err: Console) -> dict[str, Any]:
    """Run all arms, judge, analyse, write the report; the report's data. Raises BrainError."""
    place = place_of()
    with kept_home(place):
        return await _experiment(wanted, place, err)


async def _experiment(wanted: Wanted, place: Place, err: Console) -> dict[str, Any]:
    _check(wanted)
    context = await asyncio.to_thread(prepare_run, wanted.context, wanted.topology, err)
    wanted = replace(wanted, context=context)
    await bound(context)  # a model that cannot be had leaves no file behind
    judge = await _judge(wanted)
    records = open_records(wanted.output / ANSWERS, _head(wanted), resume=wanted.resume)
    plan = Plan(wanted.name, place, wanted.repetitions, wanted.concurrency, _metadata(wanted))
    setup = Setup(context, wanted.topology, wanted.budget_tokens, wanted.budget_tokens)
    # The swarm first: without --budget-tokens its spending is the others' allocation.
    for arm in sorted(wanted.arms, key=lambda name: (name != SWARM, wanted.arms.index(name))):
        await run_arm(arm, setup, wanted.examples, records, plan, err)
        if arm == SWARM:
            setup = _after_swarm(wanted, setup, records)
    found = Experiment(
        wanted.examples,
        {arm: records.of(arm) for arm in wanted.arms},
        setup.allocation,
        await _judged(wanted, records, judge) if judge else Judged(),
        context.seed or 0,
    )
    itself = judge is not None and await judges_itself(judge, context)
    data = _data(wanted, found, self_judged=itself)
    report.render(data, wanted.output / "report.html")
    (wanted.output / "summary.md").write_text(report.summary(data), encoding="utf-8")
    return data


def _check(wanted: Wanted) -> None:
    """Refuse, before anything is paid for, arms that cannot be run. Raises ConfigError."""
    if not wanted.arms:
        raise ConfigError(f"--arms names no arm; there are {', '.join(NAMES)} and {MINUS}EXPERT.")
    for arm in wanted.arms:
        named(arm, wanted.topology)
        if wanted.arms.count(arm) > 1:
            raise ConfigError(f"the arm {arm} is named twice")
    if SWARM not in wanted.arms and PLACEBO in wanted.arms:
        raise ConfigError(f"{PLACEBO} takes its drafts from the arm {SWARM}: run both")
    if PLACEBO in wanted.arms and len(wanted.examples) < LEAST_PAIRS:
        raise ConfigError(f"{PLACEBO} takes another question's drafts: ask two questions at least")
    needy = [arm for arm in wanted.arms if arm in ALLOCATED]
    if needy and SWARM not in wanted.arms and wanted.budget_tokens is None:
        raise ConfigError(f"{needy[0]} needs an allocation: --budget-tokens N, or the arm {SWARM}")


def _after_swarm(wanted: Wanted, setup: Setup, records: Records) -> Setup:
    """The allocation, if it was not given, and the drafts for the placebo."""
    told = records.of(SWARM)
    if wanted.arms == [SWARM]:
        return setup  # nobody else needs an allocation
    first = {record["id"]: record["trace"] for record in told if record["repetition"] == 0}
    # In the dataset's order: that in which answers came changes from run to run.
    drafts = {one.id: first[one.id] for one in wanted.examples if one.id in first}
    allocation = setup.allocation or mean_tokens(told)
    return replace(setup, allocation=allocation, drafts=drafts)


async def _judge(wanted: Wanted) -> Model | None:
    if wanted.judge is None:
        return None
    return await judge_of(
        wanted.judge, wanted.judge_base_url, wanted.context, itself=wanted.self_judge
    )


def _head(wanted: Wanted) -> dict[str, Any]:
    """What answers in one file have in common."""
    return {
        "dataset": content_hash(wanted.examples),
        "settings": wanted.context.model_dump(mode="json"),
        "topology": wanted.topology.hash,
        "budget_tokens": wanted.budget_tokens,
    }


def _metadata(wanted: Wanted) -> dict[str, Any]:
    """What LangSmith keeps with an experiment."""
    return {
        "commit": commit(),
        "topology": wanted.topology.hash,
        "version": __version__,
        **wanted.context.model_dump(mode="json"),
    }


async def _judged(wanted: Wanted, records: Records, judge: Model) -> Judged:
    """What the judge says of open answers; kept like answers, so that none is judged twice."""
    head = {**_head(wanted), "judge": judge.binding.spec}
    path = wanted.output / JUDGED
    kept = open_records(path, head, resume=wanted.resume or path.exists())
    places = asyncio.Semaphore(wanted.concurrency)
    by_id = {example.id: example for example in wanted.examples if example.kind == "open"}
    given = [
        record
        for arm in wanted.arms
        for record in records.of(arm)
        if record["provenance"] != "simulated" and record["id"] in by_id
    ]
    texts = {
        (record["arm"], record["id"], record["repetition"]): record["text"] for record in given
    }
    for key in [
        key for key, said in kept.by_key.items() if said.get("of") != _texts_of(key, texts)
    ]:
        del kept.by_key[key]  # about answers that stand there no longer
    ours = {record["id"]: record for record in given if _first(record, SWARM)}

    async def rubric(record: dict[str, Any]) -> None:
        key = (f"rubric/{record['arm']}", record["id"], record["repetition"])
        if key not in kept.by_key and by_id[record["id"]].rubric:
            async with places:
                kept.add(_kept(key, texts, await _grading(judge, by_id[record["id"]], record)))

    async def pair(record: dict[str, Any]) -> None:
        key = (f"pair/{record['arm']}", record["id"], 0)
        if key not in kept.by_key:
            mine = ours[record["id"]]
            async with places:
                found = await _pairing(judge, by_id[record["id"]], mine, record)
                kept.add(_kept(key, texts, found))

    others = [r for r in given if r["arm"] != SWARM and r["repetition"] == 0 and r["id"] in ours]
    await asyncio.gather(*map(rubric, given), *map(pair, others))
    judged = _read(kept)
    _tell(given, judged)
    return judged


def _tell(given: Sequence[Mapping[str, Any]], judged: Judged) -> None:
    """LangSmith's runs get their rubric's score, where there are such runs."""
    scores = {
        record["run"]: score
        for record in given
        if record.get("run")
        and (score := judged.quality(record["arm"], record["id"], record["repetition"])) is not None
    }
    tell(place_of(), "rubric", scores)


def _first(record: Mapping[str, Any], arm: str) -> bool:
    return bool(record["arm"] == arm and record["repetition"] == 0)


def _kept(key: Key, texts: Mapping[Key, str], said: dict[str, Any]) -> dict[str, Any]:
    arm, example, repetition = key
    about = _texts_of(key, texts)
    return {"arm": arm, "id": example, "repetition": repetition, "of": about,
            "provenance": "full", **said}  # fmt: skip


def _texts_of(key: Key, texts: Mapping[Key, str]) -> str:
    """A digest of the answers that a judgement is about."""
    kind, _, arm = key[0].partition("/")
    arms = (SWARM, arm) if kind == "pair" else (arm,)
    judged = [texts.get((name, *key[1:])) for name in arms]
    return hashlib.sha256(json.dumps(judged).encode()).hexdigest()[:16]


async def _grading(judge: Model, example: Example, record: Mapping[str, Any]) -> dict[str, Any]:
    """The points met; unknown, and to be asked for again, if the judge could not be asked."""
    try:
        return {"met": await grade(judge, example, record["text"])}
    except ModelError as error:
        return {"met": [None] * len(example.rubric), **_failed(error)}


async def _pairing(
    judge: Model, example: Example, one: Mapping[str, Any], other: Mapping[str, Any]
) -> dict[str, Any]:
    """Both verdicts; unparsed, and to be asked for again, if the judge could not be asked."""
    try:
        found = await judge_pair(judge, example, one["text"], other["text"])
    except ModelError as error:
        found = JudgedPair("unparsed", "unparsed", len(one["text"]), len(other["text"]))
        return {"pair": list(_fields(found)), **_failed(error)}
    return {"pair": list(_fields(found))}


def _failed(error: ModelError) -> dict[str, str]:
    return {"provenance": "simulated", "error": str(error)}


def _fields(pair: JudgedPair) -> tuple[Any, ...]:
    return pair.order_ab, pair.order_ba, pair.length_a, pair.length_b


def _read(kept: Records) -> Judged:
    judged = Judged()
    for (name, example, repetition), record in kept.by_key.items():
        kind, _, arm = name.partition("/")
        if kind == "rubric":
            judged.met[(arm, example, repetition)] = record["met"]
        else:
            judged.pairs[(arm, example)] = JudgedPair(*record["pair"])
    return judged


def _data(wanted: Wanted, found: Experiment, *, self_judged: bool) -> dict[str, Any]:
    """The report's data: what was asked, under what settings, and what came of it."""
    data = analysed(found)
    if self_judged and not data["judging"]:
        data["judging"] = asdict(judge_bias([]))  # only rubrics were judged
    if data["judging"]:
        data["judging"]["self_judged"] = self_judged
    return {
        "title": f"{wanted.name}: {', '.join(wanted.arms)}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": wanted.command,
        "commit": commit(),
        "version": __version__,
        "dataset": {
            "name": wanted.name,
            "hash": content_hash(wanted.examples),
            "size": len(wanted.examples),
        },
        "model": wanted.context.model,
        "judge": wanted.judge,
        "settings": wanted.context.model_dump(mode="json", exclude_defaults=True),
        "topology": {"name": wanted.topology.name, "hash": wanted.topology.hash},
        "allocated_tokens": found.allocation,
        "repetitions": wanted.repetitions,
        "seed": wanted.context.seed,
        **data,
    }


def commit() -> str | None:
    """The commit of this checkout, marked if there are changes; None outside of one."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
