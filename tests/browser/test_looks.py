"""How the page looks and who can use it: phone, dark, without motion, by keyboard, with keys."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.integration.processes import REPO
from tests.integration.serve.process import serve

HARD = "Why is the subject what it is, and what follows for the object?"
AXE = REPO / "swarm_brain/page/node_modules/axe-core/axe.min.js"
PHONE = {"width": 360, "height": 740}
SERIOUS = """
async () => (await axe.run(document)).violations.map((found) =>
  `${found.id}: ${found.nodes.map((node) => node.target).join(" | ")}`)
"""


def brightness(page) -> int:
    """Of the page's ground, 0 to 765."""
    return page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        ".reduce((sum, part) => sum + part)"
    )


def test_the_policy_is_strict_and_nothing_is_asked_of_others(visit, server):
    policy = httpx.get(server.url).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["frame-ancestors"]) == ("'none'", "'none'")
    assert {rules[part] for part in ("script-src", "style-src", "connect-src")} == {"'self'"}
    visit = visit()
    page = visit.open()
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/'}))"
    )
    page.wait_for_timeout(200)
    assert any("policy" in said for said in visit.complaints)  # so a complaint would be seen
    visit.complaints.clear()
    visit.asked[:] = [url for url in visit.asked if ":9/" not in url]


def test_on_a_phone_nothing_is_wider_than_the_screen(visit, says):
    visit = visit(viewport=PHONE, has_touch=True)
    page = visit.open()
    visit.ask(HARD)
    assert visit.answer() == "full"
    page.locator("[data-expert=creative]").tap()
    page.get_by_role("button", name="Settings").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    boxes = [box.bounding_box() for box in page.locator("[data-expert]").all()]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"] for box in boxes)


def test_dark_follows_the_system_and_the_button(visit):
    visit = visit(color_scheme="dark")
    page = visit.open()
    assert brightness(page) < 150
    page.get_by_role("button", name="Light theme").click()
    assert brightness(page) > 600
    page.reload()
    assert brightness(page) > 600


def test_who_wants_no_motion_sees_none(visit, says, hold):
    visit = visit(reduced_motion="reduce")
    page = visit.open()
    hold("creative")
    visit.ask(HARD)
    page.wait_for_selector("[data-expert=creative][data-light=running]")
    assert page.evaluate("document.getAnimations().length") == 0


def test_experts_are_reached_by_arrow_keys_and_read_by_enter(visit, says):
    visit = visit()
    page = visit.open()
    visit.ask(HARD)
    assert visit.answer() == "full"
    page.locator("[data-expert=perception] .touch").focus()
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    here = page.evaluate("document.activeElement.closest('[data-expert]')?.dataset.expert")
    assert here in ("reasoning", "creative")
    page.keyboard.press("Enter")
    expect(page.locator(f"[data-one={here}]")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("[data-one]")).to_have_count(0)
    assert "full" in page.get_by_role("status").inner_text()


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core: run npm ci in swarm_brain/page")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit, says, scheme):
    says["creative"] = (401, {}, "no")
    visit = visit(color_scheme=scheme, reduced_motion="reduce")
    page = visit.open()
    visit.ask(HARD)
    visit.answer()
    page.evaluate(AXE.read_text())
    assert page.evaluate(SERIOUS) == []
    page.locator("[data-expert=reasoning]").click()
    page.get_by_role("button", name="Edit and run on").click()
    page.get_by_role("button", name="Settings").click()
    assert page.evaluate(SERIOUS) == []
    page.get_by_role("button", name="Threads").click()
    assert page.evaluate(SERIOUS) == []


def test_a_key_is_asked_for_and_kept_for_the_tab_alone(visit, scripted, tmp_path: Path):
    import hashlib

    key = "sb-test-of-the-page"
    digest = hashlib.sha256(key.encode()).hexdigest()
    settings = tmp_path / "swarm-brain.toml"
    settings.write_text(f'[keys.ada]\nsha256 = "{digest}"\n')
    with serve(tmp_path, model_url=scripted.url, SWARM_BRAIN_CONFIG=str(settings)) as locked:
        watched = visit(locked)
        page = watched.page
        page.goto(locked.url)
        page.get_by_label("Key").fill("wrong")
        page.get_by_role("button", name="Open").click()
        page.get_by_role("alert").wait_for()
        page.get_by_label("Key").fill(key)
        page.get_by_role("button", name="Open").click()
        page.wait_for_selector("[data-expert]")
        watched.ask("What is the subject?")
        assert watched.answer() == "full"
        assert key not in page.url
        kept = "[JSON.stringify({...localStorage}), document.cookie, location.href].join()"
        assert key not in page.evaluate(kept)
        assert "ada" in page.locator(".owner").inner_text()
        page.get_by_role("button", name="Forget key").click()
        page.get_by_label("Key").wait_for()
        assert key not in page.evaluate("JSON.stringify({...sessionStorage})")
        watched.complaints.clear()  # the browser itself logs the status 401
