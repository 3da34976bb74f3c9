"""The sentences of a report: losses first, and no claims from invalid comparisons."""

from __future__ import annotations

from typing import Any

from swarm_brain.evals.report import summary
from swarm_brain.evals.report.findings import findings
from tests.evals.report.report_data import EMPTY, INVALID, arm, comparison, results


def said(*compared: dict[str, Any], **changes: Any) -> dict[str, str]:
    """Findings by verdict, joined."""
    result = findings(results(comparisons=list(compared), **changes))
    kinds = {finding.kind for finding in result}
    return {k: " | ".join(f.text for f in result if f.kind == k) for k in kinds}


def test_the_swarm_loses():
    by_kind = said(comparison("self-consistency", -0.05, 0.004, 0.016))
    assert by_kind["loses"] == (
        "The swarm loses to self-consistency at equal tokens: accuracy −5.0 points"
        " (95% interval −9.8 to −0.2; Holm p = 0.016; 118 questions)."
    )
    assert "wins" not in by_kind
    assert "open" not in by_kind


def test_the_swarm_wins_whichever_arm_is_named_first():
    ahead = comparison("self-moa", 0.06, 0.0004)
    turned = comparison("swarm", -0.06, 0.0004, first="self-moa")
    assert said(ahead)["wins"] == said(turned)["wins"]
    assert (
        "beats self-moa at equal tokens: accuracy +6.0 points (95% interval +1.2 to +10.8; "
        in (said(turned)["wins"])
    )
    assert "Holm p < 0.001" in said(ahead)["wins"]


def test_an_invalid_comparison_is_neither_won_nor_lost():
    for difference in (0.3, -0.3):
        row = INVALID | comparison("self-moa", difference, 0.0001, valid=False,
                                   why_invalid="Not at equal tokens: it spent 60%.")  # fmt: skip
        by_kind = said(row)
        assert "The comparison with self-moa is invalid. Not at equal tokens" in by_kind["invalid"]
        assert "These figures are not a result" in by_kind["invalid"]
        assert (
            "No comparison was made at equal tokens: all of them are invalid." in by_kind["invalid"]
        )
        assert {"wins", "loses"} & set(by_kind) == set()


def test_nothing_is_significant():
    by_kind = said(comparison("single-long", 0.04, 0.02, 0.12), comparison("self-moa", 0.0, 1.0))
    assert "do not differ significantly at equal tokens after Holm's correction" in by_kind["open"]
    assert "takes about 1,240 questions" in by_kind["open"]
    assert "No comparison at equal tokens is significant: this run does not show" in by_kind["open"]
    assert {"wins", "loses"} & set(by_kind) == set()


def test_one_loss_is_said_first_and_silences_the_sentence_over_all():
    rows = [comparison("self-moa", 0.06, 0.01), comparison("self-consistency", -0.06, 0.01)]
    result = findings(results(comparisons=rows))
    assert (result[0].kind, "self-consistency" in result[0].text) == ("loses", True)
    assert not any("No comparison" in finding.text for finding in result)


def test_a_reference_row_decides_nothing():
    by_kind = said(comparison("single", 0.2, 0.0001))
    assert by_kind["reference"].startswith(
        "Against single, a reference row outside the equal-token"
    )
    assert {"wins", "loses"} & set(by_kind) == set()
    assert "compared with no other arm at equal tokens" in by_kind["open"]


def test_the_placebo_must_lose():
    assert "loses, as it should" in said(comparison("swarm-shuffled", 0.2, 0.001))["note"]
    for difference, p in ((0.01, 0.6), (-0.2, 0.001)):
        by_kind = said(comparison("swarm-shuffled", difference, p))
        assert "does not lose, so nothing shows that the drafts matter" in by_kind["warning"]


def test_experts_that_help_and_hurt_are_named():
    rows = [
        comparison("swarm-minus:creative", 0.1, 0.001),
        comparison("swarm-minus:memory", -0.1, 0.001),
    ]
    assert said(*rows)["note"] == (
        "Of 2 leave-one-out comparisons 2 are valid; the brain is worse without creative and it"
        " is better without memory."
    )


def test_pairwise_verdicts_count_by_who_won():
    row = comparison("self-moa", 0.0, 0.01) | {
        "metric": "pairwise",
        "difference": None,
        "wins": {"a": 12, "b": 30, "tie": 18, "unparsed": 1},
    }
    lost, turned = said(row)["loses"], said(row | {"first": "self-moa", "second": "swarm"})
    assert "loses to self-moa at equal tokens: pairwise verdicts difference unknown" in lost
    assert "(won 12, lost 30, tied 18, unreadable 1; Holm p" in lost
    assert "(won 30, lost 12, tied 18, unreadable 1; Holm p" in turned["wins"]


def test_an_ungraded_run_says_so():
    plain = arm("swarm", 0.5, 100, None) | {"accuracy": None}
    assert said(arms=[plain], judge=None)["warning"].startswith(
        "Ungraded: no judge was named. Scores are unknown (—), not 0."
    )
    only = plain | {"answered": 0, "simulated": 40}
    assert "every answer is simulated" in said(arms=[only])["warning"]
    written = summary(EMPTY | {"arms": [plain]})
    assert "| — (ungraded: no judge) |" in written
    assert "Ungraded" in written


def test_a_judge_to_doubt_is_said():
    judging = results()["judging"] | {"self_judged": True}
    warning = said(judging=judging)["warning"]
    assert "The judge is the answering model itself" in warning
    assert "prefers the answer shown first" in warning
