"""Past runs on the page: replayed, forked, paused, cut short, resumed, deleted."""

from __future__ import annotations

import httpx
from playwright.sync_api import expect

HARD = "Why is the subject what it is, and what follows for the object?"


def slide(page, key: str, times: int = 1) -> None:
    slider = page.get_by_label("Step", exact=True)
    slider.focus()
    for _ in range(times):
        page.keyboard.press(key)


def test_a_past_run_is_replayed_step_by_step(visit, says):
    first = visit()
    first.open()
    first.ask(HARD)
    assert first.answer() == "full"
    address = first.page.url
    visit = visit()
    page = visit.open("/" + address.split("/")[-1])
    assert visit.answer() == "full"
    slide(page, "Home")
    assert {visit.light(name) for name in ("perception", "reasoning", "synthesis")} == {"resting"}
    expect(page.locator("[data-provenance]")).to_have_count(0)
    slide(page, "ArrowRight")
    assert (visit.light("perception"), visit.light("reasoning")) == ("ok", "called")
    assert page.get_by_label("Step", exact=True).get_attribute("aria-valuetext") == "step 1"
    edge = page.locator('[data-edge="attention>creative"]')
    assert edge.get_attribute("data-state") == "fired"
    slide(page, "ArrowRight", 2)
    assert (visit.light("synthesis"), visit.light("meta_cognitive")) == ("ok", "called")
    slide(page, "End")
    assert visit.answer() == "full"


def test_a_fork_runs_on_with_other_words_and_is_seen_live(visit, says, scripted, hold):
    visit = visit()
    page = visit.open()
    visit.ask(HARD)
    assert visit.answer() == "full"
    synthesis = hold("synthesis")
    scripted.script.requests.clear()
    page.locator("[data-expert=creative]").click()
    page.get_by_role("button", name="Edit and run on").click()
    page.get_by_label("What creative says at step 2 instead").fill("Entirely else.\nVerdict: 7")
    page.get_by_role("button", name="Run on").click()
    page.wait_for_selector("[data-expert=synthesis][data-light=running]")
    assert visit.light("creative") == "ok"
    assert page.locator("[data-provenance]").count() == 0
    synthesis.set()
    assert visit.answer() == "full"
    assert scripted.script.askers[0] == "synthesis"
    assert "Entirely else." in scripted.script.of("synthesis")[0]["user"]
    expect(page.get_by_label("Run of this thread").locator("option")).to_have_count(2)
    page.locator("[data-expert=creative]").click()
    assert "Entirely else." in page.locator("[data-one=creative]").inner_text()
    page.get_by_label("Run of this thread").select_option(index=0)
    page.locator("[data-expert=creative]").click()
    assert "other side" in page.locator("[data-one=creative]").inner_text()


def test_a_paused_run_is_answered(visit, says, scripted):
    visit = visit()
    page = visit.open()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("pause_before").fill("synthesis")
    visit.ask(HARD)
    pause = page.get_by_role("group", name="Decide about synthesis")
    pause.wait_for()
    assert visit.light("synthesis") == "paused"
    page.reload()
    pause.wait_for()
    pause.get_by_role("button", name="Edit").click()
    pause.get_by_label("What it is shown instead").fill("Only this is shown.")
    pause.get_by_role("button", name="Ask with this").click()
    assert visit.answer() == "full"
    assert scripted.script.of("synthesis")[-1]["user"].strip() == "Only this is shown."
    assert visit.light("reasoning") == "ok"


def test_a_cancelled_run_is_resumed_without_paying_twice(visit, says, scripted, hold):
    visit = visit()
    page = visit.open()
    synthesis = hold("synthesis")
    visit.ask(HARD)
    page.wait_for_selector("[data-expert=synthesis][data-light=running]")
    page.get_by_role("button", name="Cancel").click()
    resume = page.get_by_role("button", name="Resume")
    resume.wait_for()
    assert visit.light("synthesis") == "stopped"
    synthesis.set()
    resume.click()
    assert visit.answer() == "full"
    assert len(scripted.script.of("reasoning")) == 1


def test_leaving_the_page_ends_the_run(visit, says, scripted, hold, server):
    visit = visit()
    page = visit.open()
    reasoning = hold("reasoning")
    visit.ask(HARD)
    page.wait_for_selector("[data-expert=reasoning][data-light=running]")
    thread = page.url.split("#thread=")[1]
    page.goto("about:blank")
    reasoning.set()
    page.wait_for_timeout(1500)
    rows = httpx.get(f"{server.url}/brain/threads").json()
    assert next(row["unfinished"] for row in rows if row["id"] == thread)
    assert scripted.script.of("synthesis") == []


def test_threads_are_listed_opened_and_deleted_by_keyboard(visit, says):
    visit = visit()
    page = visit.open()
    visit.ask("Which subject is to be deleted?")
    assert visit.answer() == "full"
    page.get_by_role("button", name="New thread").click()
    expect(page.locator("[data-provenance]")).to_have_count(0)
    page.get_by_role("button", name="Threads").focus()
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="Threads")
    line = drawer.get_by_role("button", name="Which subject is to be deleted? ").first
    line.focus()
    page.keyboard.press("Enter")
    assert visit.answer() == "full"
    page.get_by_role("button", name="Threads").click()
    delete = drawer.get_by_role("button", name="Delete the thread: Which subject").first
    delete.click()
    delete.click()
    expect(page.locator("[data-provenance]")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
