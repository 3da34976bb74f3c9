"""The page in a real browser, before the real server. Skipped where there is no Chromium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import CHROMIUM
from tests.fakes import DEFAULTS, Endpoint, Script, endpoint
from tests.integration.serve.process import Served, serve

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

LATENCY = 0.05  # seconds of a scripted reply
# What is lit, in which order: the attribute that the picture shows a state by.
WATCH = """
window.lit = [];
new MutationObserver((records) => records.forEach(({ target }) => {
  if (target.dataset && target.dataset.light)
    window.lit.push([target.dataset.expert, target.dataset.light]);
})).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-light"] });
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
"""


@dataclass
class Watched:
    """One visit: the page, every address it asked for, and everything it complained of."""

    page: Any
    server: Served
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> Any:
        """The page, when its picture stands."""
        self.page.goto(f"{self.server.url}{path}")
        self.page.wait_for_selector("[data-expert]")
        return self.page

    def ask(self, question: str) -> Any:
        """The page with a question on its way."""
        self.page.locator("#question").fill(question)
        self.page.keyboard.press("Enter")
        return self.page

    def answer(self, seconds: float = 30) -> str:
        """The provenance of the answer, when it is there."""
        given = self.page.locator("[data-provenance]")
        given.wait_for(timeout=seconds * 1000)
        return str(given.get_attribute("data-provenance"))

    def light(self, expert: str) -> str:
        """How an expert looks."""
        return str(self.page.locator(f"[data-expert={expert}]").get_attribute("data-light"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.integration)
        if CHROMIUM is None:
            item.add_marker(pytest.mark.skip(reason="no Chromium on the PATH to open the page in"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def scripted() -> Iterator[Endpoint]:
    with endpoint(Script(), LATENCY) as running:
        yield running


@pytest.fixture(scope="session")
def server(scripted: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all; its model is the scripted endpoint."""
    with serve(tmp_path_factory.mktemp("page"), model_url=scripted.url) as running:
        yield running


@pytest.fixture
def says(scripted: Endpoint) -> Iterator[dict[str, Any]]:
    """What the experts say; what a test changes ends with it."""
    scripted.script.requests.clear()
    yield scripted.script.says
    scripted.script.says.clear()
    scripted.script.says.update(DEFAULTS)


@pytest.fixture
def hold(says: dict[str, Any]) -> Iterator[Any]:
    """Lets an expert's reply wait until it is released: hold("creative") gives the release."""
    releases: list[threading.Event] = []

    def held(expert: str) -> threading.Event:
        release, said = threading.Event(), says[expert]
        releases.append(release)
        says[expert] = lambda request: (release.wait(30), said)[1]
        return release

    yield held
    for release in releases:
        release.set()


@pytest.fixture
def visit(browser: Any, server: Served) -> Iterator[Any]:
    """Visits that may complain of nothing, and ask nobody but our server."""
    visits: list[Watched] = []

    def opened(at: Served = server, **options: Any) -> Watched:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        page = browser.new_context(**options).new_page()
        page.set_default_timeout(20_000)
        page.add_init_script(WATCH)
        watched = Watched(page, at)
        page.on("request", lambda request: watched.asked.append(request.url))
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        page.on("console", lambda said: _heard(watched, said))
        visits.append(watched)
        return watched

    yield opened
    for watched in visits:
        watched.page.context.close()
        assert watched.complaints == []
        assert [url for url in watched.asked if not url.startswith(watched.server.url)] == []


def _heard(watched: Watched, said: Any) -> None:
    if said.type in ("error", "warning"):
        watched.complaints.append(said.text)
