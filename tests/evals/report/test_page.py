"""The report page: one file, no network, and hostile answers as text."""

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

from swarm_brain.evals.report import render
from swarm_brain.evals.report.elements import Html, clean, el
from swarm_brain.evals.report.plots import _apart
from tests.evals.report.report_data import (
    EMPTY,
    HOSTILE,
    answer,
    arm,
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
    result = Page(path.read_text(encoding="utf-8"))
    assert result.open == []
    return result


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
    shown = page(results(), tmp_path)
    for words in ("What it shows", "Return on tokens", "Read the verdicts with care",
                  "Abstaining pays at an agreement of 0.33", "no price to divide by",
                  "woken by", "✓ correct", "✗ wrong", "? no answer extracted", "! error",
                  "simulated, not scored", "rubric 0.50", "not judged"):  # fmt: skip
        assert words in shown.text, words
    assert shown.values("data-filter") == ["all", "disagree", "wrong", "behind"]
    assert shown.values("class").count("plot") == 3


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
    assert [result.name for result in path.parent.iterdir()] == ["report.html"]


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
    shown = page(odd, tmp_path)
    assert shown.values("class").count("plot") == 4
    assert shown.text.count("日本 $\\frac") >= 3


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
