"""Pictures: geometry that holds for any topology, and SVG that nothing can break."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest

from graph.topology import Topology, load
from swarm_brain.picture.layout import Picture, layout

PROMPT = "# Expert: {} (test)\nDo it."


def written(folder: Path, proposers: int, *, intake: int = 1, critics: int = 1) -> Topology:
    """A topology of this many experts of each kind, and one synthesis."""
    entries = {f"intake_{n}": "kind: intake, woken_by: [{from: begin}]" for n in range(intake)}
    woken = ", ".join(f"{{from: {name}}}" for name in entries)
    heard = ", ".join(entries)
    drafts = [f"draft_{n}_{'long' * (n % 4)}" for n in range(proposers)]
    for name in drafts:
        entries[name] = f"kind: proposer, woken_by: [{woken}], hears: [{heard}]"
    woken = ", ".join(f"{{from: {name}, weight: 0.75}}" for name in drafts)
    entries["joined"] = f"kind: synthesis, woken_by: [{woken}], hears: [{heard}]"
    for n in range(critics):
        entries[f"critic_{n}"] = "kind: critic, woken_by: [{from: joined}], hears: [joined]"
    for name in entries:
        (folder / f"{name}.md").write_text(PROMPT.format(name))
    lines = [f"  {name}: {{{entry}}}" for name, entry in entries.items()]
    path = folder / "made.yaml"
    path.write_text("\n".join(["experts:", *lines]))
    return load(path)


def ninth(folder: Path) -> Topology:
    """The shipped topology with a ninth expert."""
    (folder / "ethical.md").write_text(PROMPT.format("ethical"))
    path = folder / "nine.yaml"
    path.write_text(
        "extends: eight\nexperts:\n  ethical:\n    kind: proposer\n    gated: true\n"
        "    woken_by: [{from: attention, effort: high}]\n    hears: [perception, memory]\n"
    )
    return load(path)


@pytest.fixture(params=["eight", "nine", "three", "forty", "chain"])
def topology(request: pytest.FixtureRequest, tmp_path: Path) -> Topology:
    made = {
        "eight": lambda: load("eight"),
        "nine": lambda: ninth(tmp_path),
        "three": lambda: written(tmp_path, 1, critics=0),
        "forty": lambda: written(tmp_path, 33, intake=4, critics=2),
        "chain": lambda: written(tmp_path, 2, intake=3, critics=3),
    }
    return made[request.param]()


def along(points, steps: int = 24):
    """Points along an arrow, close to one another."""
    at = points[0]
    for n in range(1, len(points), 3):
        one, two, end = points[n : n + 3]
        for step in range(1, steps + 1):
            t = step / steps
            yield tuple(
                (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
                for a, b, c, d in zip(at, one, two, end, strict=True)
            )
        at = end


def overlap(one, other) -> bool:
    (x, y, w, h), (left, top, wide, high) = one, other
    return x < left + wide and left < x + w and y < top + high and top < y + h


def box(node) -> tuple[float, float, float, float]:
    return node.x, node.y, node.w, node.h


def label_boxes(picture: Picture):
    return [
        (edge.label_x, edge.label_y - 9, edge.label_w, 11) for edge in picture.edges if edge.label
    ]


def test_nothing_overlaps_and_no_arrow_runs_through_a_box(topology):
    picture = layout(topology)
    assert {node.name for node in picture.nodes} == {"begin", *topology.experts, "finish"}
    assert not any(overlap(box(a), box(b)) for a, b in combinations(picture.nodes, 2))
    labels = label_boxes(picture)
    assert labels
    assert not any(overlap(a, b) for a, b in combinations(labels, 2))
    assert not any(overlap(a, box(node)) for a in labels for node in picture.nodes)
    for edge in picture.edges:
        for x, y in along(edge.points):
            assert 0 <= x <= picture.width
            assert 0 <= y <= picture.height
            for node in picture.nodes:
                inside = node.x < x < node.x + node.w and node.y < y < node.y + node.h
                assert not inside, (edge, node)


def test_arrows_join_their_ends(topology):
    picture = layout(topology)
    nodes = {node.name: node for node in picture.nodes}
    for edge in picture.edges:
        source, target = nodes[edge.source], nodes[edge.target]
        (x, y), (end_x, end_y) = edge.points[0], edge.points[-1]
        back = edge.kind == "revision"
        assert x == pytest.approx(source.x + (0 if back else source.w), abs=0.2)
        assert end_x == pytest.approx(target.x + (target.w if back else 0), abs=0.2)
        assert source.y < y < source.y + source.h
        assert target.y < end_y < target.y + target.h


def test_every_edge_of_the_topology_is_drawn(topology):
    drawn = {(edge.source, edge.target, edge.kind) for edge in layout(topology).edges}
    stated = {
        *((e.source, x.name, "wakes") for x in topology.experts.values() for e in x.woken_by),
        *((name, x.name, "hears") for x in topology.experts.values() for name in x.hears),
        *((x.name, topology.synthesis.name, "revision") for x in topology.of_kind("critic")),
    }
    assert stated <= drawn
    assert {kind for _, _, kind in drawn - stated} <= {"ends", "entry"}


def test_columns_are_levels_from_left_to_right(topology):
    picture = layout(topology)
    for node in picture.nodes:
        for other in picture.nodes:
            if node.level < other.level:
                assert node.x + node.w < other.x


def test_the_layout_is_plain_data_and_always_the_same(topology):
    told = layout(topology).as_json()
    assert json.loads(json.dumps(told)) == json.loads(json.dumps(layout(topology).as_json()))
    assert all(edge["path"].startswith("M") for edge in told["edges"])


def test_without_labels_the_columns_are_closer(topology):
    bare = layout(topology, labels=False)
    assert bare.width < layout(topology).width
    assert not any(edge.label for edge in bare.edges)
