"""The Markdown summary."""

from __future__ import annotations

from swarm_brain.evals.report import summary
from tests.evals.report.report_data import EMPTY, arm, results


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
