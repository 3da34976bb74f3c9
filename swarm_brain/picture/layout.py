"""Lay out a topology as boxes and arrows. Pure, plain data.

Levels are columns from left to right. Between two columns arrows first bend, then run straight into
their target, each at its own height with its label above it. An arrow that skips levels passes them
in a lane of its own. So no arrow crosses a box and no label covers another, whatever the topology.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

from swarm_brain.graph.state import BEGIN, FINISH
from swarm_brain.graph.topology import Topology
from swarm_brain.picture.columns import ordered, placed
from swarm_brain.picture.links import Link, LinkKind, links

# In units of an SVG; a letter of a label is about 5.6 wide, of a name 9.
MARGIN = 24.0
LEAST_WIDTH, MOST_WIDTH = 150.0, 300.0
LEAST_HEIGHT = 84.0  # a name, its kind, and two lines of figures
END_WIDTH, END_HEIGHT = 72.0, 36.0  # of begin and finish
GAP = 22.0  # between things of one column
LANE = 6.0
PORT = 19.0  # between arrows that enter one box: a line of text
BEND, MOST_BEND = 40.0, 200.0  # the zone in which arrows bend
STRAIGHT = 22.0  # before each box, besides the label
NAME_LETTER, LABEL_LETTER = 9.2, 5.9
ACTIVATION_LETTERS = 5  # an activation in bold
PULL: dict[LinkKind, float] = {"wakes": 4, "revision": 4, "ends": 4, "hears": 1, "entry": 0.2}

Labels = Literal["conditions", "activations", "none"]  # what there is room for on an arrow
Point = tuple[float, float]
Place = tuple[int, str, str]  # level, name, and for a lane the kind of what runs in it, else ""


@dataclass(frozen=True)
class Box:
    """A node: an expert, `begin` or `finish`. x, y: top left."""

    name: str
    kind: str
    gated: bool
    level: int
    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True)
class Arrow:
    """A connection; `points` are a start, then three per cubic curve.

    The label starts at `label_x` on the baseline `label_y` and may be `label_w` wide.
    """

    source: str
    target: str
    kind: LinkKind
    label: str
    points: tuple[Point, ...]
    label_x: float
    label_y: float
    label_w: float

    @property
    def path(self) -> str:
        """The `d` attribute of an SVG path."""
        return "M" + " ".join(
            ("C" if n % 3 == 1 else "") + f"{x:g},{y:g}" for n, (x, y) in enumerate(self.points)
        )


@dataclass(frozen=True)
class Picture:
    """A drawing of `width` by `height`, in the units of its boxes and arrows."""

    width: float
    height: float
    nodes: tuple[Box, ...]
    edges: tuple[Arrow, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON data: the fields, and each arrow's `path`."""
        edges = [{**asdict(edge), "path": edge.path} for edge in self.edges]
        return {**asdict(self), "edges": edges}


def layout(topology: Topology, labels: Labels = "conditions") -> Picture:
    """Place the nodes and edges of a topology."""
    levels = {BEGIN: 0, **topology.levels, FINISH: max(topology.levels.values()) + 1}
    return _Drawing(topology, levels, list(links(topology)), labels).picture()


class _Drawing:
    """A layout in progress: the items of each column, and their positions."""

    def __init__(
        self, topology: Topology, levels: Mapping[str, int], links: Sequence[Link], labels: Labels
    ) -> None:
        self._experts, self._levels, self._links = topology.experts, levels, links
        self._labels = labels
        ties = self._ties()
        self._columns = ordered(self._stocked(), ties)
        heights = {place: self._height(place) for column in self._columns for place in column}
        middles = placed(self._columns, ties, heights, GAP)
        top = min(middles[place] - heights[place] / 2 for place in middles)
        self._heights = heights
        self._middles = {place: round(y - top + MARGIN, 1) for place, y in middles.items()}
        self._starts, self._widths = self._across()

    def picture(self) -> Picture:
        """Return the boxes in the order of the topology, and the arrows of `links`."""
        last = max(self._levels.values())
        bottom = max(self._middles[place] + h / 2 for place, h in self._heights.items())
        return Picture(
            width=round(self._starts[last] + self._widths[last] + MARGIN, 1),
            height=round(bottom + MARGIN, 1),
            nodes=tuple(self._box(name) for name in self._levels),
            edges=tuple(self._arrow(link) for link in self._links),
        )

    def _route(self, link: Link) -> list[Place]:
        """Return the items that a link passes: lower end, lanes, higher end."""
        low, high = self._levels[link.low], self._levels[link.high]
        lanes = [(level, link.low, link.kind) for level in range(low + 1, high)]
        return [(low, link.low, ""), *lanes, (high, link.high, "")]

    def _stocked(self) -> list[list[Place]]:
        """Return the unsorted items of each column: boxes, then lanes."""
        columns: list[list[Place]] = [[] for _ in range(max(self._levels.values()) + 1)]
        boxes = [(level, name, "") for name, level in self._levels.items()]
        lanes = [place for link in self._links for place in self._route(link)[1:-1]]
        for place in dict.fromkeys([*boxes, *lanes]):
            columns[place[0]].append(place)
        return columns

    def _ties(self) -> dict[Place, dict[Place, float]]:
        ties: dict[Place, dict[Place, float]] = {}
        for link in self._links:
            for before, place in pairwise(self._route(link)):
                pulls = ties.setdefault(place, {})
                pulls[before] = pulls.get(before, 0) + PULL[link.kind]
        return ties

    def _height(self, place: Place) -> float:
        _, name, lane = place
        if lane:
            return LANE
        least = LEAST_HEIGHT if name in self._experts else END_HEIGHT
        return max(least, PORT * (len(self._ports(name)) + 1))

    def _ports(self, name: str) -> list[Link]:
        """Return the links that enter at the left, one per port."""
        entering = [link for link in self._links if link.high == name]
        heard = [link for link in entering if link.kind == "hears"]
        return [link for link in entering if link.kind != "hears"] + heard[:1]

    def _across(self) -> tuple[list[float], list[float]]:
        """Return the left edge and the width of each column."""
        starts, widths, x = [], [], MARGIN
        for level, column in enumerate(self._columns):
            names = [name for _, name, lane in column if not lane]
            x += self._bend(level) + self._straight(level) if level else 0
            longest = max(len(name) for name in names) * NAME_LETTER + 28
            width = min(MOST_WIDTH, max(LEAST_WIDTH, longest))
            widths.append(width if set(names) & set(self._experts) else END_WIDTH)
            starts.append(round(x, 1))
            x += widths[-1]
        return starts, widths

    def _bend(self, level: int) -> float:
        """Return the width in which arrows to this column bend; steep ones need more."""
        ends = [place for column in self._columns[level - 1 : level + 1] for place in column]
        heights = [self._middles[place] for place in ends]
        return min(MOST_BEND, BEND + (max(heights) - min(heights)) / 12)

    def _straight(self, level: int) -> float:
        """Return the width in which arrows run straight, under their labels."""
        if self._labels == "none":
            return STRAIGHT
        letters = [len(link.label) for link in self._links if self._levels[link.high] == level]
        shown = letters if self._labels == "conditions" else []
        return STRAIGHT + max([*shown, ACTIVATION_LETTERS]) * LABEL_LETTER

    def _box(self, name: str) -> Box:
        level = self._levels[name]
        place, expert = (level, name, ""), self._experts.get(name)
        return Box(
            name=name,
            kind=expert.kind if expert else name,
            gated=bool(expert and expert.gated),
            level=level,
            x=self._starts[level],
            y=round(self._middles[place] - self._heights[place] / 2, 1),
            w=round(self._widths[level], 1),
            h=round(self._heights[place], 1),
        )

    def _arrow(self, link: Link) -> Arrow:
        points, last = self._points(link), self._levels[link.high]
        straight = self._starts[last] - self._straight(last)
        enters = points[-1][1]
        return Arrow(
            source=link.source,
            target=link.target,
            kind=link.kind,
            label=link.label if self._labels == "conditions" else "",
            points=tuple(points[::-1] if link.back else points),
            label_x=round(straight + 2, 1),
            label_y=round(enters - 4, 1),
            label_w=round(self._straight(last) - STRAIGHT, 1),
        )

    def _points(self, link: Link) -> list[Point]:
        """Return the curves from the lower to the higher end."""
        route = self._route(link)
        x, y = self._starts[route[0][0]] + self._widths[route[0][0]], self._leaves(link)
        points = [(round(x, 1), y)]
        for place in route[1:]:
            level, _, lane = place
            start = self._starts[level]
            y = self._middles[place] if lane else self._enters(link)
            points += _curve(points[-1], (round(start - self._straight(level), 1), y))
            end = start + self._widths[level] if lane else start
            points += _curve(points[-1], (round(end, 1), y))
        return points

    def _leaves(self, link: Link) -> float:
        """Return the height at which a link leaves its lower end, by kind."""
        kinds: dict[LinkKind, list[float]] = {}
        for other in self._links:
            if other.low == link.low and other.kind != "entry":
                kinds.setdefault(other.kind, []).append(self._middles[self._route(other)[1]])
        ranked = sorted(kinds, key=lambda kind: sum(kinds[kind]) / len(kinds[kind]))
        kind = "wakes" if link.kind == "entry" else link.kind
        return self._port(link.low, ranked.index(kind), len(ranked))

    def _enters(self, link: Link) -> float:
        """Return the height at which a link enters its higher end, ordered by origin."""
        ports = self._ports(link.high)
        key: Callable[[Link], tuple[float, float]] = self._comes_from
        ranked = sorted(ports, key=key)
        mine = link if link in ports else next(port for port in ports if port.kind == "hears")
        return self._port(link.high, ranked.index(mine), len(ranked))

    def _comes_from(self, link: Link) -> tuple[float, float]:
        same = [other for other in self._links if other.high == link.high]
        heard = [other for other in same if other.kind == "hears"]
        group = heard if link.kind == "hears" else [link]
        middles = [self._middles[self._route(other)[-2]] for other in group]
        return sum(middles) / len(middles), PULL[link.kind]

    def _port(self, name: str, number: int, of: int) -> float:
        place = (self._levels[name], name, "")
        return round(self._middles[place] + PORT * (number - (of - 1) / 2), 1)


def _curve(start: Point, end: Point) -> list[Point]:
    """Return two controls and the end of a curve that starts and ends horizontally."""
    half = round((start[0] + end[0]) / 2, 1)
    return [(half, start[1]), (half, end[1]), end]
