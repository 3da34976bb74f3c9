"""The dependencies that get installed: all extras together, and the core alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.integration.processes import REPO

ROOT = "swarm-brain"
EXTRAS = (
    "embedded", "huggingface", "memory", "postgres", "evals", "server", "studio", "pictures",
    "aegra", "dev",
)  # fmt: skip
HEAVY = {
    "torch", "transformers", "accelerate", "gguf", "xllamacpp", "llama-cpp-python", "numpy",
    "wordllama", "langchain-huggingface", "langgraph-api", "langgraph-cli",
    "langgraph-runtime-inmem", "starlette", "uvicorn", "fastapi", "grpcio", "pytest", "mypy",
}  # fmt: skip


def closure(extras: Iterable[str]) -> tuple[dict[str, str], set[str]]:
    """Name to version of everything that is needed and here; names of what is not here."""
    found: dict[str, str] = {}
    missing: set[str] = set()
    todo = [(ROOT, extra) for extra in ("", *extras)]
    seen = set(todo)
    while todo:
        name, extra = todo.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            missing.add(name)
            continue
        found[name] = distribution.version
        for line in distribution.requires or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                steps = [(canonicalize_name(wanted.name), e) for e in ("", *wanted.extras)]
                todo += [step for step in steps if step not in seen]
                seen.update(steps)
    return found, missing


def pinned() -> dict[str, str]:
    """Name to version as constraints.txt states it for this interpreter."""
    pins = {}
    for line in (REPO / "constraints.txt").read_text().splitlines():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            pins[canonicalize_name(requirement.name)] = specifier.version
    return pins


def differing(versions: dict[str, str]) -> dict[str, tuple[str, str | None]]:
    """What is not at its pinned version; a local label such as +cpu is no difference."""
    pins = pinned()
    return {
        name: (version, pins.get(name))
        for name, version in versions.items()
        if name != ROOT and Version(version).public != pins.get(name)
    }


def pip(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *words],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.timeout(270)
def test_all_extras_install_together_under_the_constraints(tmp_path: Path):
    """By what is installed, where every extra is; else by what pip would install."""
    declared = set(metadata.metadata(ROOT).get_all("Provides-Extra") or [])
    assert declared == set(EXTRAS)
    versions, missing = closure(EXTRAS)
    if missing:
        report = tmp_path / "report.json"
        everything = f".[{','.join(EXTRAS)}]"
        pip("install", "--dry-run", "--ignore-installed", "-q", "-c", "constraints.txt",
            "--report", report, everything)  # fmt: skip
        listed: Any = json.loads(report.read_text())["install"]
        versions = {canonicalize_name(i["metadata"]["name"]): i["metadata"]["version"]
                    for i in listed}  # fmt: skip
    for name in ("torch", "transformers", "xllamacpp", "wordllama", "langgraph-api", "pytest"):
        assert name in versions
    assert differing(versions) == {}


def test_what_is_installed_is_at_its_pinned_version_and_consistent():
    versions, _ = closure(EXTRAS)
    assert len(versions) > 100
    assert differing({n: v for n, v in versions.items() if n != "setuptools"}) == {}
    assert "No broken requirements found" in pip("check")


def test_core_alone_needs_no_torch_no_llama_and_no_web_server():
    needed, missing = closure(())
    assert not missing
    assert needed.keys() & HEAVY == set()
    assert {"langgraph", "langchain-openai", "typer"} <= needed.keys()
    with_extras, _ = closure(("embedded", "studio"))
    assert {"xllamacpp", "langgraph-api"} <= with_extras.keys()  # so the walk does find them
