"""Write the report as one HTML file: no network, and no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template

from swarm_brain.evals.report import plots
from swarm_brain.evals.report.arm_tables import arms_table, strata_table
from swarm_brain.evals.report.comparison_table import comparisons_table
from swarm_brain.evals.report.diagnostic_tables import (
    abstention_words,
    bins_table,
    judging_table,
    returns_table,
)
from swarm_brain.evals.report.elements import Child, Html, clean, el, join
from swarm_brain.evals.report.figures import (
    METRICS,
    NONE,
    JsonObject,
    count,
    known,
    obj,
    score,
    texts,
    written,
)
from swarm_brain.evals.report.findings import FindingKind, findings
from swarm_brain.evals.report.questions import questions_section

BADGES: Mapping[FindingKind, tuple[str, str]] = {
    "loses": ("loses", "bad"),
    "invalid": ("invalid", "bad"),
    "open": ("not shown", "warn"),
    "wins": ("wins", "good"),
    "warning": ("warning", "warn"),
    "reference": ("reference", "plain"),
    "note": ("note", "plain"),
}


def render(data: Mapping[str, object], path: Path) -> None:
    """Write the report to `path` atomically, creating a missing folder."""
    written = _page(data).encode("utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(written)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _page(data: JsonObject) -> str:
    style, script = _part("page.css"), _part("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    sections = _sections(data)
    title = str(data.get("title") or "Evaluation")
    body = join(
        el("header", el("h1", title, dir="auto"), _byline(data)),
        el("nav", [el("a", name, href=f"#{key}") for key, (name, _) in sections.items()],
           aria_label="Sections"),
        el("main", [_section(key, name, body) for key, (name, body) in sections.items()],
           id="content"),
    )  # fmt: skip
    return Template(_part("page.html")).substitute(
        policy=policy, title=join(title), style=style, script=script, body=body
    )


def _part(name: str) -> str:
    return resources.files("swarm_brain.evals.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the hash of an inline block for the Content-Security-Policy."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"sha256-{digest}"


def _section(key: str, name: str, body: Child) -> Html:
    return el("section", el("h2", name, id=f"{key}-title"), body, id=key,
              aria_labelledby=f"{key}-title")  # fmt: skip


def _sections(data: JsonObject) -> dict[str, tuple[str, Html]]:
    return {
        "findings": ("What it shows", _findings(data)),
        "arms": ("Arms", _arms(data)),
        "comparisons": ("Paired comparisons", _comparisons(data)),
        "levels": ("Levels and groups", _strata(data)),
        "returns": ("Return on tokens", _returns(data)),
        "calibration": ("Calibration", _calibration(data)),
        "judge": ("Judge", _judge(data)),
        "questions": ("Questions", questions_section(data)),
        "method": ("How it was made", _method(data)),
    }


def _byline(data: JsonObject) -> Html:
    dataset = obj(data.get("dataset"))
    facts = [data.get("created"), data.get("model"), dataset.get("name")]
    return el("p", " · ".join(str(fact) for fact in facts if fact), class_="byline", dir="auto")


def _findings(data: JsonObject) -> Html:
    lines = []
    for finding in findings(data):
        label, kind = BADGES[finding.kind]
        badge = el("span", label, class_=f"badge {kind}")
        lines.append(el("li", badge, el("span", finding.text, dir="auto")))
    return el("ul", lines, class_="findings")


def _figure(drawing: Html | None, caption: str, missing: str) -> Html:
    if drawing is None:
        return el("p", missing, class_="empty")
    region = el("div", drawing, class_="scroll", tabindex=0, role="region", aria_label=caption)
    return el("figure", region, el("figcaption", caption))


def _arms(data: JsonObject) -> Html:
    drawn = [(name, plot) for name in METRICS if (plot := plots.tokens_plot(data, name))]
    band = (
        "The band is 80% to 105% of the allocation; arms within it may be compared."
        if known(data.get("allocated_tokens"))
        else "No allocation of tokens was set."
    )
    note = f"Bars are 95% intervals. {band} Diamonds are reference arms, which are not compared."
    figures = [
        _figure(plot, f"{name.capitalize()} against tokens. {note}", "") for name, plot in drawn
    ]
    empty = "No plot: no arm has both a score and a token count."
    return join(arms_table(data), figures or el("p", empty, class_="empty"))


def _comparisons(data: JsonObject) -> Html:
    note = (
        "Two arms are compared on the same questions. A comparison is valid, as a test at equal"
        " tokens, if both arms spent 80% to 105% of their allocation. Holm's p is corrected over"
        " all comparisons. “Needed” is the number of questions that such a difference takes."
    )
    return join(el("p", note, class_="note"), comparisons_table(data))


def _strata(data: JsonObject) -> Html:
    return join(
        strata_table(data, "levels", "Results by level"),
        strata_table(data, "groups", "Results by group"),
    )


def _returns(data: JsonObject) -> Html:
    note = (
        "The brain minus the brain without the expert: the change in quality (0 to 1) per 1,000"
        " tokens that the expert adds. Hollow dots do not differ significantly from 0."
    )
    plot = _figure(plots.returns_plot(data), note, "No plot: no expert has a rate.")
    return join(plot, returns_table(data))


def _calibration(data: JsonObject) -> Html:
    measured = obj(data.get("calibration"))
    if not measured:
        return el("p", "Calibration was not measured.", class_="empty")
    ece = written(measured.get("ece"), score)
    lead = el("p", el("b", "Expected calibration error: "), ece, ".")
    caption = (
        "Accuracy by measured agreement between drafts, with Wilson's 95% intervals and the"
        " number of answers. On the dashed line, agreement equals accuracy."
    )
    plot = _figure(plots.reliability_plot(data), caption, "No plot: no answer has an agreement.")
    rule = el("p", abstention_words(measured))
    return join(lead, rule, plot, bins_table(measured) if measured.get("bins") else None)


def _judge(data: JsonObject) -> Html:
    judging = obj(data.get("judging"))
    name = data.get("judge")
    lead = el("p", el("b", "Judge: "), el("bdi", str(name)) if name else f"{NONE} none was named")
    if not judging:
        why = "No answers were judged in pairs." if name else "Open answers are ungraded."
        return join(lead, el("p", why, class_="empty"))
    warnings = texts(judging.get("warnings"))
    if judging.get("self_judged"):
        warnings.insert(0, "The judge is the answering model itself.")
    items = el("ul", [el("li", text) for text in warnings])
    alarm = el("div", el("b", "Read the verdicts with care"), items, class_="alarm", role="note")
    clear = el("p", "No bias of the judge was detected.")
    return join(lead, alarm if warnings else clear, judging_table(judging))


def _method(data: JsonObject) -> Html:
    dataset, topology = obj(data.get("dataset")), obj(data.get("topology"))
    facts: dict[str, object] = {
        "Created": data.get("created"),
        "Commit": data.get("commit"),
        "Version": data.get("version"),
        "Dataset": dataset.get("name"),
        "Dataset hash": dataset.get("hash"),
        "Questions": dataset.get("size"),
        "Model": data.get("model"),
        "Judge": data.get("judge"),
        "Topology": topology.get("name"),
        "Topology hash": topology.get("hash"),
        "Allocated tokens per question": data.get("allocated_tokens"),
        "Repetitions": data.get("repetitions"),
        "Seed": data.get("seed"),
    }
    settings = {str(k): v for k, v in obj(data.get("settings")).items()}
    command = el("pre", el("code", str(data.get("command") or NONE)), tabindex=0)
    return join(
        el("p", "This command reproduces these figures:"),
        command,
        _facts(facts),
        el("details", el("summary", f"Settings ({count(len(settings))})"), _facts(settings))
        if settings
        else None,
    )


def _facts(facts: Mapping[str, object]) -> Html:
    pairs = [
        el("div", el("dt", key), el("dd", NONE if value is None else _plain(value), dir="auto"))
        for key, value in facts.items()
    ]
    return el("dl", pairs, class_="facts")


def _plain(value: object) -> str:
    """Return a setting's value as text."""
    if isinstance(value, str):
        return clean(value)
    return json.dumps(value, ensure_ascii=False, default=str)
