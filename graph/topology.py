"""The topology: who the experts are, what wakes them and whom they hear. Loaded, checked, hashed.

A topology is a YAML file (see topologies/eight.yaml). It is the only place that names edges.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swarm_brain import prompts
from swarm_brain.graph.checks import check
from swarm_brain.graph.errors import TopologyError
from swarm_brain.graph.state import BEGIN, FINISH, Effort

Kind = Literal["intake", "gate", "memory", "proposer", "synthesis", "critic"]
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
FOLDER = Path(__file__).parent / "topologies"


class Edge(BaseModel):
    """A waking edge, stated at its target: it fires at weight x salience x gate >= threshold."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: str = Field(alias="from")
    weight: float = Field(1.0, ge=0, le=1)
    effort: Literal["low", "high", "any"] = "any"

    def counts(self, effort: Effort | None) -> bool:
        """Whether the edge exists at this effort; None asks for any."""
        return effort is None or self.effort in ("any", effort)


class Expert(BaseModel):
    """One LLM role. `kind` says what the node does with the reply; the prompt says how to think."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    prompt: str
    woken_by: tuple[Edge, ...] = ()
    hears: tuple[str, ...] = ()
    gated: bool = False
    model: str | None = None
    max_tokens: int | None = Field(None, ge=16)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    timeout: float | None = Field(None, gt=0)

    @property
    def role(self) -> str:
        """The prompt's first line, which names the role."""
        return self.prompt.splitlines()[0].lstrip("# ").strip()


class Topology(BaseModel):
    """A checked table of experts, in the order of the file."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    experts: dict[str, Expert]
    source: str = ""  # the file, unless it is a shipped one: how a saved run finds it again

    @cached_property
    def levels(self) -> dict[str, int]:
        """The wave in which each expert can run, from 1."""
        found: dict[str, int] = {}
        pending = dict(self.experts)
        while pending:
            ready = [
                name
                for name, expert in pending.items()
                if all(e.source == BEGIN or e.source in found for e in expert.woken_by)
            ]
            for name in ready:
                sources = (e.source for e in pending.pop(name).woken_by)
                found[name] = 1 + max(found.get(source, 0) for source in sources)
        return found

    @cached_property
    def hash(self) -> str:
        """SHA-256 over experts, edges and prompts; what a saved run is compared with."""
        return hashlib.sha256(self.model_dump_json(exclude={"name", "source"}).encode()).hexdigest()

    def of_kind(self, *kinds: Kind) -> list[Expert]:
        """The experts of these kinds, in the file's order."""
        return [expert for expert in self.experts.values() if expert.kind in kinds]

    @property
    def synthesis(self) -> Expert:
        """The one expert that joins the drafts."""
        return self.of_kind("synthesis")[0]

    @property
    def gated(self) -> list[Expert]:
        """The experts whose waking a gate expert can prevent."""
        return [expert for expert in self.experts.values() if expert.gated]

    @property
    def soloist(self) -> Expert:
        """Who answers when only one expert may: the first proposer that is never gated off."""
        return next(expert for expert in self.of_kind("proposer") if not expert.gated)

    def reached(self, effort: Effort) -> set[str]:
        """The experts to which waking edges lead at this effort, if all of them fire."""
        return self.downstream(BEGIN, effort) - {BEGIN}

    def downstream(self, start: str, effort: Effort | None = None) -> set[str]:
        """Everything that waking edges lead to from `start`, itself included."""
        found, frontier = {start}, [start]
        while frontier:
            for target in self.targets(frontier.pop(), effort):
                if target.name not in found:
                    found.add(target.name)
                    frontier.append(target.name)
        return found

    def targets(self, source: str, effort: Effort | None = None) -> list[Expert]:
        """The experts that have a waking edge from `source` (that counts at this effort)."""
        return [
            expert
            for expert in self.experts.values()
            if any(edge.source == source and edge.counts(effort) for edge in expert.woken_by)
        ]


def load(name_or_path: str | Path = "eight") -> Topology:
    """Load and check a topology: a name from `graph/topologies`, or a path to a YAML file.

    A file may say `extends: eight` and state only what it adds or changes. A prompt is looked for
    in `prompts/` beside the file, then beside the file, then likewise for what it extends, then
    among the shipped ones.
    Raises TopologyError, which names the file and the entry.
    """
    path = _find(name_or_path)
    entries, folders = _entries(path, seen=())
    if not entries:
        raise TopologyError(path.name, "no experts: state at least one under `experts:`")
    experts = {name: _expert(path.name, name, entry, folders) for name, entry in entries.items()}
    source = "" if path.parent == FOLDER else str(path.resolve())
    topology = Topology(name=path.stem, experts=experts, source=source)
    check(topology, path.name)
    return topology


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise TopologyError(str(path), "no such file")
        return path
    shipped = FOLDER / f"{name_or_path}.yaml"
    if len(path.name) > 100 or not shipped.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yaml")))
        raise TopologyError(
            str(name_or_path), f"no such topology; shipped are: {known}. A file ends in .yaml"
        )
    return shipped


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses double keys; YAML's own loses the first value in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping without double keys."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if double := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"{double[0]!r} is stated twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TopologyError(path.name, f"not YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise TopologyError(path.name, f"cannot be read: {error.strerror}") from None
    if not isinstance(document, dict) or not isinstance(document.get("experts", {}), dict):
        raise TopologyError(path.name, "expected a mapping with a mapping `experts:` in it")
    if unknown := set(document) - {"experts", "extends"}:
        raise TopologyError(path.name, f"unknown keys: {', '.join(sorted(map(str, unknown)))}")
    return document


def _entries(
    path: Path, seen: tuple[Path, ...]
) -> tuple[dict[str, dict[str, Any]], tuple[Path, ...]]:
    """Every expert's raw entry, and the folders of the file and of what it extends."""
    path = path.resolve()
    if path in seen:
        raise TopologyError(path.name, "extends itself")
    document = _read(path)
    merged: dict[str, dict[str, Any]] = {}
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


def _expert(where: str, name: str, entry: Mapping[str, Any], folders: tuple[Path, ...]) -> Expert:
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
