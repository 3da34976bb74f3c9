"""Show every question with all arms' answers side by side, and the brain's trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from swarm_brain.evals.arms.registry import SWARM
from swarm_brain.evals.report.elements import Html, el, join
from swarm_brain.evals.report.figures import (
    NONE,
    JsonObject,
    count,
    known,
    money,
    obj,
    rows,
    score,
    seconds,
    texts,
    written,
)

LONG = 1_500  # characters; a longer answer scrolls in its own region
MARKS = {
    "correct": ("✓ correct", "good"),
    "wrong": ("✗ wrong", "bad"),
    "unread": ("? no answer extracted", "warn"),
    "simulated": ("◌ simulated, not scored", "warn"),
    "error": ("! error", "bad"),
    "ungraded": ("— ungraded", "plain"),
}


def questions_section(data: JsonObject) -> Html:
    """Return the filter, and one closed block for each question."""
    questions = rows(data.get("questions"))
    if not questions:
        return el("p", "No question was asked.", class_="empty")
    tags = [_tags(question) for question in questions]
    blocks = [
        _question(number, question, tagged)
        for number, (question, tagged) in enumerate(zip(questions, tags, strict=True), 1)
    ]
    return join(_filter(questions, tags), el("div", blocks, id="question-list"))


def _filter(questions: Sequence[JsonObject], tags: Sequence[Sequence[str]]) -> Html:
    scored = any(_scores(question) for question in questions)
    choices = {"all": "All", "disagree": "Arms disagree", "wrong": "Swarm wrong"}
    if scored:
        choices["behind"] = "Swarm behind on the rubric"
    buttons = []
    for key, label in choices.items():
        size = len(questions) if key == "all" else sum(key in tagged for tagged in tags)
        pressed = "true" if key == "all" else "false"
        text = f"{label} ({count(size)})"
        buttons.append(el("button", text, type="button", data_filter=key, aria_pressed=pressed))
    group = el("div", buttons, role="group", aria_label="Which questions are shown")
    shown = el(
        "p", f"{count(len(questions))} of {count(len(questions))} shown", id="shown", role="status"
    )
    return el("div", group, shown, class_="filter")


def _answers(question: JsonObject) -> dict[str, list[JsonObject]]:
    return {str(name): rows(answers) for name, answers in obj(question.get("arms")).items()}


def _scores(question: JsonObject) -> dict[str, float]:
    """Return the mean rubric score of every arm that has one."""
    scores = {}
    for name, answers in _answers(question).items():
        values = [value for one in answers if (value := known(one.get("score"))) is not None]
        if values:
            scores[name] = sum(values) / len(values)
    return scores


def _tags(question: JsonObject) -> list[str]:
    """Return the filter's tags: do arms disagree, is the swarm wrong or behind?"""
    arms, scores = _answers(question), _scores(question)
    grades = {one["correct"] for answers in arms.values() for one in answers if _graded(one)}
    met = [texts(one.get("rubric")) for answers in arms.values() for one in answers]
    points = zip(*filter(None, met), strict=False)
    split = any("True" in point and "False" in point for point in points)
    tags = ["disagree"] if len(grades) > 1 or split else []
    if any(one.get("correct") is False for one in arms.get(SWARM, []) if _graded(one)):
        tags.append("wrong")
    if SWARM in scores and scores[SWARM] < max(scores.values()):
        tags.append("behind")
    return tags


def _graded(answer: JsonObject) -> bool:
    return isinstance(answer.get("correct"), bool) and answer.get("provenance") != "simulated"


def _mark(question: JsonObject, answer: JsonObject) -> str:
    """Return the key in MARKS for an answer."""
    if answer.get("error"):
        return "error"
    if answer.get("provenance") == "simulated":
        return "simulated"
    if _graded(answer):
        return "correct" if answer["correct"] else "wrong"
    keyed = question.get("answer") is not None
    return "unread" if keyed and answer.get("extracted") is None else "ungraded"


def _badge(question: JsonObject, answer: JsonObject) -> Html:
    mark = _mark(question, answer)
    value = known(answer.get("score"))
    if mark == "ungraded" and value is not None:
        return el("span", f"rubric {score(value)}", class_="badge plain")
    text, kind = MARKS[mark]
    return el("span", text, class_=f"badge {kind}")


def _question(number: int, question: JsonObject, tags: Sequence[str]) -> Html:
    name = str(question.get("id") or number)
    text = " ".join(str(question.get("question") or "").split())
    short = text if len(text) <= 140 else f"{text[:139]}…"
    level = known(question.get("level"))
    where = [str(question["group"])] if question.get("group") else []
    where += [] if level is None else [f"level {level:.0f}"]
    head = el(
        "summary",
        el("span", el("bdi", name), f" · {' · '.join(where)}" if where else None, class_="where"),
        el("bdi", short, class_="short"),
        el("span", _outcome(question), class_="outcome"),
    )
    body = el("div", _asked(question), _cards(question), _traces(question), class_="body")
    tagged = " ".join(tags)
    return el(
        "details", head, body, class_="question", id=f"question-{number}", data_tags=tagged or None
    )


def _outcome(question: JsonObject) -> Html:
    """Return the swarm's mark and the number of arms that are right."""
    arms, scores = _answers(question), _scores(question)
    parts: list[Html] = []
    for answer in arms.get(SWARM, [])[:1]:
        parts.append(el("span", f"{SWARM}: ", _badge(question, answer)))
    graded = [[one for one in answers if _graded(one)] for answers in arms.values()]
    graded = [answers for answers in graded if answers]
    if graded:
        right = sum(
            2 * sum(bool(one["correct"]) for one in answers) > len(answers) for answers in graded
        )
        parts.append(el("span", f"{right} of {len(graded)} arms right"))
    elif scores:
        low, high = score(min(scores.values())), score(max(scores.values()))
        parts.append(el("span", f"rubric {low} to {high}"))
    return join(parts)


def _asked(question: JsonObject) -> Html:
    """Return the whole question with its choices, key and rubric."""
    choices = texts(question.get("choices"))
    rubric = texts(question.get("rubric"))
    key = question.get("answer")
    return el(
        "div",
        el("h3", "Question"),
        _block(str(question.get("question") or NONE), "Question"),
        el("ol", [el("li", choice, dir="auto") for choice in choices], type="A")
        if choices
        else None,
        el("p", el("b", "Key: "), el("bdi", NONE if key is None else str(key)), _why_no_key(key)),
        join(el("p", el("b", "Rubric")), el("ol", [el("li", one, dir="auto") for one in rubric]))
        if rubric
        else None,
        class_="asked",
    )


def _why_no_key(key: object) -> Html | None:
    return el("small", " open question: no key") if key is None else None


def _block(text: str, label: str) -> Html:
    """Return the text unchanged; a long one scrolls in a region of its own."""
    shown = text or "(empty)"
    if len(text) <= LONG:
        return el("div", shown, class_="text", dir="auto")
    name = f"{label}, {count(len(text))} characters"
    region = el("div", shown, class_="text long", dir="auto", tabindex=0, role="region",
                aria_label=name)  # fmt: skip
    return join(el("small", f"{count(len(text))} characters"), region)


def _cards(question: JsonObject) -> Html:
    arms = _answers(question)
    if not arms:
        return el("p", "No arm answered.", class_="empty")
    cards = []
    for name, answers in arms.items():
        several = len(answers) > 1
        parts = [
            _answer(question, name, answer, number if several else None)
            for number, answer in enumerate(answers, 1)
        ]
        body = parts or [el("p", "No answer was recorded.", class_="empty")]
        kind = "card brain" if name == SWARM else "card"
        cards.append(el("section", el("h4", el("bdi", name)), body, class_=kind))
    return el("div", cards, class_="cards")


def _answer(question: JsonObject, arm: str, answer: JsonObject, number: int | None) -> Html:
    label = f"{arm}, repetition {number}" if number else arm
    extracted, error = answer.get("extracted"), answer.get("error")
    final = NONE if extracted is None else str(extracted)
    badges = el("p", f"Repetition {number} " if number else None, _badge(question, answer),
                _provenance(answer), class_="badges")  # fmt: skip
    return el(
        "article",
        badges,
        el("p", el("b", "Error: "), el("bdi", str(error)), class_="error") if error else None,
        el("p", el("b", "Extracted: "), el("bdi", final)) if question.get("answer") else None,
        _block(str(answer.get("text") or ""), f"Answer of {label}"),
        _rubric(question, answer),
        _spent(answer),
    )


def _provenance(answer: JsonObject) -> Html:
    provenance = str(answer.get("provenance") or "provenance unknown")
    return el("span", provenance, class_="badge plain" if provenance == "full" else "badge warn")


def _rubric(question: JsonObject, answer: JsonObject) -> Html | None:
    """Return the points that the answer meets, by the judge; None without a rubric."""
    verdicts = answer.get("rubric")
    if not question.get("rubric"):
        return None
    if not verdicts:
        return el("p", el("b", "Rubric: "), f"{NONE} ", el("small", "not judged"))
    words = {"True": "✓ met", "False": "✗ missed"}
    lines = [el("li", words.get(met, f"{NONE} not judged")) for met in texts(verdicts)]
    total = written(answer.get("score"), score)
    return join(el("p", el("b", "Rubric score: "), total), el("ol", lines, class_="points"))


def _spent(answer: JsonObject) -> Html:
    """Return tokens, cost, time, calls and measured agreement of one answer."""
    forms: Mapping[str, tuple[str, Callable[[float], str]]] = {
        "input_tokens": ("tokens in", count),
        "output_tokens": ("tokens out", count),
        "cost_usd": ("cost", money),
        "duration_s": ("time", seconds),
        "calls": ("calls", count),
        "agreement": ("agreement", score),
    }
    pairs = [
        el("div", el("dt", label), el("dd", written(answer.get(key), form)))
        for key, (label, form) in forms.items()
    ]
    return el("dl", pairs, class_="spent")


def _traces(question: JsonObject) -> list[Html]:
    """Return the traces of all answers that have one."""
    traces = []
    for name, answers in _answers(question).items():
        for number, answer in enumerate(answers, 1):
            label = f"{name}, repetition {number}" if len(answers) > 1 else name
            traces.append(_trace(rows(answer.get("trace")), label))
    return [trace for trace in traces if trace]


def _trace(signals: Sequence[JsonObject], label: str) -> Html | None:
    """Return a closed block: the experts by step, and the edges that woke them."""
    if not signals:
        return None
    steps = len({signal.get("step") for signal in signals})
    head = f"Trace of {label}: {count(len(signals))} signals in {count(steps)} steps"
    items = [_signal(signal, label) for signal in signals]
    return el("details", el("summary", head), el("ol", items, class_="trace"), class_="tracing")


def _signal(signal: JsonObject, label: str) -> Html:
    expert, status = str(signal.get("expert")), str(signal.get("status") or "unknown")
    woken = [_edge(edge) for edge in rows(signal.get("woken_by"))]
    kind = {"ok": "plain", "failed": "bad"}.get(status, "warn")
    return el(
        "li",
        el("b", el("bdi", expert)),
        f" · step {written(signal.get('step'), count)} ",
        el("span", status, class_=f"badge {kind}"),
        el("p", "woken by ", el("bdi", ", ".join(woken) or "no edge"), class_="woken"),
        _block(str(signal.get("content") or ""), f"{expert}'s signal, {label}"),
    )


def _edge(edge: JsonObject) -> str:
    return f"{edge.get('from')} ({written(edge.get('activation'), score)})"
