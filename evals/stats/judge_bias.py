"""Diagnose a judge: does the verdict follow order or length?

Each pair of answers a, b is shown twice, once in each order. A fair judge of equal answers errs to
both sides equally. One that prefers a place or the longer answer is exposed here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from swarm_brain.evals.stats.bootstrap import Interval, share
from swarm_brain.evals.stats.comparison import mcnemar, wilson

Verdict = Literal["first", "second", "tie", "unparsed"]
Winner = Literal["a", "b", "tie", "unparsed"]

STEADY = 0.8  # the report warns below this share of verdicts that survive the swap
READABLE = 0.95  # and below this share of pairs with two readable verdicts


@dataclass(frozen=True)
class JudgedPair:
    """The verdicts on one pair in both orders, and the lengths of both answers."""

    order_ab: Verdict
    order_ba: Verdict
    length_a: float
    length_b: float


@dataclass(frozen=True)
class Preference:
    """The share of decided cases that a side won, its interval, and p against 1/2."""

    wins: int
    cases: int
    share: Interval
    p: float


@dataclass(frozen=True)
class JudgeBias:
    """Biases of a judge, from verdicts in both orders; None where unmeasured.

    `winners` counts the pairs by `decide`. `consistent` is the share of readable pairs whose
    verdict did not change with the order. `first` concerns single verdicts, `longer` pairs won in
    both orders. `length_correlation` is Spearman's between verdict and length_a - length_b.
    """

    pairs: int
    winners: dict[Winner, int]
    consistent: Interval | None
    first: Preference | None
    longer: Preference | None
    length_correlation: float | None
    length_p: float | None
    warnings: list[str]


def decide(order_ab: Verdict, order_ba: Verdict) -> Winner:
    """Return the winner of a pair; winning needs both orders."""
    if "unparsed" in (order_ab, order_ba):
        return "unparsed"
    if (order_ab, order_ba) == ("first", "second"):
        return "a"
    if (order_ab, order_ba) == ("second", "first"):
        return "b"
    return "tie"


def judge_bias(rows: Sequence[JudgedPair], alpha: float = 0.01) -> JudgeBias:
    """Return position and length diagnostics, with warnings if p <= `alpha`."""
    share("alpha", alpha)
    _check(rows)
    readable = [row for row in rows if decide(row.order_ab, row.order_ba) != "unparsed"]
    counts = Counter(decide(row.order_ab, row.order_ba) for row in rows)
    winners: dict[Winner, int] = {name: counts[name] for name in ("a", "b", "tie", "unparsed")}
    steady = sum(
        abs(_favour(row)) == 2 or row.order_ab == row.order_ba == "tie" for row in readable
    )
    consistent = wilson(steady, len(readable)) if readable else None
    first, longer = _first(readable), _longer(readable)
    correlation, p = _length_correlation(readable)
    warnings = [
        *_reading_warnings(len(rows), len(readable)),
        *_position_warnings(consistent, first, alpha),
        *_length_warnings(longer, correlation, p, alpha),
    ]
    return JudgeBias(len(rows), winners, consistent, first, longer, correlation, p, warnings)


def _favour(row: JudgedPair) -> int:
    """Return verdicts for a minus verdicts for b, -2..2."""
    votes = {"first": 1, "second": -1}
    return votes.get(row.order_ab, 0) - votes.get(row.order_ba, 0)


def _first(rows: Sequence[JudgedPair]) -> Preference | None:
    """Return how often the answer shown first won, over decided verdicts.

    The p is a sign test over pairs (more verdicts for the first place than for the second, or
    fewer): a pair's two verdicts depend on each other, so they are not two trials. The interval
    counts them as two, so it is too wide for a judge without a bias.
    """
    verdicts = Counter(verdict for row in rows for verdict in (row.order_ab, row.order_ba))
    wins, cases = verdicts["first"], verdicts["first"] + verdicts["second"]
    if not cases:
        return None
    votes = {"first": 1, "second": -1}
    leans = [votes.get(row.order_ab, 0) + votes.get(row.order_ba, 0) for row in rows]
    test = mcnemar(sum(lean > 0 for lean in leans), sum(lean < 0 for lean in leans))
    return Preference(wins, cases, wilson(wins, cases), test.p)


def _longer(rows: Sequence[JudgedPair]) -> Preference | None:
    """Return how often the longer answer won, over decided pairs of unequal length."""
    won = [(_favour(row), row.length_a - row.length_b) for row in rows if abs(_favour(row)) == 2]
    sides = [favour * (1 if gap > 0 else -1) for favour, gap in won if gap]
    if not sides:
        return None
    wins = sum(side > 0 for side in sides)
    test = mcnemar(wins, len(sides) - wins)
    return Preference(wins, len(sides), wilson(wins, len(sides)), test.p)


def _length_correlation(rows: Sequence[JudgedPair]) -> tuple[float | None, float | None]:
    """Return Spearman's correlation of favour and length difference, with p."""
    favours = np.array([_favour(row) for row in rows], dtype=np.float64)
    gaps = np.array([row.length_a - row.length_b for row in rows], dtype=np.float64)
    if len(rows) < 4 or np.ptp(favours) == 0 or np.ptp(gaps) == 0:
        return None, None
    test = stats.spearmanr(favours, gaps)
    return float(test.statistic), float(test.pvalue)


def _reading_warnings(pairs: int, readable: int) -> list[str]:
    if readable >= READABLE * pairs:
        return []
    return [f"The judge's verdict could not be read in {pairs - readable} of {pairs} pairs."]


def _position_warnings(
    consistent: Interval | None, first: Preference | None, alpha: float
) -> list[str]:
    warnings = []
    if first is not None and first.p <= alpha:
        place = "first" if first.share.estimate > 0.5 else "second"
        wins = first.wins if place == "first" else first.cases - first.wins
        warnings.append(
            f"The judge prefers the answer shown {place}: it won {wins} of {first.cases}"
            f" decided verdicts (p = {first.p:.2g})."
        )
    if consistent is not None and consistent.high < STEADY:
        warnings.append(
            f"Only {consistent.estimate:.0%} of the verdicts stayed the same when the answers"
            " were swapped."
        )
    return warnings


def _length_warnings(
    longer: Preference | None, correlation: float | None, p: float | None, alpha: float
) -> list[str]:
    by_wins = longer is not None and longer.p <= alpha
    by_rank = correlation is not None and p is not None and p <= alpha
    if not (by_wins or by_rank):
        return []
    evidence, leans = [], 0.0
    if longer is not None:
        evidence.append(f"the longer answer won {longer.wins} of {longer.cases}")
        leans = longer.share.estimate - 0.5
    if correlation is not None:
        evidence.append(f"rank correlation with length {correlation:+.2f}")
        leans = correlation if by_rank else leans
    return [
        f"The judge prefers {'longer' if leans > 0 else 'shorter'} answers"
        f" ({', '.join(evidence)}): unless the lengths are alike, a win may be a win of length."
    ]


def _check(rows: Sequence[JudgedPair]) -> None:
    for number, row in enumerate(rows):
        unknown = {row.order_ab, row.order_ba} - {"first", "second", "tie", "unparsed"}
        if unknown:
            raise ValueError(f"pair {number}: unknown verdict {sorted(unknown)[0]!r}")
        if not all(math.isfinite(size) and size >= 0 for size in (row.length_a, row.length_b)):
            raise ValueError(f"pair {number}: lengths {row.length_a} and {row.length_b}")
