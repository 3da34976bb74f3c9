"""Pictures: geometry that holds for any topology, and SVG that nothing can break."""

from __future__ import annotations

import json
import struct
from functools import partial
from itertools import combinations
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest
import resvg_py
from rich.cells import cell_len

from swarm_brain.graph.errors import ConfigError
from swarm_brain.graph.loading import load
from swarm_brain.graph.topology import Topology
from swarm_brain.picture.layout import Picture, layout
from swarm_brain.picture.overlay import course
from swarm_brain.picture.png import png
from swarm_brain.picture.svg import svg
from swarm_brain.runs.saved import ExpertStep, Run

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
    assert {kind for _, _, kind in drawn - stated} <= {"ends", "entry", "hears"}


def test_a_draft_that_does_not_wake_synthesis_is_drawn_reaching_it(tmp_path):
    into = {(e.source, e.kind) for e in layout(ninth(tmp_path)).edges if e.target == "synthesis"}
    assert ("ethical", "hears") in into
    assert ("creative", "hears") not in into  # it wakes it


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
    bare = layout(topology, "none")
    assert bare.width < layout(topology).width
    assert not any(edge.label for edge in bare.edges)


# -- SVG


NAMESPACE = {"s": "http://www.w3.org/2000/svg"}
HOSTILE = "</text><script>alert(1)</script>\"'&\x00\x1b[2J\u202e\ud800]]>\ufffe<!--"


def parsed(text: str) -> Element:
    """SVG as a browser would take it; fails if it is no XML, or would run or fetch anything."""
    root = fromstring(text.encode())
    for element in root.iter():
        assert element.tag.removeprefix("{http://www.w3.org/2000/svg}") in {
            "svg", "title", "desc", "defs", "marker", "g", "path", "rect", "text"
        }  # fmt: skip
        assert not [name for name in element.attrib if "href" in name or name.startswith("on")]
    return root


def words(root: Element) -> list[str]:
    return [element.text or "" for element in root.iterfind(".//s:text", NAMESPACE)]


def of_class(root: Element, name: str) -> list[Element]:
    return root.findall(f".//s:g[@class='{name}']", NAMESPACE)


def said(expert: str, woken_by, **more) -> ExpertStep:
    return {
        "expert": expert, "status": "ok", "woken_by": [{"from": a, "activation": b} for a, b in
        woken_by.items()], "content": "Words.", "model": "m", "tokens": 1234, "cost_usd": None,
        "latency_s": 2.34, "human": None, "error": None, **more,
    }  # fmt: skip


def a_run(**more) -> Run:
    """A revised run of the shipped topology: memory failed, creative gated off."""
    steps = [
        [
            said("perception", {"begin": 1.0}),
            said("attention", {"begin": 1.0}),
            said("memory", {"begin": 1.0}, status="failed", error=HOSTILE, tokens=None),
        ],
        [said("reasoning", {"attention": 1.0}), said("analytical", {"attention": 0.9})],
        [said("synthesis", {"reasoning": 0.72, "analytical": 0.85}, content=HOSTILE)],
        [said("meta_cognitive", {"synthesis": 0.81})],
        [said("synthesis", {"meta_cognitive": 1.0}, tokens=99)],
    ]
    skipped = {"name": "creative", "status": "skipped"}
    skipped["woken_by"] = [{"from": "attention", "activation": 0.12}]
    return {
        "run_id": "r", "question": HOSTILE, "date": "", "topology": "eight",
        "steps": [{"step": n, "experts": each} for n, each in enumerate(steps, 1)],
        "result": {"experts": [skipped]}, "usage": {}, "next": [], "paused": [], **more,
    }  # fmt: skip


def test_the_picture_of_the_shipped_topology(snapshot):
    assert svg(layout(load("eight")), "Topology eight", "8 experts in 4 levels") == snapshot


def test_any_topology_is_drawn_whole(topology):
    root = parsed(svg(layout(topology), "Topology", "facts"))
    shown = words(root)
    assert {name for name in topology.experts if len(name) < 20} <= set(shown)
    assert root.get("role") == "img"
    assert root.findtext("s:title", namespaces=NAMESPACE) == "Topology"
    assert "wakes" in root.findtext("s:desc", namespaces=NAMESPACE)


def test_hostile_words_and_names_are_only_text():
    eight = load("eight")
    expert = eight.experts["creative"].model_copy(update={"name": HOSTILE, "kind": HOSTILE})
    hostile = Topology(name=HOSTILE, experts={**eight.experts, HOSTILE: expert})
    run = a_run(next=[HOSTILE])
    root = parsed(svg(layout(hostile), HOSTILE * 9, HOSTILE, course(hostile, run)))
    text = " ".join(root.itertext())
    assert "<script>alert(1)</script>" in text
    assert not set("\x00\x1b\u202e\ufffe") & set(text)


def test_a_run_is_drawn_on_its_topology():
    root = parsed(svg(layout(load()), "Why?", "facts", course(load(), a_run())))
    shown = words(root)
    assert {"1,234 tokens, 2.3 s", "99 tokens, 2.3 s", "tokens unknown, 2.3 s"} <= {*shown}
    assert {
        "answered, revised",
        "gated off",
        "failed",
        "answered",
        "0.72",
        "0.85",
        "0.12",
        "revision",
    } <= {*shown}
    (revision,) = of_class(root, "revision")
    assert revision.find("s:path", NAMESPACE).get("stroke-width") == "3"
    thick = [
        element for element in root.iterfind(".//s:g/s:path", NAMESPACE)
        if element.get("stroke-width") == "3"
    ]  # fmt: skip
    # begin wakes three, attention two, two wake synthesis, the critic, the revision, finish.
    assert len(thick) == 10


def test_what_was_not_asked_and_what_comes_next_is_shown():
    run = a_run(steps=[], result=None, next=["perception"])
    shown = words(parsed(svg(layout(load()), "Why?", "", course(load(), run))))
    assert shown.count("not asked") == 7 + 1  # once in the legend
    assert shown.count("next") == 1 + 1


def test_an_entry_is_drawn_only_where_it_happened():
    assert of_class(parsed(svg(layout(load()), "", "")), "entry") == []
    short = a_run(steps=[{"step": 1, "experts": [said("reasoning", {"begin": 1.0})]}])
    assert len(of_class(parsed(svg(layout(load()), "", "", course(load(), short))), "entry")) == 1


@pytest.mark.parametrize("question", ["w" * 500, "意識" * 200, "a\nb\n" * 99, "", "🧑‍🚀" * 300])
def test_the_title_stays_on_its_line(question):
    picture = layout(load())
    title = words(parsed(svg(picture, question, "")))[0]
    assert cell_len(title) * 9.4 <= picture.width
    assert "\n" not in title


# -- PNG


def test_png_needs_its_extra(monkeypatch):
    monkeypatch.setattr("swarm_brain.picture.png.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"swarm-brain\[pictures\]"):
        png("<svg/>", 10, 10)


def test_a_png_without_words_is_refused(monkeypatch):
    plain = resvg_py.svg_to_bytes
    monkeypatch.setattr(resvg_py, "svg_to_bytes", partial(plain, skip_system_fonts=True))
    with pytest.raises(ConfigError, match="font"):
        png(svg(layout(load()), "", ""), 100, 100)


def test_a_very_high_picture_is_drawn_smaller():
    tall = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="24000"/>'
    data = png(tall, 20, 24_000)
    assert struct.unpack(">II", data[16:24]) == (10, 12_000)
