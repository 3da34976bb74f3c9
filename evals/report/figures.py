"""Format figures for the page and the summary; an unknown one is a dash, not 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

JsonObject = Mapping[str, object]

NONE = "—"
METRICS = ("accuracy", "quality")


def known(value: object) -> float | None:
    """Return the value as a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def interval(value: object) -> tuple[float, float, float] | None:
    """Return estimate, low and high; None where one of them is unknown."""
    if not isinstance(value, Mapping):
        return None
    estimate, low, high = (known(value.get(name)) for name in ("estimate", "low", "high"))
    return None if estimate is None or low is None or high is None else (estimate, low, high)


def share(value: float) -> str:
    return f"{value:.1%}"


def score(value: float) -> str:
    """Write a rubric score, 0..1."""
    return f"{value:.2f}"


def signed(value: float, digits: int) -> str:
    """Format a number with its sign, or without one if it rounds to 0."""
    rounded = round(value, digits)
    mark = "+" if rounded > 0 else "\N{MINUS SIGN}" if rounded < 0 else ""
    return f"{mark}{abs(rounded):,.{digits}f}"


def points(value: float) -> str:
    """Write a difference of shares in percentage points, without the unit."""
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
    """Write a p within a sentence: "= 0.012" or "< 0.001"."""
    return p_value(value) if value < 0.001 else f"= {value:.3f}"


def spread(value: object, form: Callable[[float], str]) -> str | None:
    """Write an estimate and its interval, "72.5% (66.0% to 78.2%)"; None if unknown."""
    numbers = interval(value)
    if numbers is None:
        return None
    estimate, low, high = map(form, numbers)
    return f"{estimate} ({low} to {high})"


def written(value: object, form: Callable[[float], str]) -> str:
    """Write a figure; a dash if it is unknown."""
    number = known(value)
    return NONE if number is None else form(number)


def metric_form(metric: str) -> Callable[[float], str]:
    """Return the function that formats a metric's values."""
    return score if metric == "quality" else share


def difference_form(metric: str) -> Callable[[float], str]:
    """Return the function that formats differences of a metric."""
    return (lambda value: signed(value, 3)) if metric == "quality" else points


def unit(metric: str) -> str:
    """Return the unit of a metric's difference, as words that follow the number."""
    return {
        "quality": "on a scale of 0 to 1",
        "pairwise": "points of share won minus share lost",
    }.get(metric, "points")


def rows(value: object) -> list[JsonObject]:
    """Return the objects of a list that may be missing."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def texts(value: object) -> list[str]:
    """Return the items of a list that may be missing, as text."""
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


def obj(value: object) -> JsonObject:
    """Return an object that may be null."""
    return value if isinstance(value, Mapping) else {}


def measured(arms: list[JsonObject]) -> list[str]:
    """Return the metrics that at least one arm has."""
    return [name for name in METRICS if any(interval(arm.get(name)) for arm in arms)]


def why_unmeasured(metric: str, arm: JsonObject, judge: object) -> str:
    """Return the reason why an arm has no value of a metric."""
    if not arm.get("answered"):
        return "simulated, not scored" if arm.get("simulated") else "nothing answered"
    if metric == "quality":
        return "not judged" if judge else "ungraded: no judge"
    return "no answer could be scored"
