"""Build the tables on return on tokens, calibration and the judge."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from swarm_brain.evals.report.elements import Html, el, join
from swarm_brain.evals.report.figures import (
    JsonObject,
    count,
    known,
    obj,
    p_value,
    points,
    rows,
    score,
    share,
    signed,
    spread,
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
    ranged,
    small,
    table,
    words,
)


def returns_table(data: JsonObject) -> Html:
    """Return the table of each expert's return on tokens."""
    returns = rows(data.get("returns"))
    if not returns:
        return el("p", "No leave-one-out arm was run.", class_="empty")
    columns = [
        Column("Expert", numeric=False),
        Column("Quality per 1,000 tokens", hint=INTERVAL),
        Column("Quality", hint="change per question"),
        Column("Tokens", hint="added per question"),
    ]
    axes = [axis_of([row.get(key) for row in returns]) for key in ("per_1000", "quality", "tokens")]
    return table(
        "With the expert minus without it",
        columns,
        [_return(row, axes) for row in returns],
    )


def _return(row: JsonObject, axes: Sequence[Axis]) -> list[Cell]:
    reason = str(row.get("reason") or "not computed")
    keys = ("per_1000", "quality", "tokens")
    forms = [partial(signed, digits=digits) for digits in (3, 3, 0)]
    cells = [
        ranged(row.get(key), form, axis, reason if not place else "unknown")
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
        body.append(
            [
                Cell(f"{low:.2f} to {high:.2f}", low),
                figure(row.get("count"), count),
                figure(row.get("mean_agreement"), score, "no answers"),
                ranged(row.get("accuracy"), share, (0.0, 1.0), "no answers"),
            ]
        )
    return table("Accuracy by measured agreement", columns, body)


def judging_table(judging: JsonObject) -> Html:
    """Return the table of the judge's biases, from verdicts in both orders."""
    columns = [Column("Diagnostic", numeric=False), Column("Value"), Column("p")]
    winners = obj(judging.get("winners"))
    names = {"a": "first arm won", "b": "second won", "tie": "tied", "unparsed": "unreadable"}
    parts = [f"{label} {count(known(winners.get(key)) or 0)}" for key, label in names.items()]
    pairs = Cell(join("Pairs judged in both orders", small(", ".join(parts))), "Pairs")
    body = [
        [pairs, figure(judging.get("pairs"), count, "unknown"), missing("no test")],
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


def _shared(value: object, of: str = "") -> Cell:
    return ranged(value, share, (0.0, 1.0), of or "not measurable")


def _preference(label: str, preference: JsonObject) -> list[Cell]:
    wins, cases = known(preference.get("wins")), known(preference.get("cases"))
    many = "" if wins is None or cases is None else f"{count(wins)} of {count(cases)}"
    name = Cell(join(label, small(many) if many else None), label)
    return [
        name,
        _shared(preference.get("share"), "no decided case"),
        figure(preference.get("p"), p_value, "not tested"),
    ]


def _correlation(judging: JsonObject) -> list[Cell]:
    return [
        words("Rank correlation of verdict and length"),
        figure(judging.get("length_correlation"), partial(signed, digits=2), "not measurable"),
        figure(judging.get("length_p"), p_value, "not tested"),
    ]


def abstention_words(calibration: JsonObject) -> str:
    """Return a sentence on abstaining: the rule and its gain, or why there is none."""
    rule = obj(calibration.get("abstention"))
    if not rule:
        why = str(calibration.get("why") or "no threshold was shown to pay")
        return f"No abstention threshold: {why.rstrip('.')}."
    gain, accuracy = known(rule.get("gain")), spread(rule.get("accuracy"), share)
    text = f"Abstaining pays at an agreement of {written(rule.get('threshold'), score)} or less:"
    text += f" {written(rule.get('coverage'), share)} are still answered"
    text += f", {accuracy} of them right" if accuracy else ""
    gained = "" if gain is None else f", a gain of {points(gain)} points of utility per question"
    return f"{text}{gained}."
