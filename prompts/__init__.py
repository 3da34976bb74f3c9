"""Prompts: one Markdown file per expert. The first line names the role."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent


def load(name: str, folders: Iterable[Path] = ()) -> str:
    """Return the prompt `<name>.md` from the first folder that has it.

    Raises FileNotFoundError if there is none, ValueError if it is empty.
    """
    looked = [*folders, FOLDER]
    for folder in looked:
        path = folder / f"{name}.md"
        if path.is_file():
            text = path.read_text(encoding="utf-8").strip()
            if not text:
                raise ValueError(f"the prompt {path} is empty")
            return text
    listed = ", ".join(str(folder) for folder in looked)
    raise FileNotFoundError(f"missing prompt {name}.md (looked in {listed})")


if __name__ == "prompts":  # a checkout's own folder
    from swarm_brain.checkout import alias

    alias(__name__)
