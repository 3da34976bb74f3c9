"""A question asked on the page: who lights up when, what is shown of it, and how it ends."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.integration.serve.process import serve

HARD = "Why is the subject what it is, and what follows for the object?"
INTAKE = ["attention", "memory", "perception"]
WEAK = '{"creative": 0.9, "analytical": 0.1}'


def began(page) -> list[str]:
    """Who began to write, in that order."""
    return [name for name, light in page.evaluate("window.lit") if light == "running"]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """A server whose model is the small embedded one."""
    from swarm_brain.models.embedded_weights import fetch

    fetch("smollm2-135m")
    folder = tmp_path_factory.mktemp("embedded")
    patient = {"OMP_WAIT_POLICY": "PASSIVE", "SWARM_BRAIN_MODEL": "embedded:smollm2-135m"}
    with serve(folder, **patient) as running:
        yield running


def test_the_embedded_model_answers_what_is_asked_by_keyboard(visit, embedded):
    visit = visit(embedded, reduced_motion="reduce")
    page = visit.open()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("max_tokens").fill("40")
    page.get_by_role("button", name="Settings").click()
    page.locator("h1").click()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "question":
            break
    page.keyboard.type("What is the nature of consciousness?")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert visit.answer(seconds=110) in ("full", "degraded")
    lit = began(page)
    assert sorted(lit[:3]) == INTAKE
    assert lit.index("synthesis") > lit.index("reasoning") > 2
    thread = page.url.split("#thread=")[1]
    saved = httpx.get(f"{embedded.url}/brain/threads/{thread}").json()["runs"][-1]
    shown = page.locator(".result .words").inner_text()
    assert re.findall(r"\w+", shown) == re.findall(r"\w+", saved["result"]["final_output"])
    numbers = page.locator(".activation").all_text_contents()
    assert len(numbers) >= 6
    assert all(0 <= float(number.removeprefix("rev. ")) <= 1 for number in numbers)


def test_experts_light_up_by_waves_and_edges_show_what_they_carry(visit, says, hold):
    says["attention"] = WEAK
    creative = hold("creative")
    visit = visit()
    page = visit.open()
    visit.ask(HARD)
    page.wait_for_selector("[data-expert=creative][data-light=running]")
    assert visit.light("analytical") == "gated"
    assert visit.light("meta_cognitive") == "resting"
    edge = page.locator('[data-edge="attention>creative"]')
    assert edge.get_attribute("data-state") == "live"
    creative.set()
    assert visit.answer() == "full"
    assert edge.get_attribute("data-state") == "fired"
    weak = page.locator('[data-edge="attention>analytical"]')
    assert weak.get_attribute("data-state") == "below"
    widths = [
        line.locator("path").first.evaluate("path => parseFloat(path.style.strokeWidth)")
        for line in (weak, edge)
    ]
    assert widths[0] < 1.5 < 3 < widths[1]
    lit = began(page)
    assert sorted(lit[:3]) == INTAKE
    assert sorted(lit[3:5]) == ["creative", "reasoning"]
    assert lit[5:] == ["synthesis", "meta_cognitive"]
    assert "gate 0.10" in str(
        page.locator("[data-expert=analytical] .touch").get_attribute("aria-label")
    )


def test_words_stream_workspace_fills_and_memory_is_shown(visit, says):
    visit = visit()
    page = visit.open()
    visit.ask("What is the subject of the first question?")
    assert visit.answer() == "full"
    page.get_by_role("button", name="New thread").click()
    visit.ask("What is the subject of the first question, then?")
    assert visit.answer() == "full"
    assert "What is the subject of the first question?" in page.locator(".recalled").inner_text()
    assert re.search(r"\d\.\d\d\n", page.locator(".recalled li").first.inner_text())
    assert page.locator(".workspace li").count() >= 3
    page.locator("[data-expert=reasoning]").click()
    assert "Step by step" in page.locator("[data-one=reasoning]").inner_text()
    page.keyboard.press("Escape")
    expect(page.locator("[data-one]")).to_have_count(0)
    spent = page.locator(".gauges div", has_text="tokens").locator("dd").inner_text()
    assert int(re.sub(r"\D", "", spent)) > 100


def test_a_revision_is_shown_with_what_it_replaced(visit, says):
    says["meta_cognitive"] = '{"defects": [{"quote": "all of this says", "problem": "vague"}]}'
    says["synthesis"] = [
        "The subject is what all of this says.\nVerdict: 42",
        "Better.\nVerdict: 42",
    ]
    visit = visit()
    page = visit.open()
    visit.ask(HARD)
    assert visit.answer() == "full"
    assert "Better." in page.locator(".result .words").inner_text()
    revision = page.locator('[data-edge="meta_cognitive>synthesis"]')
    assert revision.get_attribute("data-state") == "fired"
    page.locator("[data-expert=synthesis]").click()
    assert "all of this says" in page.locator(".saying.replaced").inner_text()


def test_a_failed_expert_and_a_simulated_answer_are_unmistakable(visit, says):
    says["creative"] = (401, {}, "no")
    visit = visit()
    page = visit.open()
    visit.ask(HARD)
    assert visit.answer() == "degraded"
    assert visit.light("creative") in ("failed", "simulated")
    page.get_by_role("button", name="New thread").click()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("model", exact=True).fill("simulation:")
    visit.ask(HARD)
    assert visit.answer() == "simulated"
    assert "SIMULATED" in page.locator(".provenance").inner_text()
    assert visit.light("synthesis") == "simulated"
    assert page.locator("[data-expert=synthesis] .hatch").count() == 1


def test_a_wrong_setting_is_told_and_the_question_is_not_lost(visit):
    visit = visit()
    page = visit.open()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("threshold").fill("7")
    assert "0 to 1" in page.locator(".setting .wrong").inner_text()
    page.get_by_label("threshold").fill("")
    page.get_by_label("pause_before").fill("nobody")
    visit.ask(HARD)
    problem = page.get_by_role("alert").filter(has_text="nobody")
    problem.wait_for()
    assert page.locator("#question").input_value() == HARD
    visit.complaints.clear()  # the browser itself logs the status 400
