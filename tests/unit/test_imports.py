"""Imports go one way and in no circle, and importing does nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from swarm_brain.config import VARIABLES

ROOT = Path(__file__).parents[2]
PACKAGES = ("swarm_brain", "llm_swarm_brain")
LINKED = ("graph", "nodes", "prompts", "evals")  # their files stand at the top of the repository

# From the bottom to the top: a file imports from its own layer and the layers below it. A file
# belongs to the longest name that holds it.
LAYERS = (
    ("version", "checkout", "presets", "strict_yaml", "validation"),
    ("prompts",),
    ("graph",),
    ("cli.options",),
    (
        "observers",
        "config",
    ),
    ("database",),
    ("models", "calls", "spending"),
    ("memory",),
    ("nodes",),
    ("graph.brain",),
    ("threads",),
    ("remote",),
    ("runs",),
    ("assistants", "picture", "progress", "batch"),
    ("api",),
    ("server",),
    ("evals",),
    ("cli",),
)
EXPORTS = ("swarm_brain", "llm_swarm_brain")  # the packages themselves; they import on first use

VENDORS = ("openai", "langchain_openai", "langchain_huggingface", "langchain.chat_models",
           "transformers", "torch", "xllamacpp", "httpx", "genai_prices")  # fmt: skip
ROOMS_OF_VENDORS = ("swarm_brain.models", "swarm_brain.calls", "swarm_brain.spending")
LATE = ("openai", "transformers", "torch", "xllamacpp", "langchain_openai", "wordllama",
        "resvg_py", "genai_prices", "langchain_huggingface", "gguf")  # fmt: skip


def modules() -> dict[str, Path]:
    """Every module of ours by its name, each file once."""
    found = {}
    for package in (*PACKAGES, *LINKED):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(("swarm_brain", *parts) if package in LINKED else parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def within(module: str, rooms) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def layer_of(module: str) -> int:
    """The layer of the longest name in LAYERS that holds the module."""
    named = {f"swarm_brain.{name}": layer for layer, names in enumerate(LAYERS) for name in names}
    return named[max((name for name in named if within(module, [name])), key=len)]


def imported(name: str, path: Path, *, top_level: bool = False) -> set[str]:
    """Every module that a file imports, in functions too; relative names made absolute."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level else ast.walk(tree)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {inner if inner in MODULES else base for inner in names}
    return found


def test_the_parser_finds_what_is_imported(tmp_path):
    path = tmp_path / "sample.py"
    path.write_text(
        "from swarm_brain.graph import effort, brain as b\n"
        "from . import models\nfrom .calls import client\n"
        "def late():\n    import swarm_brain.api\n    from swarm_brain.graph.brain import graph\n"
    )
    assert imported("swarm_brain.sample", path) == {
        "swarm_brain.graph.effort",
        "swarm_brain.graph.brain",
        "swarm_brain.models",
        "swarm_brain.calls.client",
        "swarm_brain.api",
    }
    assert "swarm_brain.api" not in imported("swarm_brain.sample", path, top_level=True)


def ours(name: str) -> set[str]:
    """Our own modules that this one imports."""
    return {other for other in imported(name, MODULES[name]) if other in MODULES} - {name}


@pytest.mark.parametrize("name", sorted(set(MODULES) - set(EXPORTS)))
def test_imports_go_one_way(name):
    above = {other for other in ours(name) if layer_of(other) > layer_of(name)}
    assert above == set()


def test_a_package_is_imported_by_its_modules_only():
    """`from swarm_brain import X` is for users: inside, each thing has one home."""
    assert {name for name in MODULES if set(EXPORTS) & ours(name)} == set()


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Every group of modules that reach each other (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in edges[module]:
            if other not in order:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == order[module]:
            at = stack.index(module)
            found.append(sorted(stack[at:]))
            del stack[at:]

    for module in edges:
        if module not in order:
            visit(module)
    return [group for group in found if len(group) > 1]


def test_circles_are_found():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"d"}}
    assert circles(edges) == [["a", "b", "c"]]


def test_there_is_no_circle_of_imports():
    """Imports in functions and under TYPE_CHECKING count as well."""
    assert circles({name: ours(name) for name in MODULES}) == []


# A vendor's class is derived from here; the module itself is imported when its model is used.
DERIVED = ("swarm_brain.models.endpoint_chat",)


@pytest.mark.parametrize("name", sorted(set(MODULES) - set(DERIVED)))
def test_vendors_are_imported_late_and_only_by_models(name):
    if not within(name, ROOMS_OF_VENDORS):
        allowed = {"httpx"} if name == "swarm_brain.remote" else set()  # its server's client's
        assert {m for m in imported(name, MODULES[name]) if within(m, VENDORS)} <= allowed
    early = imported(name, MODULES[name], top_level=True)
    assert {module for module in early if within(module, VENDORS)} == set()


PROBE = """
import json, os, sys, threading
read = []
plain = os._Environ.__getitem__
os._Environ.__getitem__ = lambda self, key: (read.append(key), plain(self, key))[1]
before = dict(os.environ)
for name in sys.argv[1].split(","):
    __import__(name)
print(json.dumps({
    "modules": sorted(sys.modules),
    "read": read,
    "threads": [thread.name for thread in threading.enumerate()],
    "handlers": len(__import__("logging").getLogger().handlers),
    "changed": sorted(set(before.items()) ^ set(os.environ.items())),
}))
"""


def probe(*names: str) -> dict:
    """What importing these modules does, seen in an interpreter of its own."""
    command = [sys.executable, "-c", PROBE, ",".join(names)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_importing_the_brain_loads_no_vendor():
    seen = probe("swarm_brain.graph.brain")
    assert set(LATE) & set(seen["modules"]) == set()
    assert seen["threads"] == ["MainThread"]
    assert [name for name in VARIABLES if name in seen["read"]] == []


def test_importing_the_name_loads_nothing():
    seen = probe("swarm_brain")
    assert {"langgraph", "langchain_core", "pydantic", "swarm_brain.graph"} & set(
        seen["modules"]
    ) == set()


def test_importing_everything_does_nothing():
    late = (*DERIVED, *(name for name in MODULES if name.endswith("__main__")))
    seen = probe(*(name for name in MODULES if name not in late))
    assert {"torch", "transformers", "openai", "xllamacpp"} & set(seen["modules"]) == set()
    assert seen["threads"] == ["MainThread"]
    ours = {name for name in VARIABLES if not name.startswith("LANGSMITH_")}
    assert ours & set(seen["read"]) == set()
    assert (seen["handlers"], seen["changed"]) == (0, [])
