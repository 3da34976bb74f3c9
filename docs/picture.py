"""Draw the graph into docs/architecture.md: `make picture`."""

from __future__ import annotations

import sys
from pathlib import Path

from swarm_brain.graph.brain import graph

PAGE = Path(__file__).parent / "architecture.md"
START, END = "<!-- picture -->", "<!-- end of picture -->"


def drawn(text: str) -> str:
    """Return the page's text with the current picture between its markers."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    picture = graph.get_graph().draw_mermaid().strip()
    return f"{before}{START}\n```mermaid\n{picture}\n```\n{END}{after}"


if __name__ == "__main__":
    now = PAGE.read_text(encoding="utf-8")
    if START not in now or END not in now:
        sys.exit(f"{PAGE} lacks the markers {START} and {END}")
    PAGE.write_text(drawn(now), encoding="utf-8")
