"""From saved answers to what a report shows. Pure, but for the randomness of seeded resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

from swarm_brain.evals.arms.registry import MINUS, REFERENCE
from swarm_brain.evals.report.strata import groups, levels, question
from swarm_brain.evals.results import Experiment, tokens
from swarm_brain.evals.runner import Record
from swarm_brain.evals.stats.calibration import abstention, expected_calibration_error, reliability
from swarm_brain.evals.stats.comparison import (
    Interval,
    holm,
    mcnemar_clustered,
    paired_bootstrap,
    wilson_clustered,
)
from swarm_brain.evals.stats.judge_bias import decide, judge_bias
from swarm_brain.evals.stats.power import needed_sample_size, needed_sample_size_graded
from swarm_brain.evals.stats.return_on_tokens import return_on_tokens, valid_comparison, why_invalid

SWARM = "swarm"
LEAST_PAIRS = 2  # below that there is nothing to compare


def spent_ratio(experiment: Experiment, arm: str) -> float | None:
    """Tokens spent over tokens allocated, on all answers that a model gave."""
    given = [record for record in experiment.arms[arm] if record["provenance"] != "simulated"]
    if not given or experiment.allocation is None:
        return None
    return sum(map(tokens, given)) / (experiment.allocation * len(given))


def analysed(experiment: Experiment) -> dict[str, Any]:
    """Everything in a report that is computed, under the report's names."""
    return {
        "arms": [arm_row(experiment, name) for name in experiment.arms],
        "comparisons": comparisons(experiment),
        "levels": levels(experiment),
        "groups": groups(experiment),
        "returns": returns(experiment),
        "calibration": calibration(experiment),
        "judging": _judging(experiment),
        "questions": [question(experiment, example) for example in experiment.examples],
    }


def arm_row(experiment: Experiment, name: str) -> dict[str, Any]:
    """One arm's counts and figures."""
    records = experiment.arms[name]
    given = [record for record in records if record["provenance"] != "simulated"]
    keyed = [record for record in given if record["correct"] is not None]
    rubric = [(r["id"], value) for r in given if (value := experiment.graded(r)) is not None]
    needing_key = {example.id for example in experiment.examples if example.answer is not None}
    return {
        "name": name,
        "reference": name == REFERENCE,
        "questions": len(records),
        "answered": len(given),
        "simulated": len(records) - len(given),
        "unextracted": sum(r["correct"] is None and r["id"] in needing_key for r in given),
        "errors": sum(record["error"] is not None for record in records),
        "accuracy": _accuracy(keyed) if keyed else None,
        "quality": _mean(rubric),
        "input_tokens": _total(given, "input_tokens"),
        "output_tokens": _total(given, "output_tokens"),
        "tokens_per_question": fmean(map(tokens, given)) if given else None,
        "spent_ratio": None if name == REFERENCE else spent_ratio(experiment, name),
        "cost_usd": _total(given, "cost_usd"),
        "duration_s": round(sum(record["duration_s"] for record in records), 3),
        "calls": sum(record["calls"] for record in records),
    }


def _total(records: Sequence[Record], key: str) -> Any:
    values = [record[key] for record in records]
    return None if not values or None in values else sum(values)


def _accuracy(records: Sequence[Record]) -> dict[str, float]:
    """The share of right answers, with an interval in which repetitions belong together."""
    right = [bool(record["correct"]) for record in records]
    return _interval(wilson_clustered(right, [record["id"] for record in records]))


def _mean(graded: Sequence[tuple[str, float]]) -> dict[str, float] | None:
    """A mean with the interval of its difference from nothing; grades by question."""
    if len(graded) < LEAST_PAIRS:
        return None
    ids, values = [name for name, _ in graded], [value for _, value in graded]
    return _interval(paired_bootstrap(values, [0.0] * len(values), ids))


def _interval(found: Interval) -> dict[str, float]:
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def comparisons(experiment: Experiment) -> list[dict[str, Any]]:
    """The swarm against every other arm, with p values corrected over the arms (Holm)."""
    others = [name for name in experiment.arms if name != SWARM]
    if SWARM not in experiment.arms:
        return []
    rows = [
        row
        for name in others
        for row in (
            _paired(experiment, name, "accuracy"),
            _paired(experiment, name, "quality"),
            _judged(experiment, name),
        )
        if row
    ]
    for metric in {row["metric"] for row in rows}:
        tested = [
            row
            for row in rows
            if row["metric"] == metric and row["p"] is not None and row["second"] != REFERENCE
        ]
        corrected = holm({row["second"]: row["p"] for row in tested})
        for row in tested:
            row["p_holm"] = corrected[row["second"]]
    return rows


def _paired(experiment: Experiment, other: str, metric: str) -> dict[str, Any] | None:
    """The difference in accuracy or rubric quality, question by question."""
    keyed = metric == "accuracy"
    pairs = [
        pair
        for pair in _pairs(experiment, other)
        if all((record["correct"] is not None) == keyed for record in pair)
    ]
    if len(pairs) < LEAST_PAIRS:
        return None
    ids = [one["id"] for one, _ in pairs]
    first = [experiment.value(one) or 0.0 for one, _ in pairs]
    second = [experiment.value(two) or 0.0 for _, two in pairs]
    difference = paired_bootstrap(first, second, ids, seed=experiment.seed)
    exact = mcnemar_clustered(first, second, ids) if keyed else None
    return _row(experiment, other, metric) | {
        "questions": difference.questions,
        "difference": _interval(difference),
        "p": exact.p if exact else difference.p,
        "mcnemar": asdict(exact) if exact else None,
        "needed_sample_size": _needed(first, second, keyed),
    }


def _row(experiment: Experiment, other: str, metric: str) -> dict[str, Any]:
    """A comparison without its figures; whether equal tokens make it one."""
    reference = other == REFERENCE
    ours, theirs = spent_ratio(experiment, SWARM), spent_ratio(experiment, other)
    if reference:
        why: str | None = f"{other} is a reference, not given the same tokens"
    elif ours is None or theirs is None:
        why = "there is no allocation to compare the spending with"
    else:
        why = why_invalid(ours, theirs, (SWARM, other))
    known = ours is not None and theirs is not None
    valid = not reference and known and valid_comparison(ours or 0, theirs or 0)
    return {
        "first": SWARM,
        "second": other,
        "metric": metric,
        "questions": 0,
        "difference": None,
        "p": None,
        "p_holm": None,
        "mcnemar": None,
        "wins": None,
        "needed_sample_size": None,
        "valid": valid,
        "why_invalid": why,
    }


def _pairs(experiment: Experiment, other: str) -> list[tuple[Record, Record]]:
    """Answers of both arms to the same question that both can be valued."""
    theirs = {(r["id"], r["repetition"]): r for r in experiment.arms[other]}
    return [
        (record, match)
        for record in experiment.arms[SWARM]
        if (match := theirs.get((record["id"], record["repetition"])))
        and experiment.value(record) is not None
        and experiment.value(match) is not None
    ]


def _needed(first: Sequence[float], second: Sequence[float], keyed: bool) -> int | None:
    """Questions that would show the effect seen with a power of 80 %; None without an effect."""
    differences = [one - two for one, two in zip(first, second, strict=True)]
    if keyed:
        share = 1 / len(differences)
        wins = sum(d > 0 for d in differences) * share
        losses = sum(d < 0 for d in differences) * share
        return needed_sample_size(wins, losses)
    spread = stdev(differences)
    return needed_sample_size_graded(fmean(differences), spread) if spread else None


def _judged(experiment: Experiment, other: str) -> dict[str, Any] | None:
    """Wins and losses by the judge's word, where both orders agree."""
    pairs = [pair for (arm, _), pair in experiment.judged.pairs.items() if arm == other]
    if not pairs:
        return None
    winners = [decide(pair.order_ab, pair.order_ba) for pair in pairs]
    wins = {name: winners.count(name) for name in ("a", "b", "tie", "unparsed")}
    scores = [{"a": 1.0, "b": 0.0}.get(winner, 0.5) for winner in winners if winner != "unparsed"]
    if len(scores) < LEAST_PAIRS:
        return _row(experiment, other, "pairwise") | {"questions": len(pairs), "wins": wins}
    found = paired_bootstrap(scores, [1 - score for score in scores], seed=experiment.seed)
    return _row(experiment, other, "pairwise") | {
        "questions": len(pairs),
        "wins": wins,
        "difference": _interval(found),
        "p": found.p,
    }


def returns(experiment: Experiment) -> list[dict[str, Any]]:
    """What each expert adds for its tokens, from the arms without it."""
    rows = []
    for name in experiment.arms:
        if name.startswith(MINUS) and SWARM in experiment.arms:
            pairs = _pairs(experiment, name)
            expert = name.removeprefix(MINUS)
            rows.append({"expert": expert, **_return(experiment, pairs)})
    return rows


def _return(experiment: Experiment, pairs: Sequence[tuple[Record, Record]]) -> dict[str, Any]:
    if len(pairs) < LEAST_PAIRS:
        return {"per_1000": None, "quality": None, "tokens": None, "reason": "too few answers"}
    found = return_on_tokens(
        [experiment.value(one) or 0.0 for one, _ in pairs],
        [tokens(one) for one, _ in pairs],
        [experiment.value(two) or 0.0 for _, two in pairs],
        [tokens(two) for _, two in pairs],
        [one["id"] for one, _ in pairs],
        seed=experiment.seed,
    )
    return {
        "per_1000": _interval(found.per_1000) if found.per_1000 else None,
        "quality": _interval(found.quality),
        "tokens": _interval(found.tokens),
        "reason": found.reason,
    }


def calibration(experiment: Experiment) -> dict[str, Any] | None:
    """Accuracy by the agreement of the swarm's drafts, and whether abstaining below some pays.

    Its figures take answers as independent: only the first one to each question counts.
    """
    told = [
        record
        for record in experiment.arms.get(SWARM, ())
        if record["agreement"] is not None
        and record["correct"] is not None
        and record["repetition"] == 0
    ]
    if not told:
        return None
    agreed = [record["agreement"] for record in told]
    right = [bool(record["correct"]) for record in told]
    bins = reliability(agreed, right)
    rule = abstention(agreed, right, seed=experiment.seed) if len(told) >= LEAST_PAIRS else None
    why = None if rule else "at no threshold does abstaining gain more than chance would show"
    return {
        "bins": [asdict(one) for one in bins],
        "ece": expected_calibration_error(bins),
        "abstention": asdict(rule) if rule else None,
        "why": why,
    }


def _judging(experiment: Experiment) -> dict[str, Any] | None:
    pairs = list(experiment.judged.pairs.values())
    return asdict(judge_bias(pairs)) if pairs else None
