"""What a model says is untrusted: it is text, however long, and however fast it comes."""

from __future__ import annotations

import pytest

HARD = "Why is the subject what it is, and what follows for the object?"
HOSTILE = (
    '<img src=x onerror="window.hit = 1"> </script><script>window.hit = 2</script> '
    "[press](javascript:window.hit=3) <a href='http://evil.example/'>x</a> "
    "![p](http://evil.example/p.png) "
    '"><svg onload="window.hit=4"> \u202eesrever\u202c zero\u200bwidth'
)
# The longest time between two frames, in milliseconds: how long the page was frozen.
FROZEN = """
window.frozen = 0;
(function frame(before) {
  requestAnimationFrame((now) => {
    window.frozen = Math.max(window.frozen, now - before);
    frame(now);
  });
})(performance.now());
"""
WORST_FREEZE_MS = 1_500  # on a busy machine; a page that redraws all of it each time takes many


def test_hostile_words_stay_words(visit, says):
    for expert in says:
        says[expert] = HOSTILE
    says["attention"] = '{"creative": 0.9, "analytical": 0.9}'
    visit = visit()
    page = visit.open()
    visit.ask(HOSTILE)
    assert visit.answer() == "degraded"  # what the critic said is no JSON
    for expert in ("perception", "creative", "synthesis"):
        page.locator(f"[data-expert={expert}]").click()
        said = page.locator(f"[data-one={expert}]").inner_text()
        assert '<img src=x onerror="window.hit = 1">' in said
        assert "(javascript:window.hit=3)" in said
        assert "⟨U+202E⟩esrever" in said
        assert "zero⟨U+200B⟩width" in said
    page.get_by_role("button", name="Threads").click()
    assert page.evaluate("window.hit") is None
    assert page.locator("img, #page a:not(.skip), #page script, #page iframe").count() == 0
    assert "\u202e" not in page.locator("body").inner_text()


@pytest.mark.parametrize(
    ("words", "size"), [(10_000, 5), (1_000, 1_000)], ids=["10,000 words", "1 MB"]
)
def test_a_long_answer_does_not_freeze_the_page(visit, says, words, size):
    says["synthesis"] = " ".join(f"{n:0{size}}" for n in range(words))
    visit = visit(reduced_motion="reduce")
    page = visit.open()
    page.evaluate(FROZEN)
    visit.ask("What is the subject?")
    assert visit.answer(60) == "full"
    page.evaluate("new Promise(requestAnimationFrame)")
    assert page.evaluate("window.frozen") < WORST_FREEZE_MS
    more = page.get_by_role("button", name="Show all")
    if more.count():
        more.click()
    shown = page.locator(".result .words").evaluate("words => words.textContent")
    assert f"{words - 1:0{size}}" in shown
    assert page.evaluate("window.frozen") < WORST_FREEZE_MS
