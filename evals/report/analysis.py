"""Compute a report's data. Pure, apart from seeded resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Literal

from swarm_brain.evals.arms.registry import MINUS, REFERENCE, SWARM
from swarm_brain.evals.record_file import AnswerRecord, answered, tokens_of
from swarm_brain.evals.report.data import (
    Analysis,
    ArmRow,
    ComparisonRow,
    Estimate,
    Metric,
    ReturnRow,
)
from swarm_brain.evals.report.strata import groups, levels, question
from swarm_brain.evals.results import Results
from swarm_brain.evals.stats.bootstrap import Interval, paired_bootstrap
from swarm_brain.evals.stats.calibration import abstention, expected_calibration_error, reliability
from swarm_brain.evals.stats.comparison import holm, mcnemar_clustered, wilson_clustered
from swarm_brain.evals.stats.judge_bias import decide, judge_bias
from swarm_brain.evals.stats.power import needed_sample_size, needed_sample_size_graded
from swarm_brain.evals.stats.return_on_tokens import return_on_tokens, why_invalid

LEAST_PAIRS = 2  # with fewer there is nothing to compare


def analyse(results: Results) -> Analysis:
    """Return all computed parts of a report."""
    pairs = list(results.judgements.pairs.values())
    return {
        "arms": [arm_row(results, name) for name in results.arms],
        "comparisons": comparisons(results),
        "levels": levels(results),
        "groups": groups(results),
        "returns": returns(results),
        "calibration": calibration(results),
        "judging": asdict(judge_bias(pairs)) if pairs else None,
        "questions": [question(results, example) for example in results.examples],
    }


def spent_ratio(results: Results, arm: str) -> float | None:
    """Return tokens spent over tokens allocated, for all answers that a model gave."""
    real = [record for record in results.arms[arm] if answered(record)]
    if not real or results.allocation is None:
        return None
    return sum(map(tokens_of, real)) / (results.allocation * len(real))


def arm_row(results: Results, name: str) -> ArmRow:
    """Return one arm's counts and figures."""
    records = results.arms[name]
    real = [record for record in records if answered(record)]
    needing_key = {example.id for example in results.examples if example.answer is not None}
    cost = [record["cost_usd"] for record in real]
    return {
        "name": name,
        "reference": name == REFERENCE,
        "questions": len(records),
        "answered": len(real),
        "simulated": len(records) - len(real),
        "unextracted": sum(r["correct"] is None and r["id"] in needing_key for r in real),
        "errors": sum(record["error"] is not None for record in records),
        "accuracy": _accuracy(real),
        "quality": _quality(results, real),
        "input_tokens": _total(real, "input_tokens"),
        "output_tokens": _total(real, "output_tokens"),
        "tokens_per_question": fmean(map(tokens_of, real)) if real else None,
        "spent_ratio": None if name == REFERENCE else spent_ratio(results, name),
        "cost_usd": sum(filter(None, cost)) if cost and None not in cost else None,
        "duration_s": round(sum(record["duration_s"] for record in records), 3),
        "calls": sum(record["calls"] for record in records),
    }


def _total(
    records: Sequence[AnswerRecord], key: Literal["input_tokens", "output_tokens"]
) -> int | None:
    values = [record[key] for record in records]
    return sum(filter(None, values)) if values and None not in values else None


def _accuracy(records: Sequence[AnswerRecord]) -> Estimate | None:
    """Return the share of right answers; for its interval a question is one trial."""
    keyed = [record for record in records if record["correct"] is not None]
    if not keyed:
        return None
    right = [bool(record["correct"]) for record in keyed]
    return _estimate(wilson_clustered(right, [record["id"] for record in keyed]))


def _quality(results: Results, records: Sequence[AnswerRecord]) -> Estimate | None:
    """Return the mean rubric score; for its interval a question is one trial."""
    graded = [
        (record["id"], score)
        for record in records
        if (score := results.judgements.quality(record)) is not None
    ]
    if len(graded) < LEAST_PAIRS:
        return None
    ids, scores = [name for name, _ in graded], [score for _, score in graded]
    return _estimate(paired_bootstrap(scores, [0.0] * len(scores), ids))


def _estimate(interval: Interval) -> Estimate:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}


def comparisons(results: Results) -> list[ComparisonRow]:
    """Compare the swarm with every other arm, with p values corrected by Holm."""
    if SWARM not in results.arms:
        return []
    rows = [
        row
        for name in results.arms
        if name != SWARM
        for row in (
            _paired(results, name, "accuracy"),
            _paired(results, name, "quality"),
            _pairwise(results, name),
        )
        if row
    ]
    for metric in {row["metric"] for row in rows}:
        tested = [row for row in rows if row["metric"] == metric and row["second"] != REFERENCE]
        corrected = holm({row["second"]: row["p"] for row in tested if row["p"] is not None})
        for row in tested:
            row["p_holm"] = corrected.get(row["second"])
    return rows


def _paired(
    results: Results, other: str, metric: Literal["accuracy", "quality"]
) -> ComparisonRow | None:
    """Compare accuracy or rubric quality, question by question."""
    keyed = metric == "accuracy"
    pairs = [
        pair
        for pair in _pairs(results, other)
        if all((record["correct"] is not None) == keyed for record in pair)
    ]
    if len(pairs) < LEAST_PAIRS:
        return None
    ids = [one["id"] for one, _ in pairs]
    first = [results.value(one) or 0.0 for one, _ in pairs]
    second = [results.value(two) or 0.0 for _, two in pairs]
    difference = paired_bootstrap(first, second, ids, seed=results.seed)
    exact = mcnemar_clustered(first, second, ids) if keyed else None
    row = _comparison(results, other, metric)
    row["questions"] = difference.questions
    row["difference"] = _estimate(difference)
    row["p"] = exact.p if exact else difference.p
    row["mcnemar"] = asdict(exact) if exact else None
    row["needed_sample_size"] = _needed(first, second, keyed)
    return row


def _comparison(results: Results, other: str, metric: Metric) -> ComparisonRow:
    """Return a comparison without figures, and whether both arms spent equal tokens."""
    ours, theirs = spent_ratio(results, SWARM), spent_ratio(results, other)
    if other == REFERENCE:
        why: str | None = f"{other} is a reference, not run at equal tokens"
    elif ours is None or theirs is None:
        why = "there is no allocation to compare the spending with"
    else:
        why = why_invalid(ours, theirs, (SWARM, other))
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
        "valid": why is None,
        "why_invalid": why,
    }


def _pairs(results: Results, other: str) -> list[tuple[AnswerRecord, AnswerRecord]]:
    """Return the values of both arms for each question where both have one."""
    theirs = {(r["id"], r["repetition"]): r for r in results.arms[other]}
    return [
        (record, match)
        for record in results.arms[SWARM]
        if (match := theirs.get((record["id"], record["repetition"])))
        and results.value(record) is not None
        and results.value(match) is not None
    ]


def _needed(first: Sequence[float], second: Sequence[float], keyed: bool) -> int | None:
    """Return the questions that show this effect with a power of 80 %, or None."""
    differences = [one - two for one, two in zip(first, second, strict=True)]
    if keyed:
        share = 1 / len(differences)
        wins = sum(d > 0 for d in differences) * share
        losses = sum(d < 0 for d in differences) * share
        return needed_sample_size(wins, losses)
    spread = stdev(differences)
    return needed_sample_size_graded(fmean(differences), spread) if spread else None


def _pairwise(results: Results, other: str) -> ComparisonRow | None:
    """Compare by the judge's decisions; a win needs the same verdict in both orders."""
    pairs = [pair for (arm, _), pair in results.judgements.pairs.items() if arm == other]
    if not pairs:
        return None
    winners = [decide(pair.order_ab, pair.order_ba) for pair in pairs]
    row = _comparison(results, other, "pairwise")
    row["questions"] = len(pairs)
    row["wins"] = {name: winners.count(name) for name in ("a", "b", "tie", "unparsed")}
    scores = [{"a": 1.0, "b": 0.0}.get(winner, 0.5) for winner in winners if winner != "unparsed"]
    if len(scores) >= LEAST_PAIRS:
        difference = paired_bootstrap(scores, [1 - score for score in scores], seed=results.seed)
        row["difference"], row["p"] = _estimate(difference), difference.p
    return row


def returns(results: Results) -> list[ReturnRow]:
    """Return each expert's return on tokens, from the arms without it."""
    if SWARM not in results.arms:
        return []
    return [_return(results, name) for name in results.arms if name.startswith(MINUS)]


def _return(results: Results, arm: str) -> ReturnRow:
    pairs, expert = _pairs(results, arm), arm.removeprefix(MINUS)
    if len(pairs) < LEAST_PAIRS:
        return {"expert": expert, "per_1000": None, "quality": None, "tokens": None,
                "reason": "too few answers"}  # fmt: skip
    value = return_on_tokens(
        [results.value(one) or 0.0 for one, _ in pairs],
        [tokens_of(one) for one, _ in pairs],
        [results.value(two) or 0.0 for _, two in pairs],
        [tokens_of(two) for _, two in pairs],
        [one["id"] for one, _ in pairs],
        seed=results.seed,
    )
    return {
        "expert": expert,
        "per_1000": _estimate(value.per_1000) if value.per_1000 else None,
        "quality": _estimate(value.quality),
        "tokens": _estimate(value.tokens),
        "reason": value.reason,
    }


def calibration(results: Results) -> dict[str, object] | None:
    """Return accuracy by draft agreement, and whether abstaining pays.

    The figures take answers as independent, so only the first answer to each question counts.
    """
    measured = [
        (record["agreement"], record["correct"])
        for record in results.arms.get(SWARM, ())
        if record["agreement"] is not None
        and record["correct"] is not None
        and record["repetition"] == 0
    ]
    if not measured:
        return None
    agreement, right = [value for value, _ in measured], [bool(mark) for _, mark in measured]
    bins = reliability(agreement, right)
    rule = None
    if len(measured) >= LEAST_PAIRS:
        rule = abstention(agreement, right, seed=results.seed)
    return {
        "bins": [asdict(one) for one in bins],
        "ece": expected_calibration_error(bins),
        "abstention": asdict(rule) if rule else None,
        "why": None if rule else "abstaining gains no more than chance would show at any threshold",
    }
