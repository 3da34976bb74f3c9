"""README and docs: links lead somewhere, commands exist, and pictures are of the present code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from docs.picture import drawn
from swarm_brain.cli.app import app
from swarm_brain.graph.loading import load
from swarm_brain.picture.dark import DARK

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
CLI = typer.main.get_command(app)
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
COMMANDS = {
    "swarm-brain": r"swarm-brain( (?!serves|is |and |has |in )[^|;#`&]+)",
    "make": r"(?<![\w-])make ([a-z][a-z-]*)",
    "python -m": r"python -m ((?:swarm_brain|evals|benchmarks)[\w.]*)",
}


def code(text: str) -> Iterator[str]:
    """Lines of shell blocks, and what stands in backticks."""
    text = re.sub(r"\\\n\s*", " ", text)
    for block in re.findall(r"^ *```sh\n(.*?)```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from (" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose))


def found_in(text: str, kind: str) -> set[str]:
    return {found for line in code(text) for found in re.findall(COMMANDS[kind], line)}


def words_of(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def options_of(command: Any) -> set[str]:
    """The long options that a command takes."""
    if command.context_settings.get("allow_extra_args"):  # an experiment of the evals
        module = import_module(f"swarm_brain.evals.{command.name}")
        wrapped = typer.Typer()
        wrapped.command()(module.main)
        command = typer.main.get_command(wrapped)
    context = command.make_context(command.name, [], resilient_parsing=True)
    return {option for parameter in command.get_params(context) for option in parameter.opts}


def check(line: str) -> str | None:
    """What is wrong with the words after `swarm-brain`, if anything is."""
    command: Any = CLI
    words = words_of(line)
    while hasattr(command, "commands") and words and re.match(r"[a-z]", words[0]):
        if words[0] not in command.commands:
            return f"no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    options = [word.split("=")[0] for word in words if re.match(r"--\w", word)]
    unknown = [option for option in options if option not in {*options_of(command), "--help"}]
    return f"no option {unknown[0]}" if unknown else None


def test_the_readme_is_read_in_a_minute():
    assert len(README.read_text(encoding="utf-8").split()) <= 900


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", text)
    for link in (one or other for one, other in links):
        target, _, heading = link.partition("#")
        if link.startswith(("http://", "https://")):
            continue
        path = page.parent / target if target else page
        assert path.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings]
            assert heading in anchors, link


FILE = re.compile(r"`((?:graph|nodes|prompts|evals|swarm_brain|tests|docs|benchmarks)/\w[\w./-]*)`")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_exist(page: Path):
    missing = [name for name in FILE.findall(page.read_text("utf-8")) if not (ROOT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_exist_with_their_options(page: Path):
    text = page.read_text(encoding="utf-8")
    wrong = {line: check(line) for line in found_in(text, "swarm-brain")}
    assert {line: problem for line, problem in wrong.items() if problem} == {}
    assert found_in(text, "make") <= set(TARGETS)
    assert {name for name in found_in(text, "python -m") if find_spec(name) is None} == set()


def test_a_command_that_does_not_exist_is_noticed():
    assert check("asks 'Why?'") == "no command 'asks'"
    assert check("threads unfold ID") == "no command 'unfold'"
    assert check("ask 'Why?' --modle x") == "no option --modle"
    assert check("threads fork ID --step 2 --edit creative=draft.txt") is None
    text = README.read_text(encoding="utf-8")
    assert len(found_in(text, "swarm-brain")) >= 10
    assert {"ask", "test"} <= found_in(text, "make")


def test_the_tree_names_what_is_there():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (tree,) = re.findall(r"```\n(graph/ .*?)```", page, re.DOTALL)
    folder = ROOT
    for line in tree.splitlines():
        name, _, about = line.strip().partition(" ")
        if not line.startswith(" "):
            folder = ROOT / name
        path = folder / name if line.startswith(" ") else folder
        assert path.exists(), line
        for file in re.findall(r"\b[a-z_]+\.(?:py|yaml|md)\b|\b[a-z_]+/(?= )", about):
            places = (path, path.parent, folder, ROOT / "docs")
            assert any(list(place.glob(f"**/{file}")) for place in places if place.is_dir()), line


def test_the_example_of_an_expert_is_a_topology(tmp_path: Path):
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(example)
    (tmp_path / "ethical.md").write_text("# Expert: ethical (what is right)\nWeigh it.")
    assert len(load(tmp_path / "mine.yaml").experts) == 9


def test_the_drawn_graph_is_the_present_one():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert drawn(text) == text, "make picture"


def test_the_picture_of_the_run_is_one_run_in_two_schemes():
    light = (ROOT / "docs" / "run.svg").read_text(encoding="utf-8")
    for colour, other in DARK.items():
        light = light.replace(f'="{colour}"', f'="{other}"')
    assert light == (ROOT / "docs" / "run-dark.svg").read_text(encoding="utf-8")
    assert "full (complete)" in light
