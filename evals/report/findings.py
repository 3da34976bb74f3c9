"""State what a run shows in plain sentences: losses first, no invalid claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swarm_brain.evals.arms.registry import MINUS, PLACEBO, SWARM
from swarm_brain.evals.report.figures import (
    JsonObject,
    count,
    difference_form,
    interval,
    known,
    measured,
    obj,
    rows,
    stated_p,
    texts,
    unit,
)

ALPHA = 0.05

FindingKind = Literal["loses", "open", "wins", "invalid", "warning", "reference", "note"]
ORDER: tuple[FindingKind, ...] = (
    "loses",
    "invalid",
    "open",
    "wins",
    "warning",
    "reference",
    "note",
)


@dataclass(frozen=True)
class Finding:
    """One sentence, and its kind."""

    kind: FindingKind
    text: str


@dataclass(frozen=True)
class Duel:
    """One comparison from the swarm's side; `lead` > 0 if the swarm is ahead.

    `lead` is None if unknown. `plain_p` is the p before Holm's correction, and `figures` the
    numbers in words.
    """

    other: str
    lead: float | None
    p: float | None
    corrected: bool
    plain_p: float | None
    figures: str
    row: JsonObject

    @property
    def significant(self) -> bool:
        return self.p is not None and self.p <= ALPHA and bool(self.lead)


def findings(data: JsonObject) -> list[Finding]:
    """Return all sentences, the worst news first."""
    references = {arm.get("name") for arm in rows(data.get("arms")) if arm.get("reference")}
    duels = [duel for row in rows(data.get("comparisons")) if (duel := _duel(row))]
    baselines = [duel for duel in duels if not duel.other.startswith((PLACEBO, MINUS))]
    equal = [duel for duel in baselines if duel.other not in references]
    sentences = [_equal_tokens(duel) for duel in equal]
    sentences += _overall(equal, bool(duels))
    sentences += [_reference(duel) for duel in baselines if duel.other in references]
    sentences += [_placebo(duel) for duel in duels if duel.other == PLACEBO]
    sentences += _ablations([duel for duel in duels if duel.other.startswith(MINUS)])
    sentences += _warnings(data)
    return sorted(sentences, key=lambda finding: ORDER.index(finding.kind))


def _duel(row: JsonObject) -> Duel | None:
    """Return a comparison with the swarm first; None if the swarm is not part of it."""
    pair = [str(row.get("first")), str(row.get("second"))]
    if SWARM not in pair or pair[0] == pair[1]:
        return None
    sign = 1 if pair[0] == SWARM else -1
    span, wins = interval(row.get("difference")), obj(row.get("wins"))
    lead: float | None = sign * span[0] if span else None
    if lead is None and wins:
        lead = float(sign * ((known(wins.get("a")) or 0) - (known(wins.get("b")) or 0)))
    holm, plain = known(row.get("p_holm")), known(row.get("p"))
    p = plain if holm is None else holm
    other = pair[1] if sign == 1 else pair[0]
    return Duel(other, lead, p, holm is not None, plain, _figures(row, sign), row)


def _figures(row: JsonObject, sign: int) -> str:
    """Write the figures of a comparison, the swarm's difference first."""
    metric = str(row.get("metric") or "accuracy")
    name = "pairwise verdicts" if metric == "pairwise" else metric
    span, form, parts = interval(row.get("difference")), difference_form(metric), []
    if span:
        low, high = sorted((sign * span[1], sign * span[2]))
        parts.append(f"95% interval {form(low)} to {form(high)}")
    parts += _won(obj(row.get("wins")), sign) + _tests(row)
    if (questions := known(row.get("questions"))) is not None:
        parts.append(f"{count(questions)} questions")
    head = f"{form(sign * span[0])} {unit(metric)}" if span else "difference unknown"
    return f"{name} {head}" + (f" ({'; '.join(parts)})" if parts else "")


def _won(wins: JsonObject, sign: int) -> list[str]:
    """Count the pairs that the swarm won, lost and tied, and the unreadable ones."""
    if not wins:
        return []
    order = ("a", "b", "tie", "unparsed") if sign == 1 else ("b", "a", "tie", "unparsed")
    won, lost, tied, unread = (count(known(wins.get(key)) or 0) for key in order)
    return [f"won {won}, lost {lost}, tied {tied}, unreadable {unread}"]


def _tests(row: JsonObject) -> list[str]:
    holm, plain = known(row.get("p_holm")), known(row.get("p"))
    if holm is not None:
        return [f"Holm p {stated_p(holm)}"]
    return [] if plain is None else [f"p {stated_p(plain)}, not corrected"]


def _equal_tokens(duel: Duel) -> Finding:
    if not duel.row.get("valid"):
        why = str(duel.row.get("why_invalid") or "No reason was recorded.").strip()
        tail = "" if duel.lead is None else f" These figures are not a result: {duel.figures}."
        return Finding("invalid", f"The comparison with {duel.other} is invalid. {why}{tail}")
    if duel.p is None:
        text = f"The swarm was not tested against {duel.other} (no p): {duel.figures}."
        return Finding("open", text)
    if duel.significant:
        wins = (duel.lead or 0) > 0
        verb = "beats" if wins else "loses to"
        text = f"The swarm {verb} {duel.other} at equal tokens: {duel.figures}."
        return Finding("wins" if wins else "loses", text)
    late = duel.corrected and duel.plain_p is not None and duel.plain_p <= ALPHA
    after = " after Holm's correction" if late else ""
    text = f"The swarm and {duel.other} do not differ significantly at equal tokens{after}"
    return Finding("open", f"{text}: {duel.figures}.{_needed(duel.row)}")


def _needed(row: JsonObject) -> str:
    needed = known(row.get("needed_sample_size"))
    if needed is None:
        return ""
    return f" Finding a difference of this size takes about {count(needed)} questions."


def _overall(equal: list[Duel], any_comparison: bool) -> list[Finding]:
    """Summarise the tests at equal tokens if none is significant."""
    if not equal:
        text = "The swarm was compared with no other arm at equal tokens"
        text += "." if any_comparison else ", so nothing here says whether it is worth its tokens."
        return [Finding("open", text)]
    valid = [duel for duel in equal if duel.row.get("valid")]
    if not valid:
        return [
            Finding("invalid", "No comparison was made at equal tokens: all of them are invalid.")
        ]
    if any(duel.significant for duel in valid):
        return []
    text = "No comparison at equal tokens is significant: this run does not show that the swarm is"
    return [Finding("open", f"{text} worth its tokens.")]


def _reference(duel: Duel) -> Finding:
    text = f"Against {duel.other}, a reference row outside the equal-token test: {duel.figures}."
    return Finding("reference", text)


def _placebo(duel: Duel) -> Finding:
    """Report whether the drafts for another question lose, as they must."""
    if not duel.row.get("valid"):
        return _equal_tokens(duel)
    if duel.significant and (duel.lead or 0) > 0:
        text = f"The placebo {PLACEBO} loses, as it should: {duel.figures}."
        return Finding("note", text)
    text = f"The placebo {PLACEBO} does not lose, so nothing shows that the drafts matter"
    return Finding("warning", f"{text}: {duel.figures}.")


def _ablations(duels: list[Duel]) -> list[Finding]:
    """Summarise the brains without one expert; the table shows each."""
    if not duels:
        return []
    valid = [duel for duel in duels if duel.row.get("valid")]
    text = f"Of {len(duels)} leave-one-out comparisons {len(valid)} are valid"
    helps = [d.other.removeprefix(MINUS) for d in valid if d.significant and (d.lead or 0) > 0]
    hurts = [d.other.removeprefix(MINUS) for d in valid if d.significant and (d.lead or 0) < 0]
    if not helps and not hurts:
        return [Finding("note", f"{text}; none is significant.")]
    parts = [f"the brain is worse without {', '.join(helps)}"] if helps else []
    parts += [f"it is better without {', '.join(hurts)}"] if hurts else []
    return [Finding("note", f"{text}; {' and '.join(parts)}.")]


def _warnings(data: JsonObject) -> list[Finding]:
    """Warn of limits on every figure: no grades, a doubtful judge, unread answers."""
    arms, judging = rows(data.get("arms")), obj(data.get("judging"))
    sentences = []
    if not measured(arms):
        sentences.append(_ungraded(data, arms))
    if judging.get("self_judged"):
        sentences.append("The judge is the answering model itself: it may prefer its own answers.")
    sentences += [*texts(judging.get("warnings")), *_counts(arms)]
    return [Finding("warning", text) for text in sentences]


def _ungraded(data: JsonObject, arms: list[JsonObject]) -> str:
    if arms and all(arm.get("simulated") and not arm.get("answered") for arm in arms):
        return "Ungraded: every answer is simulated, and simulated answers are never scored."
    why = "no answer could be scored" if data.get("judge") else "no judge was named"
    return f"Ungraded: {why}. Scores are unknown ({chr(0x2014)}), not 0."


def _counts(arms: list[JsonObject]) -> list[str]:
    sentences = {
        "simulated": "Simulated answers, counted separately and never scored",
        "errors": "Answers with an error on the way",
        "unextracted": "Answers from which no final answer could be read (not counted as wrong)",
    }
    return [f"{text}: {named}." for key, text in sentences.items() if (named := _named(arms, key))]


def _named(arms: list[JsonObject], key: str) -> str:
    """List the counts by arm, "swarm 3, single 1", or give the sum over many arms."""
    counted = [(str(arm.get("name")), known(arm.get(key)) or 0) for arm in arms]
    counted = [(name, number) for name, number in counted if number]
    if len(counted) > 4:
        return f"{count(sum(number for _, number in counted))} in {len(counted)} arms"
    return ", ".join(f"{name} {count(number)}" for name, number in counted)
