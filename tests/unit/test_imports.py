# ruff: noqa: E501
"""Imports go one way (design.md, section 4), and importing does nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from swarm_brain.models.settings import VARIABLES

ROOT = Path(__file__).parents[2]
PACKAGES = ("swarm_brain", "llm_swarm_brain")
LINKED = ("graph", "nodes", "prompts", "evals")  # their files stand at the top of the repository
PURE = ("swarm_brain.graph.state", "swarm_brain.graph.context", "swarm_brain.graph.topology", "swarm_brain.graph.propagation", "swarm_brain.graph.workspace",
        "swarm_brain.graph.errors", "swarm_brain.graph.effort", "swarm_brain.graph.checks", "swarm_brain.graph.form", "swarm_brain.graph.events")  # fmt: skip
BELOW_NODES = ("swarm_brain.prompts", "swarm_brain.database", "swarm_brain.models", "swarm_brain.memory",
               "swarm_brain.observing", *PURE)  # fmt: skip
TOP = (
    "swarm_brain.api",
    "swarm_brain.batch",
    "swarm_brain.picture",
    "swarm_brain.presets",
    "swarm_brain.remote",
    "swarm_brain.assistants",
    "swarm_brain.threads",
    "swarm_brain.cli",
    "swarm_brain.server",
    "swarm_brain.evals",
)

# What each room may import of ours. `swarm_brain` alone is its version.
ALLOWED = {
    "swarm_brain.prompts": ("swarm_brain.prompts",),
    "swarm_brain.graph": ("swarm_brain.prompts", *PURE),
    "swarm_brain.graph.brain": ("swarm_brain.nodes", *BELOW_NODES),
    "swarm_brain.nodes": ("swarm_brain.nodes", "swarm_brain", *BELOW_NODES),
    "swarm_brain.observing": (),
    "swarm_brain.database": ("swarm_brain.database", "swarm_brain.graph.errors"),
    "swarm_brain.models": ("swarm_brain.models", "swarm_brain.database", *PURE),
    "swarm_brain.memory": (
        "swarm_brain.prompts",
        "swarm_brain.memory",
        "swarm_brain.models",
        "swarm_brain.database",
        *PURE,
    ),
    "swarm_brain.api": (
        "swarm_brain.graph.brain",
        "swarm_brain.nodes",
        "swarm_brain",
        *BELOW_NODES,
    ),
    "swarm_brain.threads": (
        "swarm_brain.graph.brain",
        "swarm_brain.nodes",
        "swarm_brain",
        "swarm_brain.threads",
        *BELOW_NODES,
    ),
    "swarm_brain.batch": (
        "swarm_brain.graph.brain",
        "swarm_brain.nodes",
        "swarm_brain",
        "swarm_brain.remote",
        *BELOW_NODES,
    ),
    "swarm_brain.picture": ("swarm_brain.threads", *PURE),
    "swarm_brain.cli": (
        "swarm_brain.graph.brain",
        "swarm_brain.nodes",
        "swarm_brain",
        *TOP,
        *BELOW_NODES,
    ),
    "swarm_brain.server": (
        "swarm_brain.graph.brain",
        "swarm_brain.nodes",
        "swarm_brain",
        *TOP,
        *BELOW_NODES,
    ),
    "swarm_brain.presets": (),
    "swarm_brain.remote": BELOW_NODES,
    "swarm_brain.assistants": ("swarm_brain.presets", "swarm_brain.remote", *BELOW_NODES),
    "swarm_brain.evals": (
        "swarm_brain.graph.brain",
        "swarm_brain.nodes",
        "swarm_brain",
        *TOP,
        *BELOW_NODES,
    ),
    "swarm_brain": ("swarm_brain", "swarm_brain.api", "swarm_brain.graph.brain"),
    "llm_swarm_brain": ("swarm_brain.api",),
}
VENDORS = ("openai", "langchain_openai", "langchain_huggingface", "langchain.chat_models",
           "transformers", "torch", "xllamacpp", "httpx", "genai_prices")  # fmt: skip
LATE = ("openai", "transformers", "torch", "xllamacpp", "langchain_openai", "wordllama",
        "resvg_py", "genai_prices", "langchain_huggingface", "gguf")  # fmt: skip


def within(module: str, rooms) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def room_of(module: str) -> str:
    """The longest key of ALLOWED that holds the module."""
    return max((room for room in ALLOWED if within(module, [room])), key=len)


def modules() -> dict[str, Path]:
    found = {}
    for package in (*PACKAGES, *LINKED):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(("swarm_brain", *parts) if package in LINKED else parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


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
        "from swarm_brain.graph import effort, brain as b\nfrom . import models\nfrom .models import call\n"
        "def late():\n    import swarm_brain.api\n    from swarm_brain.graph.brain import graph\n"
    )
    assert imported("swarm_brain.sample", path) == {
        "swarm_brain.graph.effort",
        "swarm_brain.graph.brain",
        "swarm_brain.models",
        "swarm_brain.models.call",
        "swarm_brain.api",
    }
    assert "swarm_brain.api" not in imported("swarm_brain.sample", path, top_level=True)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_one_way(name):
    ours = {other for other in imported(name, MODULES[name]) if other.split(".")[0] in PACKAGES}
    room = room_of(name)
    version_only = {"swarm_brain.version", "swarm_brain.checkout"}
    allowed = [other for other in ALLOWED[room] if other != "swarm_brain"]
    if room in TOP:
        allowed.append(room)
    assert {other for other in ours - version_only if not within(other, allowed)} == set()


def test_swarm_brain_itself_gives_only_its_version():
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "swarm_brain":
                names = {alias.name for alias in node.names}
                packages = {other.split(".")[1] for other in MODULES if "swarm_brain." in other}
                assert names <= {"__version__", *packages}, name


# A vendor's class is derived from here; the module itself is imported when its model is used.
DERIVED = ("swarm_brain.models.chat",)


@pytest.mark.parametrize("name", sorted(set(MODULES) - set(DERIVED)))
def test_vendors_are_imported_late_and_only_by_models(name):
    if not within(name, ["swarm_brain.models"]):
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
