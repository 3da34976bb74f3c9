"""Build the tables of arms: the headline, and the results by level and by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swarm_brain.evals.report.elements import Html, el, join
from swarm_brain.evals.report.figures import (
    JsonObject,
    count,
    known,
    measured,
    metric_form,
    money,
    obj,
    rows,
    score,
    seconds,
    share,
    why_unmeasured,
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


def arms_table(data: JsonObject) -> Html:
    """Return the headline table: one row for each arm."""
    arms = rows(data.get("arms"))
    if not arms:
        return el("p", "No arm was run.", class_="empty")
    metrics = measured(arms) or ["quality"]
    columns = [Column("Arm", numeric=False)]
    columns += [Column(name.capitalize(), hint=INTERVAL) for name in metrics]
    columns += [
        Column("Answered", hint="of questions"),
        Column("Not scored", numeric=False, hint="counted separately"),
        Column("Tokens", hint="per question"),
        Column("Spent", hint="of allocated"),
        Column("Cost"),
        Column("Calls"),
        Column("Time"),
    ]
    axes = {name: axis_of([arm.get(name) for arm in arms], zero=False) for name in metrics}
    body = [_arm(arm, axes, data.get("judge")) for arm in arms]
    return table("One row for each arm; bars share one scale", columns, body)


def _arm(arm: JsonObject, axes: Mapping[str, Axis], judge: object) -> list[Cell]:
    name = str(arm.get("name"))
    reference = small("reference: not at equal tokens") if arm.get("reference") else None
    cells = [Cell(join(named(name), reference), name)]
    for metric, axis in axes.items():
        why = why_unmeasured(metric, arm, judge)
        cells.append(ranged(arm.get(metric), metric_form(metric), axis, why))
    return [
        *cells,
        _answered(arm),
        _unscored(arm),
        _tokens(arm),
        figure(arm.get("spent_ratio"), share, "no allocation"),
        figure(arm.get("cost_usd"), money, "price unknown"),
        figure(arm.get("calls"), count, "unknown"),
        figure(arm.get("duration_s"), seconds, "unknown"),
    ]


def _answered(arm: JsonObject) -> Cell:
    answered, asked = known(arm.get("answered")), known(arm.get("questions"))
    if answered is None:
        return missing("unknown")
    of = None if asked is None else small(f"of {count(asked)}")
    return Cell(join(count(answered), of), answered)


def _unscored(arm: JsonObject) -> Cell:
    names = {"simulated": "simulated", "unextracted": "not extracted", "errors": "errors"}
    counted = {label: known(arm.get(key)) or 0 for key, label in names.items()}
    lines = [small(f"{label} {count(n)}") for label, n in counted.items() if n]
    return Cell(lines or "none", sum(counted.values()))


def _tokens(arm: JsonObject) -> Cell:
    tokens = known(arm.get("tokens_per_question"))
    if tokens is None:
        return missing("usage not reported")
    inside, outside = (written(arm.get(key), count) for key in ("input_tokens", "output_tokens"))
    return Cell(join(count(tokens), small(f"{inside} in, {outside} out in all")), tokens)


def strata_table(data: JsonObject, key: str, caption: str) -> Html:
    """Return results by level or by group, one column for each arm."""
    strata = rows(data.get(key))
    if not strata:
        return el("p", f"No results by {key.removesuffix('s')}.", class_="empty")
    names = [str(arm.get("name")) for arm in rows(data.get("arms"))]
    names += [n for row in strata for n in obj(row.get("arms")) if n not in names]
    names = [n for n in dict.fromkeys(names) if any(n in obj(row.get("arms")) for row in strata)]
    columns = [Column(caption.rpartition(" ")[2].capitalize(), numeric=False)]
    columns += [Column(name) for name in names]
    body = [_stratum(row, names, data.get("judge")) for row in strata]
    return table(caption, columns, body)


def _stratum(row: JsonObject, names: Sequence[str], judge: object) -> list[Cell]:
    level = known(row.get("level"))
    name = str(row.get("name"))
    label = name if level is None else f"{level:.0f} · {name}"
    arms = obj(row.get("arms"))
    return [
        Cell(el("bdi", label), name if level is None else level),
        *(_share_of(obj(arms.get(n)), judge) for n in names),
    ]


def _share_of(arm: JsonObject, judge: object) -> Cell:
    accuracy, quality = known(arm.get("accuracy")), known(arm.get("quality"))
    asked = known(arm.get("n"))
    if accuracy is None and quality is None:
        return missing("not asked" if not asked else "not scored" if judge else "ungraded")
    parts = [] if accuracy is None else [share(accuracy)]
    parts += [] if quality is None else [f"quality {score(quality)}" if parts else score(quality)]
    of = None if asked is None else small(f"n = {count(asked)}")
    return Cell(join(", ".join(parts), of), accuracy if accuracy is not None else quality)
