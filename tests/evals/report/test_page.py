"""The report: one file and no network, hostile answers as text, sentences that are true."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from swarm_brain.evals.report import render, summary
from swarm_brain.evals.report.elements import Html, clean, el
from swarm_brain.evals.report.findings import findings
from swarm_brain.evals.report.plots import _apart
from tests.evals.report.report_data import (
    EMPTY,
    HOSTILE,
    INVALID,
    answer,
    arm,
    comparison,
    odd_questions,
    results,
)

VOID = {"meta", "link", "br", "wbr", "input", "img"}
LINKS = {"src", "href", "xlink:href", "action", "formaction", "poster", "srcset", "background"}


class Page(HTMLParser):
    """Everything a browser would act on, and the text it would show."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.blocks: dict[str, list[str]] = {"style": [], "script": []}
        self.shown: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        self.blocks.get(inside, self.shown).append(data)

    @property
    def text(self) -> str:
        return "".join(self.shown)

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


def page(data: dict[str, Any], tmp_path: Path) -> Page:
    path = tmp_path / "report.html"
    render(data, path)
    found = Page(path.read_text(encoding="utf-8"))
    assert found.open == []
    return found


def nulled(value: Any) -> Any:
    """The same shape with every figure and text unknown."""
    if isinstance(value, dict):
        return {key: nulled(inner) for key, inner in value.items()}
    return [nulled(inner) for inner in value] if isinstance(value, list) else None


def hostile(value: Any) -> Any:
    """The same shape with hostile text in place of every text and of one arm's key."""
    if isinstance(value, dict):
        return {key.replace("self-moa", HOSTILE): hostile(v) for key, v in value.items()}
    if isinstance(value, list):
        return [hostile(inner) for inner in value]
    return HOSTILE if isinstance(value, str) else value


MANY = results(
    arms=[arm(f"arm-{n}", n / 80, 50 * n + 10, 0.9) for n in range(70)],
    levels=[{"level": 1, "name": "one", "arms": {f"arm-{n}": {"n": 3} for n in range(70)}}],
)
PAGES = {
    "whole": results(),
    "empty": EMPTY,
    "nothing at all": {},
    "all null": nulled(results()),
    "every key null": dict.fromkeys(results()),
    "many arms": MANY,
    "hostile": hostile(results(questions=odd_questions())),
}


@pytest.fixture(scope="module", params=PAGES)
def any_page(request, tmp_path_factory) -> Page:
    return page(PAGES[request.param], tmp_path_factory.mktemp("page"))


def test_nothing_is_fetched_from_anywhere(any_page):
    links = [value for _, name, value in any_page.attributes if name in LINKS]
    assert links
    assert all(link.startswith("#") or link == "data:," for link in links)
    texts = ("data-value", "aria-label", "id")
    inside = [v for _, name, v in any_page.attributes if "url(" in v and name not in texts]
    assert all(re.fullmatch(r"url\(#[\w.-]+\)", value) for value in inside)
    style = "".join(any_page.blocks["style"])
    assert "url(" not in style
    assert "@import" not in style
    assert {"img", "iframe", "object", "embed", "base", "form"} & set(any_page.tags) == set()


def test_nothing_runs_but_the_page_s_own_script(any_page):
    assert [name for _, name, _ in any_page.attributes if name.startswith("on")] == []
    assert any_page.values("style") == []
    assert (any_page.tags.count("script"), any_page.tags.count("style")) == (1, 1)
    policy = any_page.values("content")[0]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for block in any_page.blocks.values():
        digest = hashlib.sha256("".join(block).encode()).digest()
        assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_ids_are_unique_and_references_lead_somewhere(any_page):
    ids = any_page.values("id")
    assert len(ids) == len(set(ids))
    inside = re.findall(r"url\(#([^)]+)\)", " ".join(any_page.values("clip-path")))
    links = [link[1:] for link in any_page.values("href") if link.startswith("#")]
    assert set(inside + links + any_page.values("aria-labelledby")) <= set(ids)


def test_tables_and_scrolling_regions_are_for_keyboards_too(any_page):
    scrolling = any_page.values("class").count("scroll")
    assert scrolling == 0 or any_page.values("role").count("region") >= scrolling
    assert set(any_page.values("scope")) <= {"row", "col"}
    heads = [name for tag, name, _ in any_page.attributes if tag == "th"]
    assert heads.count("scope") == any_page.tags.count("th")
    assert any_page.values("lang") == ["en"]


def test_hostile_answers_are_shown_as_they_are(tmp_path):
    shown = page(results(questions=odd_questions()), tmp_path).text
    assert shown.count(clean(HOSTILE)) >= 10
    assert "NUL:␀" in shown
    assert "[U+202E]gnisrever[U+202C]" in shown
    assert "\u202e" not in shown
    assert "50,000 characters" in shown


def test_only_built_markup_is_markup():
    assert el("b", "<i>", Html("<u>"), ["&"], None, title='"><x') == (
        '<b title="&quot;&gt;&lt;x">&lt;i&gt;<u>&amp;</b>'
    )
    assert el("p", "a", hidden=True, data_x=None, lang=False) == "<p hidden>a</p>"
    assert clean("a\r\nb\rc\td\x9f") == "a\nb\nc\td\ufffd"


def test_every_section_is_there_and_counts_are_said_in_words(tmp_path):
    found = page(results(), tmp_path)
    for words in ("What it shows", "Return on tokens", "Read the verdicts with care",
                  "Abstaining pays at an agreement of 0.33", "no price to divide by",
                  "woken by", "✓ correct", "✗ wrong", "? no answer extracted", "! error",
                  "simulated, not scored", "rubric 0.50", "not judged"):  # fmt: skip
        assert words in found.text, words
    assert found.values("data-filter") == ["all", "disagree", "wrong", "behind"]
    assert found.values("class").count("plot") == 3


def test_what_is_unknown_is_a_dash_with_its_reason(tmp_path):
    unknown = arm("swarm", 0.5, 100, None) | {
        "accuracy": None, "tokens_per_question": None, "cost_usd": None,
        "input_tokens": math.nan,
    }  # fmt: skip
    shown = page(EMPTY | {"arms": [unknown]}, tmp_path).text
    for reason in ("ungraded: no judge", "usage not reported", "no allocation", "price unknown"):
        assert f"—{reason}" in shown
    assert "0.0%" not in shown
    assert "$0" not in shown
    simulated = unknown | {"answered": 0, "simulated": 9}
    assert "—simulated, not scored" in page(EMPTY | {"arms": [simulated]}, tmp_path).text


def test_the_same_results_make_the_same_file(tmp_path):
    for name in ("one.html", "two.html"):
        render(results(questions=[]), tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_a_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "report.html"
    render(EMPTY, path)
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        render(results(), path)
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]


def test_no_plotting_library_is_loaded_before_a_plot_is_drawn():
    code = "import sys, evals.report; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_labels_keep_their_distance_and_stay_near():
    assert _apart([0.9, 0.5, 0.1], 0.1, 1, 0) == pytest.approx([0.9, 0.5, 0.1])
    assert _apart([0.5, 0.5, 0.5], 0.1, 1, 0) == pytest.approx([0.6, 0.5, 0.4])
    assert _apart([1, 1, 0], 0.1, 1, 0) == pytest.approx([1, 0.9, 0])


@pytest.mark.filterwarnings("error")
def test_names_in_any_script_and_odd_figures_are_drawn(tmp_path):
    nothing = {"estimate": 0, "low": 0, "high": 0}
    odd = results(
        arms=[arm("日本 $\\frac", 0.0, 0, 0.0) | {"accuracy": nothing, "quality": nothing}],
        returns=[{"expert": "العربية", "per_1000": nothing, "quality": None, "tokens": None}],
        allocated_tokens=0,
    )
    found = page(odd, tmp_path)
    assert found.values("class").count("plot") == 4
    assert found.text.count("日本 $\\frac") >= 3


# The sentences


def said(*compared: dict[str, Any], **changes: Any) -> dict[str, str]:
    """Findings by verdict, joined."""
    found = findings(results(comparisons=list(compared), **changes))
    kinds = {finding.verdict for finding in found}
    return {k: " | ".join(f.text for f in found if f.verdict == k) for k in kinds}


def test_the_swarm_loses():
    found = said(comparison("self-consistency", -0.05, 0.004, 0.016))
    assert found["loses"] == (
        "The swarm loses to self-consistency at equal tokens: accuracy −5.0 points"
        " (95% interval −9.8 to −0.2; Holm p = 0.016; 118 questions)."
    )
    assert "wins" not in found
    assert "open" not in found


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
        found = said(row)
        assert "The comparison with self-moa is invalid. Not at equal tokens" in found["invalid"]
        assert "What was seen is no result" in found["invalid"]
        assert "No comparison was made at equal tokens: all are invalid." in found["invalid"]
        assert {"wins", "loses"} & set(found) == set()


def test_nothing_is_significant():
    found = said(comparison("single-long", 0.04, 0.02, 0.12), comparison("self-moa", 0.0, 1.0))
    assert "cannot be told apart at equal tokens after Holm's correction" in found["open"]
    assert "about 1,240 questions are needed" in found["open"]
    assert "No comparison at equal tokens is significant: this run does not show" in found["open"]
    assert {"wins", "loses"} & set(found) == set()


def test_one_loss_is_said_first_and_silences_the_sentence_over_all():
    rows = [comparison("self-moa", 0.06, 0.01), comparison("self-consistency", -0.06, 0.01)]
    found = findings(results(comparisons=rows))
    assert (found[0].verdict, "self-consistency" in found[0].text) == ("loses", True)
    assert not any("No comparison" in finding.text for finding in found)


def test_a_reference_row_decides_nothing():
    found = said(comparison("single", 0.2, 0.0001))
    assert found["reference"].startswith("Against single, a reference row outside the equal-token")
    assert {"wins", "loses"} & set(found) == set()
    assert "compared with no other arm at equal tokens" in found["open"]


def test_the_placebo_must_lose():
    assert "loses, as it must" in said(comparison("swarm-shuffled", 0.2, 0.001))["note"]
    for difference, p in ((0.01, 0.6), (-0.2, 0.001)):
        found = said(comparison("swarm-shuffled", difference, p))
        assert "does not lose, so nothing shows that the drafts matter" in found["warning"]


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


def test_the_summary_stands_alone():
    written = summary(results())
    lines = written.splitlines()
    assert lines[0] == "## Swarm against its baselines, made-up figures"
    assert lines[2].startswith("- The swarm loses to self-consistency at equal tokens")
    row = "| single (reference) | 118 of 120 | 68.3% (60.8% to 75.8%) | 512 | 13.0% | $0.2458 |"
    assert row in lines
    assert "```sh\npython -m evals.compare --dataset logic" in written
    assert "commit `0123abc`" in written
    assert "dataset `logic` (120 questions, hash `sha256:4f2a9c`)" in written
    assert summary(EMPTY).startswith("## Nothing")
    assert "No arm was run." in summary({})


def test_hostile_names_stay_in_their_cell():
    bad = arm("a|b\n# c <script> `x`", 0.5, 100, 1.0)
    command = "python -m x\n```\n<b>"
    written = summary(EMPTY | {"arms": [bad], "title": "x\n# y", "command": command})
    assert "| a\\|b # c &lt;script&gt; \\`x\\` | 118 of 120 |" in written
    assert "````sh\npython -m x\n```\n<b>\n````" in written
    assert written.startswith("## x # y\n")


def test_filters_tell_repetitions_and_rubrics_apart(tmp_path):
    def tags(**arms: Any) -> list[str]:
        question = {"id": "q", "question": "?", "answer": "A", "arms": arms}
        return page(EMPTY | {"questions": [question]}, tmp_path).values("data-tags")

    right, wrong = answer("A", "A", True), answer("B", "B", False)
    assert tags(swarm=[right], single=[right]) == []
    assert tags(swarm=[right], single=[wrong]) == ["disagree"]
    assert tags(swarm=[right, wrong], single=[right]) == ["disagree wrong"]
    assert tags(swarm=[wrong | {"provenance": "simulated"}], single=[right]) == []
    assert tags(swarm=[answer("?", None, None)], single=[right]) == []
    low = answer("", None, None, rubric=[False, True], score=0.5)
    high = answer("", None, None, rubric=[True, True], score=1.0)
    assert tags(swarm=[low], single=[high]) == ["disagree behind"]
    assert tags(swarm=[high], single=[high]) == []
