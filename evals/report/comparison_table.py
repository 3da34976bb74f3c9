"""Build the table of paired comparisons: validity, differences, tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swarm_brain.evals.report.elements import Html, el, join
from swarm_brain.evals.report.figures import (
    JsonObject,
    count,
    difference_form,
    known,
    obj,
    p_value,
    rows,
    share,
    written,
)
from swarm_brain.evals.report.tables import (
    INTERVAL,
    Axis,
    Cell,
    Column,
    axis_of,
    figure,
    missing,
    named,
    ranged,
    small,
    table,
)

BADGES = {True: ("valid", "good"), False: ("invalid", "bad")}


def comparisons_table(data: JsonObject) -> Html:
    """Return the table of comparisons, with the sample size that each effect needs."""
    compared = rows(data.get("comparisons"))
    if not compared:
        return el("p", "No arms were compared.", class_="empty")
    spent = {str(arm.get("name")): known(arm.get("spent_ratio")) for arm in rows(data.get("arms"))}
    columns = [
        Column("Comparison", numeric=False, hint="first minus second"),
        Column("Equal tokens", numeric=False, hint="spent ÷ allocated"),
        Column("Difference", hint=INTERVAL),
        Column("p"),
        Column("Holm p"),
        Column("McNemar", numeric=False, hint="right in one arm only"),
        Column("Verdicts", numeric=False, hint="judge, both orders"),
        Column("Questions"),
        Column("Needed", hint="for this effect"),
    ]
    for key, name in (("mcnemar", "McNemar"), ("wins", "Verdicts")):
        if not any(row.get(key) for row in compared):
            columns = [column for column in columns if column.name != name]
    shown = [column.name for column in columns]
    axes = {m: _axis(compared, m) for m in ("accuracy", "quality", "pairwise")}
    body = [_comparison(row, spent, axes, shown) for row in compared]
    return table("First minus second, same questions", columns, body)


def _axis(compared: Sequence[JsonObject], metric: str) -> Axis:
    """Return a symmetric axis for all differences of one metric."""
    axis = axis_of([row.get("difference") for row in compared if row.get("metric") == metric])
    wide = max(map(abs, axis)) if axis else 0.0
    return (-wide, wide) if wide else None


def _comparison(
    row: JsonObject,
    spent: Mapping[str, float | None],
    axes: Mapping[str, Axis],
    shown: Sequence[str],
) -> list[Cell]:
    metric = str(row.get("metric") or "accuracy")
    first, second = str(row.get("first")), str(row.get("second"))
    pair = join(named(first), " −", el("br"), named(second), small(_metric_words(metric)))
    difference = row.get("difference")
    cells = {
        "Comparison": Cell(pair, f"{first} {second}"),
        "Equal tokens": _validity(row, spent.get(first), spent.get(second)),
        "Difference": ranged(
            difference, difference_form(metric), axes.get(metric), "no scored pairs"
        ),
        "p": figure(row.get("p"), p_value, "not tested"),
        "Holm p": figure(row.get("p_holm"), p_value, "not corrected"),
        "McNemar": _mcnemar(obj(row.get("mcnemar"))),
        "Verdicts": _wins(obj(row.get("wins"))),
        "Questions": figure(row.get("questions"), count),
        "Needed": figure(row.get("needed_sample_size"), count, "not computed"),
    }
    return [cells[name] for name in shown]


def _metric_words(metric: str) -> str:
    return {
        "accuracy": "accuracy, points",
        "quality": "quality, score 0 to 1",
        "pairwise": "share won minus share lost, points",
    }.get(metric, metric)


def _validity(row: JsonObject, first: float | None, second: float | None) -> Cell:
    label, kind = BADGES[bool(row.get("valid"))]
    ratios = " and ".join(written(ratio, share) for ratio in (first, second))
    why = None if row.get("valid") else str(row.get("why_invalid") or "no reason recorded")
    badge = el("span", label, class_=f"badge {kind}")
    return Cell(join(badge, small(ratios), small(why) if why else None), label, "prose")


def _mcnemar(test: JsonObject) -> Cell:
    if not test:
        return missing("not right or wrong")
    first, second = known(test.get("first_only")) or 0, known(test.get("second_only")) or 0
    tests = [
        f"{name} {p_value(p)}"
        for name, key in (("exact p", "p"), ("mid-p", "mid_p"))
        if (p := known(test.get(key))) is not None
    ]
    text = f"first {count(first)}, second {count(second)}"
    return Cell(join(text, small(", ".join(tests))), first - second)


def _wins(wins: JsonObject) -> Cell:
    if not wins:
        return missing("not judged in pairs")
    names = {"a": "first won", "b": "second won", "tie": "tied", "unparsed": "unreadable"}
    parts = [f"{label} {count(known(wins.get(key)) or 0)}" for key, label in names.items()]
    leads = (known(wins.get("a")) or 0) - (known(wins.get("b")) or 0)
    return Cell([small(part) for part in parts], leads)
