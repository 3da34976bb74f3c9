"""The report in a real browser: no errors, no requests, both themes, tables that sort."""

from __future__ import annotations

import re
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from swarm_brain.evals.report import render
from tests.chromium import CHROMIUM
from tests.evals.report.report_data import results

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH to open the report in"),
]
# Every request would fail at a closed port and be logged.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--proxy-server=127.0.0.1:9", "--enable-logging=stderr", "--v=0", "--hide-scrollbars",
)  # fmt: skip
TRIAL = """
<script>
document.addEventListener("DOMContentLoaded", () => setTimeout(() => {
  const head = document.querySelector("#arms thead th:nth-child(2)");
  head.querySelector("button").click();
  head.querySelector("button").click();
  document.querySelector("[data-filter=wrong]").click();
  const first = document.querySelector("#arms tbody th").textContent;
  document.title = `sorted:${head.getAttribute("aria-sort")}:${first}`;
}));
</script>
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    render(results(), path)
    return path


def chromium(url: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a profile of its own; what the page logs comes back on stderr."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, errors="replace")
    assert done.returncode == 0, done.stderr
    return done


def complaints(log: str) -> list[str]:
    """Console messages and failed requests."""
    return re.findall(r".*(?:CONSOLE|ERR_|Refused|violat).*", log)


def corner(path: Path) -> tuple[int, int, int]:
    """The colour of a screenshot's first pixel, and that the screenshot is not of one colour."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    depth, kind = content[24:26]
    assert (depth, kind) in ((8, 2), (8, 6))
    packed, place = b"", 8
    while place < len(content):
        size, name = struct.unpack(">I4s", content[place : place + 8])
        packed += content[place + 8 : place + 8 + size] if name == b"IDAT" else b""
        place += size + 12
    pixels = zlib.decompress(packed)
    assert len(set(pixels[: 400 * 1000])) > 20
    return pixels[1], pixels[2], pixels[3]


@pytest.mark.parametrize(("theme", "dark"), [("light", False), ("dark", True)])
def test_both_themes_are_drawn_without_a_complaint(report, tmp_path, theme, dark):
    picture = tmp_path / f"{theme}.png"
    done = chromium(
        f"{report.as_uri()}#theme={theme}", tmp_path, f"--screenshot={picture}",
        "--window-size=900,1200",
    )  # fmt: skip
    assert complaints(done.stderr) == []
    assert (max(corner(picture)) < 80) is dark


def test_the_script_runs_under_the_page_s_own_policy(report, tmp_path):
    done = chromium(report.as_uri(), tmp_path, "--dump-dom")
    assert complaints(done.stderr) == []
    heads = done.stdout.count('<th scope="col"')
    assert heads == done.stdout.count('class="sort"') > 20
    assert re.search(r'<button[^>]*id="theme"[^>]*>(Light|Dark) theme</button>', done.stdout)
    assert 'id="theme" hidden' not in done.stdout


def test_a_script_that_is_not_the_page_s_own_is_refused(report, tmp_path):
    """Which also shows that a complaint would be seen."""
    tampered = tmp_path / "tampered.html"
    tampered.write_text(report.read_text().replace("</main>", "</main><script>1</script>"))
    assert complaints(chromium(tampered.as_uri(), tmp_path, "--dump-dom").stderr)


def test_tables_sort_and_questions_are_filtered(report, tmp_path):
    """The policy is taken out here, so that the test's own script may press the buttons."""
    tried = tmp_path / "tried.html"
    page = re.sub(r"<meta http-equiv[^>]*>", "", report.read_text())
    tried.write_text(page.replace("</body>", f"{TRIAL}</body>"))
    shown = chromium(tried.as_uri(), tmp_path, "--dump-dom", "--virtual-time-budget=2000").stdout
    assert "<title>sorted:descending:self-consistency</title>" in shown
    left = re.search(r'id="shown"[^>]*>(\d+) of 42 shown<', shown)
    assert left
    wrong = re.findall(r'<details class="question"[^>]*data-tags="[^"]*wrong[^"]*"[^>]*>', shown)
    assert len(wrong) == int(left[1]) > 0
    assert not any("hidden" in tag for tag in wrong)
    assert shown.count('hidden=""') >= 42 - len(wrong)
