"""Dockerfile, compose.yaml and docs/deploy.md: what can be known of them without Docker."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from swarm_brain.config import VARIABLES
from swarm_brain.version import __version__

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = ("serve", "aegra", "worker")
DOCKERFILE = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
LINES = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if line[:1].isupper()]
GUIDE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
SECRET = re.compile(r"(?i)(password|secret|token|api_?key|license_?key)\b")


def stages() -> dict[str, tuple[str, list[list[str]]]]:
    """Each stage's name: what it is made from, and its instructions."""
    found: dict[str, tuple[str, list[list[str]]]] = {}
    for word, rest in LINES:
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            found[name] = (image, [])
        else:
            found[list(found)[-1]][1].append([word, rest])
    return found


def chain(name: str) -> list[list[str]]:
    """All instructions of a stage and of the stages below it."""
    below, own = stages()[name]
    return (chain(below) if below in stages() else []) + own


def said(name: str, word: str) -> list[str]:
    return [rest for instruction, rest in chain(name) if instruction == word]


# ---- Dockerfile


@pytest.mark.parametrize("image", ["serve", "aegra"])
def test_an_image_runs_as_nobody_and_says_whether_it_is_healthy(image):
    assert said(image, "USER") == ["10001"]
    assert len(said(image, "HEALTHCHECK")) == 1
    assert all(rest.startswith("[") for rest in said(image, "CMD"))  # else PID 1 is a shell
    assert said(image, "EXPOSE") == ["8000"]


def test_packages_are_pinned_by_the_lock():
    installs = [rest for name in stages() for rest in said(name, "RUN") if "pip install" in rest]
    assert installs
    assert all("-c /constraints.txt" in rest and "--no-cache-dir" in rest for rest in installs)


def test_images_are_of_a_version():
    images = [made_from for made_from, _ in stages().values() if made_from not in stages()]
    images += [service["image"] for service in SERVICES.values()]
    for image in images:
        name, _, tag = image.partition(":")
        assert tag[:1].isdigit(), f"{name} of no version"
    for image in images:
        if image.startswith("swarm-brain"):
            assert image.endswith(f":{__version__}")


def test_no_build_takes_a_secret():
    for word, rest in LINES:
        assert word not in ("ENV", "ARG") or not SECRET.search(rest), rest


def test_what_a_dockerfile_copies_is_there_and_nothing_else_is_sent():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    ignored = [line for line in lines if line and line[0] not in "#!"]
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in ignored
    for word, rest in LINES:
        if word == "COPY" and not rest.startswith("--from"):
            *sources, _ = shlex.split(rest)
            assert all(source in kept and (ROOT / source).exists() for source in sources)
    for path in (".env", ".git", ".venv", ".venv-cluster", "results"):
        assert not any(fnmatch.fnmatch(path, keep) for keep in kept)


def test_the_image_of_aegra_has_every_file_that_langgraph_json_names():
    _, instructions = stages()["aegra"]
    copied = [source for word, rest in instructions if word == "COPY"
              and not rest.startswith("--from") for source in shlex.split(rest)[:-1]]  # fmt: skip
    settings = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))
    named = [settings["graphs"]["brain"]["path"], settings["auth"]["path"], settings["http"]["app"]]
    for path in named:
        assert path.removeprefix("./").split("/")[0] in copied, path


def test_extras_of_an_image_exist():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for _, instructions in stages().values():
        for word, rest in instructions:
            if word == "ARG":
                for extra in rest.removeprefix("EXTRAS=").split(","):
                    assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


# ---- compose.yaml


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_restarts_and_its_state_is_known(name):
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["profiles"]
    if name in OURS:
        target = service["build"]["target"]
        assert said(target, "HEALTHCHECK")
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
    else:
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_bound_to_loopback(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_what_is_scaled_binds_no_port_and_waits_for_the_tables():
    assert "ports" not in SERVICES["worker"]
    assert SERVICES["worker"]["depends_on"] == {"aegra": {"condition": "service_healthy"}}
    assert SERVICES["aegra"]["environment"]["WORKER_COUNT"] == 0


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_from_the_env_file(name):
    for variable, value in SERVICES[name].get("environment", {}).items():
        assert not SECRET.search(variable) or re.fullmatch(r"\$\{\w+:-\}", value)
        assert not re.search(r"://\w+:[^$@/]+@", str(value)), "a password in an address"


def test_every_variable_that_the_owner_sets_is_explained():
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    for variable in [*re.findall(r"\$\{(\w+)", text), "LANGGRAPH_CLOUD_LICENSE_KEY"]:
        assert variable in VARIABLES or f"`{variable}`" in GUIDE, variable


def test_volumes_are_declared():
    used = {mount.partition(":")[0] for s in SERVICES.values() for mount in s.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_a_worker_may_end_its_runs_before_it_is_killed():
    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > 30


# ---- one langgraph.json


def test_langgraph_json_has_nothing_that_a_server_would_refuse():
    """In store.index Aegra takes a provider, LangGraph's server a path: so neither is there."""
    told = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))
    assert "store" not in told
    assert not (ROOT / "aegra.json").exists()  # Aegra would prefer it


def test_what_langgraph_json_names_is_in_the_image_that_reads_it():
    """Aegra does not start without the app, and lets everybody in where it finds no sign-in."""
    named = re.findall(r'"\./([^"]+):\w+"', (ROOT / "langgraph.json").read_text(encoding="utf-8"))
    copied = [shlex.split(rest)[0] for rest in said("aegra", "COPY") if rest[:6] != "--from"]
    assert len(named) == 3
    for path in named:
        assert any(path.startswith(f"{folder}/") for folder in copied), path


def test_the_guide_names_the_shipped_cap():
    assert f"`N_JOBS_PER_WORKER` {SERVICES['worker']['environment']['N_JOBS_PER_WORKER']}" in GUIDE
