"""What the run shows, as plain sentences: the losses first, and nothing made of an invalid test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swarm_brain.evals.report.figures import (
    Row,
    count,
    difference_form,
    interval,
    known,
    measured,
    obj,
    rows,
    stated_p,
    unit,
)

SWARM, PLACEBO, ABLATION = "swarm", "swarm-shuffled", "swarm-minus:"
ALPHA = 0.05

Verdict = Literal["loses", "open", "wins", "invalid", "warning", "reference", "note"]
ORDER: tuple[Verdict, ...] = ("loses", "invalid", "open", "wins", "warning", "reference", "note")


@dataclass(frozen=True)
class Finding:
    """One sentence and what kind of news it is."""

    verdict: Verdict
    text: str


@dataclass(frozen=True)
class Duel:
    """One comparison as the swarm sees it: `lead` > 0 where the swarm is ahead, None if unknown."""

    other: str
    lead: float | None
    p: float | None
    corrected: bool
    plain_p: float | None
    seen: str
    row: Row

    @property
    def significant(self) -> bool:
        return self.p is not None and self.p <= ALPHA and bool(self.lead)


def findings(data: Row) -> list[Finding]:
    """All sentences, worst news first."""
    references = {arm.get("name") for arm in rows(data.get("arms")) if arm.get("reference")}
    duels = [duel for row in rows(data.get("comparisons")) if (duel := _duel(row))]
    baselines = [duel for duel in duels if not duel.other.startswith((PLACEBO, ABLATION))]
    equal = [duel for duel in baselines if duel.other not in references]
    found = [_equal_tokens(duel) for duel in equal]
    found += _overall(equal, bool(duels))
    found += [_reference(duel) for duel in baselines if duel.other in references]
    found += [_placebo(duel) for duel in duels if duel.other == PLACEBO]
    found += _ablations([duel for duel in duels if duel.other.startswith(ABLATION)])
    found += _warnings(data)
    return sorted(found, key=lambda finding: ORDER.index(finding.verdict))


def _duel(row: Row) -> Duel | None:
    """The comparison with the swarm named first; None if the swarm is no part of it."""
    pair = [str(row.get("first")), str(row.get("second"))]
    if SWARM not in pair or pair[0] == pair[1]:
        return None
    sign = 1 if pair[0] == SWARM else -1
    found, wins = interval(row.get("difference")), obj(row.get("wins"))
    lead: float | None = sign * found[0] if found else None
    if lead is None and wins:
        lead = float(sign * ((known(wins.get("a")) or 0) - (known(wins.get("b")) or 0)))
    holm, plain = known(row.get("p_holm")), known(row.get("p"))
    p = plain if holm is None else holm
    other = pair[1] if sign == 1 else pair[0]
    return Duel(other, lead, p, holm is not None, plain, _seen(row, sign), row)


def _seen(row: Row, sign: int) -> str:
    """The figures of a comparison, the swarm's difference first."""
    metric = str(row.get("metric") or "accuracy")
    name = "pairwise verdicts" if metric == "pairwise" else metric
    found, form, parts = interval(row.get("difference")), difference_form(metric), []
    if found:
        low, high = sorted((sign * found[1], sign * found[2]))
        parts.append(f"95% interval {form(low)} to {form(high)}")
    parts += _won(obj(row.get("wins")), sign) + _tests(row)
    if (questions := known(row.get("questions"))) is not None:
        parts.append(f"{count(questions)} questions")
    head = f"{form(sign * found[0])} {unit(metric)}" if found else "difference unknown"
    return f"{name} {head}" + (f" ({'; '.join(parts)})" if parts else "")


def _won(wins: Row, sign: int) -> list[str]:
    """Pairs that the swarm won, lost, tied, and that could not be read."""
    if not wins:
        return []
    order = ("a", "b", "tie", "unparsed") if sign == 1 else ("b", "a", "tie", "unparsed")
    won, lost, tied, unread = (count(known(wins.get(key)) or 0) for key in order)
    return [f"won {won}, lost {lost}, tied {tied}, unreadable {unread}"]


def _tests(row: Row) -> list[str]:
    holm, plain = known(row.get("p_holm")), known(row.get("p"))
    if holm is not None:
        return [f"Holm p {stated_p(holm)}"]
    return [] if plain is None else [f"p {stated_p(plain)}, not corrected"]


def _equal_tokens(duel: Duel) -> Finding:
    if not duel.row.get("valid"):
        why = str(duel.row.get("why_invalid") or "No reason was recorded.").strip()
        tail = "" if duel.lead is None else f" What was seen is no result: {duel.seen}."
        return Finding("invalid", f"The comparison with {duel.other} is invalid. {why}{tail}")
    if duel.p is None:
        text = f"The swarm was not tested against {duel.other}: {duel.seen}, no p."
        return Finding("open", text)
    if duel.significant:
        wins = (duel.lead or 0) > 0
        verb = "beats" if wins else "loses to"
        text = f"The swarm {verb} {duel.other} at equal tokens: {duel.seen}."
        return Finding("wins" if wins else "loses", text)
    late = duel.corrected and duel.plain_p is not None and duel.plain_p <= ALPHA
    after = " after Holm's correction" if late else ""
    text = f"The swarm and {duel.other} cannot be told apart at equal tokens{after}: {duel.seen}."
    return Finding("open", text + _needed(duel.row))


def _needed(row: Row) -> str:
    needed = known(row.get("needed_sample_size"))
    if needed is None:
        return ""
    return f" To find a difference of this size, about {count(needed)} questions are needed."


def _overall(equal: list[Duel], any_comparison: bool) -> list[Finding]:
    """The sentence over all tests at equal tokens, where none of them decides anything."""
    if not equal:
        text = "The swarm was compared with no other arm at equal tokens"
        text += "." if any_comparison else ", so nothing here says whether it is worth its tokens."
        return [Finding("open", text)]
    valid = [duel for duel in equal if duel.row.get("valid")]
    if not valid:
        return [Finding("invalid", "No comparison was made at equal tokens: all are invalid.")]
    if any(duel.significant for duel in valid):
        return []
    text = "No comparison at equal tokens is significant: this run does not show that the swarm is"
    return [Finding("open", f"{text} worth its tokens.")]


def _reference(duel: Duel) -> Finding:
    text = f"Against {duel.other}, a reference row outside the equal-token test: {duel.seen}."
    return Finding("reference", text)


def _placebo(duel: Duel) -> Finding:
    """Drafts of another question must lose; if they do not, the drafts do nothing."""
    if not duel.row.get("valid"):
        return _equal_tokens(duel)
    if duel.significant and (duel.lead or 0) > 0:
        text = f"The placebo {PLACEBO} loses, as it must: {duel.seen}."
        return Finding("note", text)
    text = f"The placebo {PLACEBO} does not lose, so nothing shows that the drafts matter"
    return Finding("warning", f"{text}: {duel.seen}.")


def _ablations(duels: list[Duel]) -> list[Finding]:
    """One sentence over the brains without one expert; the table has the rest."""
    if not duels:
        return []
    valid = [duel for duel in duels if duel.row.get("valid")]
    text = f"Of {len(duels)} leave-one-out comparisons {len(valid)} are valid"
    helps = [d.other.removeprefix(ABLATION) for d in valid if d.significant and (d.lead or 0) > 0]
    hurts = [d.other.removeprefix(ABLATION) for d in valid if d.significant and (d.lead or 0) < 0]
    if not helps and not hurts:
        return [Finding("note", f"{text}; none is significant.")]
    parts = [f"the brain is worse without {', '.join(helps)}"] if helps else []
    parts += [f"it is better without {', '.join(hurts)}"] if hurts else []
    return [Finding("note", f"{text}; {' and '.join(parts)}.")]


def _warnings(data: Row) -> list[Finding]:
    """What qualifies every figure: no grades, a judge to doubt, answers that are not scored."""
    arms, judging = rows(data.get("arms")), obj(data.get("judging"))
    found = []
    if not measured(arms):
        found.append(_ungraded(data, arms))
    if judging.get("self_judged"):
        found.append("The judge is the answering model itself: it may prefer its own answers.")
    found += [str(warning) for warning in judging.get("warnings") or []]
    found += _counts(arms)
    return [Finding("warning", text) for text in found]


def _ungraded(data: Row, arms: list[Row]) -> str:
    if arms and all(arm.get("simulated") and not arm.get("answered") for arm in arms):
        return "Ungraded: every answer is simulated, and simulated answers are never scored."
    why = "no answer could be scored" if data.get("judge") else "no judge was named"
    return f"Ungraded: {why}. Scores are unknown ({chr(0x2014)}), not 0."


def _counts(arms: list[Row]) -> list[str]:
    sentences = {
        "simulated": "Simulated answers, counted apart and never scored",
        "errors": "Answers on the way to which something failed",
        "unextracted": "No final answer could be read (counted as such, not as wrong)",
    }
    return [f"{text}: {named}." for key, text in sentences.items() if (named := _named(arms, key))]


def _named(arms: list[Row], key: str) -> str:
    """What arms have how many: "swarm 3, single 1", or the sum where there are many."""
    counted = [(str(arm.get("name")), known(arm.get(key)) or 0) for arm in arms]
    counted = [(name, number) for name, number in counted if number]
    if len(counted) > 4:
        return f"{count(sum(number for _, number in counted))} in {len(counted)} arms"
    return ", ".join(f"{name} {count(number)}" for name, number in counted)
