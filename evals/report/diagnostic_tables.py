"""Build the tables on return on tokens, calibration and the judge."""

from __future__ import annotations

from collections.abc import Sequence

from swarm_brain.evals.report.elements import Html, el, join
from swarm_brain.evals.report.figures import (
    NONE,
    JsonObject,
    count,
    known,
    obj,
    points,
    rows,
    score,
    share,
    signed,
    spread,
)
from swarm_brain.evals.report.tables import (
    INTERVAL,
    Axis,
    Cell,
    Column,
    axis_of,
    figure,
    missing,
    p_cell,
    ranged,
    small,
    table,
    words,
)


def returns_table(data: JsonObject) -> Html:
    """Return the table of what each expert adds for its tokens."""
    found = rows(data.get("returns"))
    if not found:
        return el("p", "No leave-one-out arm was run.", class_="empty")
    columns = [
        Column("Expert", numeric=False),
        Column("Quality per 1,000 tokens", hint=INTERVAL),
        Column("Quality", hint="change per question"),
        Column("Tokens", hint="added per question"),
    ]
    axes = [axis_of([row.get(key) for row in found]) for key in ("per_1000", "quality", "tokens")]
    return table(
        "With the expert minus without it",
        columns,
        [_return(row, axes) for row in found],
    )


def _return(row: JsonObject, axes: Sequence[Axis]) -> list[Cell]:
    def three(value: float) -> str:
        return signed(value, 3)

    def whole(value: float) -> str:
        return signed(value, 0)

    reason = str(row.get("reason") or "not computed")
    keys = ("per_1000", "quality", "tokens")
    forms = (three, three, whole)
    cells = [
        ranged(spread(row.get(key), form), row.get(key), axis, reason if not place else "unknown")
        for place, (key, form, axis) in enumerate(zip(keys, forms, axes, strict=True))
    ]
    return [words(row.get("expert")), *cells]


def bins_table(calibration: JsonObject) -> Html:
    """Return the numbers behind the reliability curve."""
    columns = [
        Column("Agreement", numeric=False),
        Column("Answers"),
        Column("Mean agreement"),
        Column("Accuracy", hint=INTERVAL),
    ]
    body = []
    for row in rows(calibration.get("bins")):
        low, high = known(row.get("low")) or 0.0, known(row.get("high")) or 0.0
        mean, answers = known(row.get("mean_agreement")), known(row.get("count")) or 0
        accuracy = row.get("accuracy")
        body.append(
            [
                Cell(f"{low:.2f} to {high:.2f}", low),
                Cell(count(answers), answers),
                figure(None if mean is None else score(mean), mean, "no answers"),
                ranged(spread(accuracy, share), accuracy, (0.0, 1.0), "no answers"),
            ]
        )
    return table("Accuracy by measured agreement", columns, body)


def judging_table(judging: JsonObject) -> Html:
    """Return what verdicts in both orders show of the judge."""
    columns = [Column("Diagnostic", numeric=False), Column("Value"), Column("p")]
    winners = obj(judging.get("winners"))
    names = {"a": "first arm won", "b": "second won", "tie": "tied", "unparsed": "unreadable"}
    parts = [f"{label} {count(known(winners.get(key)) or 0)}" for key, label in names.items()]
    pairs = Cell(join("Pairs judged in both orders", small(", ".join(parts))), "Pairs")
    body = [
        [pairs, _counted(judging.get("pairs")), missing("no test")],
        [
            words("Verdict unchanged when swapped"),
            _shared(judging.get("consistent")),
            missing("no test"),
        ],
        _preference("Verdicts for the answer shown first", obj(judging.get("first"))),
        _preference("Pairs won by the longer answer", obj(judging.get("longer"))),
        _correlation(judging),
    ]
    return table("The judge in both orders", columns, body)


def _counted(value: object) -> Cell:
    number = known(value)
    return figure(None if number is None else count(number), number, "unknown")


def _shared(value: object, of: str = "") -> Cell:
    return ranged(spread(value, share), value, (0.0, 1.0), of or "not measurable")


def _preference(label: str, found: JsonObject) -> list[Cell]:
    wins, cases = known(found.get("wins")), known(found.get("cases"))
    many = "" if wins is None or cases is None else f"{count(wins)} of {count(cases)}"
    name = Cell(join(label, small(many) if many else None), label)
    return [name, _shared(found.get("share"), "no decided case"), p_cell(found.get("p"))]


def _correlation(judging: JsonObject) -> list[Cell]:
    value = known(judging.get("length_correlation"))
    text = None if value is None else signed(value, 2)
    name = "Rank correlation of verdict and length"
    return [words(name), figure(text, value, "not measurable"), p_cell(judging.get("length_p"))]


def abstention_words(calibration: JsonObject) -> str:
    """Write one sentence on abstaining: the rule and its worth, or why there is none."""
    rule = obj(calibration.get("abstention"))
    if not rule:
        why = str(calibration.get("why") or "no threshold was shown to pay")
        return f"No abstention threshold: {why.rstrip('.')}."
    threshold, coverage, gain = (known(rule.get(k)) for k in ("threshold", "coverage", "gain"))
    kept = spread(rule.get("accuracy"), share)
    least = NONE if threshold is None else score(threshold)
    text = f"Abstaining pays at an agreement of {least} or less:"
    text += f" {NONE if coverage is None else share(coverage)} are still answered"
    text += f", {kept} of them right" if kept else ""
    gained = "" if gain is None else f", a gain of {points(gain)} points of utility per question"
    return f"{text}{gained}."
