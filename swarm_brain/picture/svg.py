"""Write a picture as SVG, escaping all names and texts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from rich.cells import cell_len, set_cell_size

from swarm_brain.graph.state import BEGIN, FINISH
from swarm_brain.picture.dark import darken
from swarm_brain.picture.layout import MARGIN, NAME_LETTER, Arrow, Box, Picture
from swarm_brain.picture.links import LinkKind
from swarm_brain.picture.overlay import STATUS, Course, Look

# By name, because the only sans-serif font that resvg falls back to is Arial.
FONT = (
    "Inter, 'Segoe UI', 'Helvetica Neue', Helvetica, Roboto, 'Noto Sans', 'DejaVu Sans', "
    "'Liberation Sans', 'Open Sans', Ubuntu, Cantarell, Arial, sans-serif"
)
INK, FAINT, PAPER = "#1f2430", "#5d6475", "#ffffff"
PALE, HEARD, WAKES, FIRED, REVISED = "#d3d7e0", "#a9b0bf", "#5b6b95", "#1d5fbf", "#b4531a"
HEAD, FOOT = 64.0, 44.0
LINE = 15.0
LETTER, LINE_LETTER, TITLE_LETTER = 5.8, 6.4, 9.4  # width of a letter of 11, 12 and 17 units
JOINERS = "\u200c\u200d"  # some scripts and emoji need them

# Fill and outline, by kind where there is no run, by status where there is one.
KINDS = {
    "intake": ("#e8f1fd", "#5b8fd0"),
    "gate": ("#fdf3dc", "#c4932c"),
    "memory": ("#e3f5f1", "#3f9c86"),
    "proposer": ("#f0ebfc", "#8468c7"),
    "synthesis": ("#e6f5e4", "#4f9a46"),
    "critic": ("#fdebe6", "#cc6f52"),
}
LOOKS = {
    "ok": ("#e6f5e4", "#4f9a46"),
    "simulated": ("#f6e9fb", "#9a4fb8"),
    "failed": ("#fde4e4", "#c43c3c"),
    "skipped": ("#f1f2f5", "#b5bac6"),
    "idle": ("#fafafc", "#dcdfe6"),
    "next": ("#fff4d6", "#c4932c"),
}
END = ("#f4f5f8", "#8a91a1")
ENDS = (BEGIN, FINISH)


def svg(
    picture: Picture, title: str, line: str, course: Course | None = None, *, dark: bool = False
) -> str:
    """Draw a picture with a title and a subtitle, and a run's course if any."""
    width, height = picture.width, picture.height + HEAD + FOOT
    root = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "role": "img",
            "aria-labelledby": "title desc",
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": f"{width:g}",
            "height": f"{height:g}",
            "font-family": FONT,
        },
    )
    SubElement(root, "title", {"id": "title"}).text = clean(title)
    SubElement(root, "desc", {"id": "desc"}).text = clean(described(picture, line, course))
    _heads(SubElement(root, "defs"))
    SubElement(root, "rect", {"width": "100%", "height": "100%", "rx": "10", "fill": PAPER})
    room = width - 2 * MARGIN
    _text(root, MARGIN, 32, cut(title, room, TITLE_LETTER), size=17, weight="600")
    _text(root, MARGIN, 53, cut(line, room, LINE_LETTER), size=12, fill=FAINT)
    plot = SubElement(root, "g", {"transform": f"translate(0 {HEAD:g})"})
    for edge in sorted(picture.edges, key=lambda edge: _fires(edge, course)):
        _arrow(plot, edge, course)
    for node in picture.nodes:
        _box(plot, node, course)
    _legend(root, height - 18, room, picture, course)
    if dark:
        darken(root)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def clean(text: str) -> str:
    """Remove characters that XML forbids or that reverse text."""
    return "".join(
        " " if c in "\n\r\t" else c
        for c in text
        if c in JOINERS or c in "\n\r\t" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Cn"}
    )


def cut(text: str, width: float, letter: float) -> str:
    """Return the part of a text that fits into a width, on one line."""
    text, room = " ".join(clean(text).split()), max(1, int(width / letter))
    return text if cell_len(text) <= room else set_cell_size(text, room - 1).rstrip() + "…"


def described(picture: Picture, line: str, course: Course | None) -> str:
    """Describe the picture in words, for screen readers."""
    if course is None:
        wakes = [f"{e.source} wakes {e.target}" for e in picture.edges if e.kind == "wakes"]
        return f"{line}. {'; '.join(wakes)}."
    fared = [f"{name} {', '.join(look.lines)}" for name, look in course.experts.items()]
    return f"{line}. {'; '.join(fared)}."


def _fires(edge: Arrow, course: Course | None) -> bool:
    if course is None or edge.kind == "hears":
        return False
    return course.ended if edge.kind == "ends" else (edge.source, edge.target) in course.fired


def _stroke(edge: Arrow, course: Course | None) -> tuple[str, float]:
    """Return the colour and width of an arrow."""
    if _fires(edge, course):
        return (REVISED if edge.kind == "revision" else FIRED), 3.0
    if course is not None:
        return PALE, 1.0
    colours: dict[LinkKind, str] = {"hears": HEARD, "revision": REVISED}
    return colours.get(edge.kind, WAKES), 1.0 if edge.kind == "hears" else 1.6


def _heads(defs: Element) -> None:
    """Add an arrowhead for each colour, since markers do not inherit it."""
    for colour in (PALE, HEARD, WAKES, FIRED, REVISED):
        marker = SubElement(
            defs,
            "marker",
            {
                "id": f"head-{colour[1:]}",
                "markerUnits": "userSpaceOnUse",
                "markerWidth": "11",
                "markerHeight": "9",
                "refX": "9.5",
                "refY": "4.5",
                "orient": "auto",
            },
        )
        SubElement(marker, "path", {"d": "M0,0.5 L10,4.5 L0,8.5 Z", "fill": colour})


def _arrow(plot: Element, edge: Arrow, course: Course | None) -> None:
    fires = _fires(edge, course)
    if edge.kind == "entry" and not fires:
        return  # a special case, drawn only if it happened
    colour, width = _stroke(edge, course)
    group = SubElement(plot, "g", {"class": edge.kind})
    path = SubElement(
        group,
        "path",
        {
            "d": edge.path,
            "fill": "none",
            "stroke": colour,
            "stroke-width": f"{width:g}",
            "marker-end": f"url(#head-{colour[1:]})",
        },
    )
    if edge.kind in ("hears", "revision"):
        path.set("stroke-dasharray", "2 4" if edge.kind == "hears" else "7 4")
    if text := _label(edge, course):
        fill = colour if fires else FAINT
        weight = "600" if fires else "400"
        _text(group, edge.label_x, edge.label_y, text, size=11, fill=fill, weight=weight)


def _label(edge: Arrow, course: Course | None) -> str:
    """Return the condition of an edge; in a run, its activation."""
    if course is None:
        return edge.label
    pair = edge.source, edge.target
    activation = course.fired.get(pair, course.quiet.get(pair))
    if activation is None or edge.kind in ("hears", "ends"):
        return ""
    return "revision" if edge.kind == "revision" else f"{activation:.2f}"


def _box(plot: Element, node: Box, course: Course | None) -> None:
    look = course.experts.get(node.name) if course else None
    fill, outline = _colours(node, look, course)
    group = SubElement(plot, "g", {"class": clean(node.kind)})
    SubElement(group, "title").text = clean(_told(node, look))
    rect = SubElement(
        group,
        "rect",
        {
            "x": f"{node.x:g}",
            "y": f"{node.y:g}",
            "width": f"{node.w:g}",
            "height": f"{node.h:g}",
            "rx": f"{min(12.0, node.h / 2):g}",
            "fill": fill,
            "stroke": outline,
            "stroke-width": "1.5",
        },
    )
    if look and look.status in ("skipped", "idle"):
        rect.set("stroke-dasharray", "4 3")
    faded = look is not None and look.status in ("skipped", "idle")
    lines = _lines(node, look)
    middle, y = node.x + node.w / 2, node.y + node.h / 2 - (len(lines) - 1) * LINE / 2 + 4.5
    for n, text in enumerate(lines):
        letter = LETTER if n else NAME_LETTER
        shown = cut(text, node.w - 10, letter)
        size, weight = (11, "400") if n else (14, "600")
        ink = FAINT if n or faded or node.name in ENDS else INK
        _text(group, middle, y + n * LINE, shown, size=size, weight=weight, fill=ink, middle=True)


def _colours(node: Box, look: Look | None, course: Course | None) -> tuple[str, str]:
    if look:
        return LOOKS[look.status]
    if node.name == FINISH and course and course.ended:
        return LOOKS["ok"]
    return KINDS.get(node.kind, END)


def _lines(node: Box, look: Look | None) -> list[str]:
    if node.name in ENDS:
        return [node.name]
    return [node.name, *(look.lines if look else [node.kind + (", gated" if node.gated else "")])]


def _told(node: Box, look: Look | None) -> str:
    return ": ".join(filter(None, [node.name, look.words if look else node.kind]))


def _legend(root: Element, y: float, room: float, picture: Picture, course: Course | None) -> None:
    """Explain the lines, with as many entries as fit."""
    x = MARGIN
    for shape, colour, text in _entries({edge.kind for edge in picture.edges}, course):
        wide = 30 + cell_len(text) * LETTER + 22
        if x + wide > MARGIN + room + 22:
            return
        if shape == "swatch":
            fill, outline = LOOKS[colour]
            box = {"x": f"{x:g}", "y": f"{y - 9:g}", "width": "14", "height": "11", "rx": "3"}
            SubElement(root, "rect", {**box, "fill": fill, "stroke": outline})
        else:
            line = SubElement(root, "path", {"d": f"M{x:g},{y - 4:g} h24", "stroke": colour})
            line.set("stroke-width", "3" if shape == "thick" else "1.6")
            if shape == "dots":
                line.set("stroke-dasharray", "2 4")
            elif shape == "dashes":
                line.set("stroke-dasharray", "7 4")
        label_x = x + (20 if shape == "swatch" else 30)
        _text(root, label_x, y, text, size=11, fill=FAINT)
        x += wide - (10 if shape == "swatch" else 0)


def _entries(kinds: set[LinkKind], course: Course | None) -> Iterator[tuple[str, str, str]]:
    if course is None:
        yield "line", WAKES, "wakes, if weight × salience (× gate) reaches the threshold"
        if "hears" in kinds:
            yield "dots", HEARD, "hears"
        if "revision" in kinds:
            yield "dashes", REVISED, "revision, caused by a quoted defect"
        return
    yield "thick", FIRED, "fired, with its activation"
    if any(source in course.experts for source, _ in course.fired):
        yield "line", PALE, "did not fire"
    for status in dict.fromkeys(look.status for look in course.experts.values()):
        yield "swatch", status, STATUS[status]


def _text(
    parent: Element,
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    fill: str = INK,
    weight: str = "400",
    middle: bool = False,
) -> None:
    at = {"x": f"{x:g}", "y": f"{y:g}", "font-size": str(size), "fill": fill}
    if weight != "400":
        at["font-weight"] = weight
    if middle:
        at["text-anchor"] = "middle"
    SubElement(parent, "text", at).text = text
