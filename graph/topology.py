"""The topology: the experts, their waking edges and what they hear. Data only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

from swarm_brain.graph.kinds import KINDS, Kind, Traits
from swarm_brain.graph.state import BEGIN, Effort

__all__ = ["Edge", "Expert", "Kind", "Topology"]

Experts = Annotated[Mapping[str, "Expert"], AfterValidator(MappingProxyType), PlainSerializer(dict)]


class Edge(BaseModel):
    """A waking edge, stated at its target.

    It fires if weight x salience x gate >= threshold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: str = Field(alias="from")
    weight: float = Field(1.0, ge=0, le=1)
    effort: Literal["low", "high", "any"] = "any"

    def counts(self, effort: Effort | None) -> bool:
        """Return whether the edge exists at this effort. None means at any effort."""
        return effort is None or self.effort in ("any", effort)


class Expert(BaseModel):
    """One LLM role: `kind` decides how its reply is used, the prompt how it thinks."""

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
    def traits(self) -> Traits:
        """The traits of its kind."""
        return KINDS[self.kind]

    @property
    def role(self) -> str:
        """The role, from the first line of the prompt."""
        return self.prompt.splitlines()[0].lstrip("# ").strip()


class Topology(BaseModel):
    """A checked table of experts, in the order of the file."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    experts: Experts
    source: str = ""  # the file, unless it is a shipped one: how a saved run finds it again

    def __hash__(self) -> int:
        """Hash by content, so that decisions about its edges can be cached."""
        return hash(self.hash)

    @cached_property
    def levels(self) -> Mapping[str, int]:
        """The first step in which each expert can run, from 1."""
        levels: dict[str, int] = {}
        pending = dict(self.experts)
        while pending:
            ready = [
                name
                for name, expert in pending.items()
                if all(e.source == BEGIN or e.source in levels for e in expert.woken_by)
            ]
            for name in ready:
                sources = (e.source for e in pending.pop(name).woken_by)
                levels[name] = 1 + max(levels.get(source, 0) for source in sources)
        return MappingProxyType(levels)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of experts, edges and prompts, to compare with a saved run's."""
        return hashlib.sha256(self.model_dump_json(exclude={"name", "source"}).encode()).hexdigest()

    def of_kind(self, *kinds: Kind) -> list[Expert]:
        """Return the experts of these kinds, in the order of the file."""
        return [expert for expert in self.experts.values() if expert.kind in kinds]

    @property
    def synthesis(self) -> Expert:
        """The expert that joins the drafts."""
        return self.of_kind("synthesis")[0]

    @property
    def gated(self) -> list[Expert]:
        """The experts that a gate can keep from waking."""
        return [expert for expert in self.experts.values() if expert.gated]

    @property
    def soloist(self) -> Expert:
        """The expert that answers alone: the first proposer without a gate."""
        return next(expert for expert in self.of_kind("proposer") if not expert.gated)

    def answering(self, max_steps: int) -> Expert:
        """Return the expert that writes the answer: synthesis, or alone the soloist."""
        return self.soloist if max_steps == 1 else self.synthesis

    def reached(self, effort: Effort) -> set[str]:
        """Return the experts that waking edges lead to at this effort, if all fire."""
        return self.downstream(BEGIN, effort) - {BEGIN}

    def downstream(self, start: str, effort: Effort | None = None) -> set[str]:
        """Return all experts that waking edges reach from `start`, including `start`."""
        reached, frontier = {start}, [start]
        while frontier:
            for target in self.targets(frontier.pop(), effort):
                if target.name not in reached:
                    reached.add(target.name)
                    frontier.append(target.name)
        return reached

    def targets(self, source: str, effort: Effort | None = None) -> list[Expert]:
        """Return the experts that have a waking edge from `source` at this effort."""
        return [
            expert
            for expert in self.experts.values()
            if any(edge.source == source and edge.counts(effort) for edge in expert.woken_by)
        ]
