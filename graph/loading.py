"""Load topologies: read the YAML file and the prompts, then check them.

A topology is a YAML file (see topologies/eight.yaml). It is the only place that names edges.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from swarm_brain import prompts, strict_yaml
from swarm_brain.graph.checks import check
from swarm_brain.graph.errors import TopologyError
from swarm_brain.graph.state import BEGIN, FINISH
from swarm_brain.graph.topology import Expert, Topology

__all__ = ["load"]

Entry = Mapping[str, object]  # what the YAML file says about one expert

FOLDER = Path(__file__).parent / "topologies"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def load(name_or_path: str | Path = "eight") -> Topology:
    """Load and check a topology: a name from `graph/topologies`, or a YAML file.

    A file may say `extends: eight` and state only what it adds or changes. A prompt is looked up in
    `prompts/` beside the file, then beside the file, then likewise for the file it extends, then
    among the shipped ones. Shipped topologies are loaded once per process, other files each time.
    Raises TopologyError, which names the file and the entry.
    """
    path = _find(name_or_path)
    return _shipped(path.name) if path.parent == FOLDER else _load(path)


@cache
def _shipped(file: str) -> Topology:
    return _load(FOLDER / file)


def _load(path: Path) -> Topology:
    entries, folders = _entries(path, seen=())
    if not entries:
        raise TopologyError(path.name, "no experts: state at least one under `experts:`")
    experts = {name: _expert(path.name, name, entry, folders) for name, entry in entries.items()}
    source = "" if path.parent == FOLDER else str(path.resolve())
    topology = Topology(name=path.stem, experts=experts, source=source)
    check(topology, path.name)
    return topology


def _find(name_or_path: str | Path) -> Path:
    """Return the file of a topology. Raises TopologyError if there is none."""
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise TopologyError(str(path), "no such file")
        return path
    shipped = FOLDER / f"{name_or_path}.yaml"
    if len(path.name) > 100 or not shipped.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yaml")))
        raise TopologyError(
            str(name_or_path), f"no such topology. Shipped: {known}. A file's name ends in .yaml"
        )
    return shipped


def _read(path: Path) -> dict[str, Any]:
    """Return the file's mapping. Raises TopologyError if it is not a topology."""
    try:
        document = strict_yaml.read(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TopologyError(path.name, f"not YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise TopologyError(path.name, f"cannot be read: {error.strerror}") from None
    if not isinstance(document, dict) or not isinstance(document.get("experts", {}), dict):
        raise TopologyError(path.name, "expected a mapping with a mapping `experts:` in it")
    if unknown := set(document) - {"experts", "extends"}:
        raise TopologyError(path.name, f"unknown keys: {', '.join(sorted(map(str, unknown)))}")
    return document


def _entries(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Entry], tuple[Path, ...]]:
    """Return each expert's entry, and the folders to search for prompts."""
    path = path.resolve()
    if path in seen:
        raise TopologyError(path.name, "extends itself")
    document = _read(path)
    merged: dict[str, Entry] = {}
    folders: tuple[Path, ...] = ()
    if "extends" in document:
        parent = str(document["extends"])
        beside = path.parent / parent
        merged, folders = _entries(_find(beside if beside.is_file() else parent), (*seen, path))
    for name, entry in (document.get("experts") or {}).items():
        if not isinstance(entry, dict):
            raise TopologyError(path.name, f"expert {name}: expected a mapping")
        merged[name] = {**merged.get(name, {}), **entry}
    return merged, (path.parent, *folders)


def _expert(where: str, name: str, entry: Entry, folders: tuple[Path, ...]) -> Expert:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in {BEGIN, FINISH}:
        raise TopologyError(where, f"expert {name!r}: not a name (letters, digits, underscore)")
    if own := {"name", "prompt"} & set(entry):
        raise TopologyError(
            where, f"expert {name}: {min(own)}: not stated here; the prompt is the file {name}.md"
        )
    try:
        prompt = prompts.load(name, [place for f in folders for place in (f / "prompts", f)])
    except (FileNotFoundError, ValueError) as error:
        raise TopologyError(where, f"expert {name}: {error}") from None
    try:
        return Expert.model_validate({**entry, "name": name, "prompt": prompt})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}, got {item['input']!r}"
            for item in error.errors(include_url=False)
        )
        raise TopologyError(where, f"expert {name}: {problems}") from None
