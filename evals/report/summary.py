"""Write a report's Markdown summary: findings, headline table, how to repeat."""

from __future__ import annotations

import re

from swarm_brain.evals.report.elements import clean
from swarm_brain.evals.report.figures import (
    NONE,
    JsonObject,
    count,
    known,
    measured,
    metric_form,
    money,
    obj,
    rows,
    share,
    spread,
    why_unmeasured,
    written,
)
from swarm_brain.evals.report.findings import findings


def summary(data: JsonObject) -> str:
    """Return Markdown: findings, a row for each arm, command, commit, dataset hash."""
    parts = [
        f"## {_text(data.get('title') or 'Evaluation')}",
        "\n".join(f"- {_text(finding.text)}" for finding in findings(data)),
        _arms(data),
        _fenced(str(data.get("command") or "")),
        _made(data),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _arms(data: JsonObject) -> str:
    arms = rows(data.get("arms"))
    if not arms:
        return "No arm was run."
    metrics = measured(arms) or ["quality"]
    head = ["arm", "answered", *(f"{name} (95% interval)" for name in metrics)]
    head += ["tokens per question", "spent ÷ allocated", "cost"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    lines += [_arm(arm, metrics, data.get("judge")) for arm in arms]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _arm(arm: JsonObject, metrics: list[str], judge: object) -> list[str]:
    name = _text(arm.get("name")) + (" (reference)" if arm.get("reference") else "")
    answered, asked = (count(known(arm.get(key)) or 0) for key in ("answered", "questions"))
    cells = [name, f"{answered} of {asked}"]
    for metric in metrics:
        value = spread(arm.get(metric), metric_form(metric))
        cells.append(value or f"{NONE} ({why_unmeasured(metric, arm, judge)})")
    forms = {"tokens_per_question": count, "spent_ratio": share, "cost_usd": money}
    return cells + [written(arm.get(key), form) for key, form in forms.items()]


def _made(data: JsonObject) -> str:
    """Return one line with the origin of the figures."""
    dataset, topology = obj(data.get("dataset")), obj(data.get("topology"))
    facts = {
        "commit": _code(data.get("commit")),
        "version": _code(data.get("version")),
        "dataset": _named_hash(dataset),
        "model": _code(data.get("model")),
        "judge": _code(data.get("judge")) if data.get("judge") else "none",
        "topology": _named_hash(topology),
        "seed": _text(NONE if data.get("seed") is None else data["seed"]),
        "repetitions": _text(NONE if data.get("repetitions") is None else data["repetitions"]),
        "created": _text(data.get("created") or NONE),
    }
    return ", ".join(f"{name} {value}" for name, value in facts.items()) + "."


def _named_hash(source: JsonObject) -> str:
    if not source:
        return NONE
    size = known(source.get("size"))
    questions = "" if size is None else f"{count(size)} questions, "
    return f"{_code(source.get('name'))} ({questions}hash {_code(source.get('hash'))})"


def _text(value: object) -> str:
    """Return text in one line, escaped for Markdown."""
    plain = " ".join(clean(str(value)).split())
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", plain)


def _code(value: object) -> str:
    plain = " ".join(clean(str(value)).split()).replace("`", "'").replace("|", "/")
    return NONE if value is None or not plain else f"`{plain}`"


def _fenced(command: str) -> str:
    if not command.strip():
        return ""
    runs = [len(run) for run in re.findall("`+", command)]
    fence = "`" * max(3, *(run + 1 for run in runs), 3)
    return f"{fence}sh\n{clean(command)}\n{fence}"
