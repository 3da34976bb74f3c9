"""Figures as text, the same in the page and in the summary. An unknown figure is a dash, not 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Row = Mapping[str, Any]

NONE = "—"
METRICS = ("accuracy", "quality")


def known(value: Any) -> float | None:
    """The value as a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def interval(value: Any) -> tuple[float, float, float] | None:
    """Estimate, low, high; None where one of them is unknown."""
    if not isinstance(value, Mapping):
        return None
    found = tuple(known(value.get(name)) for name in ("estimate", "low", "high"))
    estimate, low, high = found
    return None if estimate is None or low is None or high is None else (estimate, low, high)


def share(value: float) -> str:
    return f"{value:.1%}"


def score(value: float) -> str:
    """A rubric score, 0..1."""
    return f"{value:.2f}"


def signed(value: float, digits: int) -> str:
    """A number with its sign; what rounds to nothing has none."""
    rounded = round(value, digits)
    mark = "+" if rounded > 0 else "\N{MINUS SIGN}" if rounded < 0 else ""
    return f"{mark}{abs(rounded):,.{digits}f}"


def points(value: float) -> str:
    """A difference of shares in percentage points, without the unit."""
    return signed(100 * value, 1)


def count(value: float) -> str:
    return f"{value:,.0f}"


def money(value: float) -> str:
    return f"${value:,.4f}" if value < 1 else f"${value:,.2f}"


def seconds(value: float) -> str:
    return f"{value:,.1f} s" if value < 120 else f"{value / 60:,.1f} min"


def p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def stated_p(value: float) -> str:
    """The p within a sentence: "= 0.012" or "< 0.001"."""
    return p_value(value) if value < 0.001 else f"= {value:.3f}"


def spread(value: Any, form: Callable[[float], str]) -> str | None:
    """An estimate and its interval, "72.5% (66.0% to 78.2%)"; None if unknown."""
    found = interval(value)
    if found is None:
        return None
    estimate, low, high = map(form, found)
    return f"{estimate} ({low} to {high})"


def metric_form(metric: str) -> Callable[[float], str]:
    """How the value of a metric is written."""
    return score if metric == "quality" else share


def difference_form(metric: str) -> Callable[[float], str]:
    """How a difference of a metric is written: quality as a score, else percentage points."""
    return (lambda value: signed(value, 3)) if metric == "quality" else points


def unit(metric: str) -> str:
    """What a difference of the metric counts, in words that follow the number."""
    return {
        "quality": "of a score in 0 to 1",
        "pairwise": "points (share won minus share lost)",
    }.get(metric, "points")


def rows(value: Any) -> list[Row]:
    """The objects of a list that may be missing."""
    return [row for row in value or [] if isinstance(row, Mapping)]


def obj(value: Any) -> Row:
    """An object that may be null."""
    return value if isinstance(value, Mapping) else {}


def measured(arms: list[Row]) -> list[str]:
    """The metrics that at least one arm has."""
    return [name for name in METRICS if any(interval(arm.get(name)) for arm in arms)]


def why_unmeasured(metric: str, arm: Row, judge: Any) -> str:
    """Why an arm has no value of a metric."""
    if not arm.get("answered"):
        return "simulated, not scored" if arm.get("simulated") else "nothing answered"
    if metric == "quality":
        return "not judged" if judge else "ungraded: no judge"
    return "no answer could be scored"
