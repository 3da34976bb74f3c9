"""Build sortable tables, and draw an interval within a cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from swarm_brain.evals.report.elements import Attribute, Child, Html, el, join
from swarm_brain.evals.report.figures import NONE, interval, known, spread

INTERVAL = "95% interval"
GLYPH_WIDTH, GLYPH_HEIGHT = 96, 12

Axis = tuple[float, float] | None
NumberFormat = Callable[[float], str]  # how a number is written


@dataclass(frozen=True)
class Cell:
    """The content of a cell, and the value that it is sorted by; None goes last."""

    content: Child
    value: float | str | None = None
    kind: str = ""


@dataclass(frozen=True)
class Column:
    """A column's name, whether it holds numbers, and a hint under the name."""

    name: str
    numeric: bool = True
    hint: str = ""


def missing(reason: str = "") -> Cell:
    """Return the cell of an unknown figure: a dash and the reason."""
    return Cell(join(el("span", NONE, class_="none"), small(reason) if reason else None))


def small(text: Child) -> Html:
    return el("small", text)


def named(value: object) -> Html:
    """Return a name that may break after its colons."""
    parts = str(value).split(":")
    inner = [join(part, ":", el("wbr")) for part in parts[:-1]]
    return el("bdi", inner, parts[-1])


def words(value: object) -> Cell:
    """Return a cell of text, sorted as text."""
    return Cell(named(value), str(value))


def figure(value: object, form: NumberFormat, reason: str = "") -> Cell:
    """Return a cell of one number; a dash with the reason if it is unknown."""
    number = known(value)
    return missing(reason) if number is None else Cell(form(number), number)


def ranged(value: object, form: NumberFormat, axis: Axis, reason: str = "") -> Cell:
    """Return an estimate over its interval, drawn on the column's axis."""
    span, text = interval(value), spread(value, form)
    if text is None or span is None:
        return missing(reason)
    estimate, _, limits = text.partition(" ")
    drawn = glyph(span, axis) if axis else None
    return Cell(join(el("span", estimate, class_="estimate"), small(limits), drawn), span[0])


def glyph(span: tuple[float, float, float], axis: tuple[float, float]) -> Html | None:
    """Draw an interval as a line with a dot, with a rule at 0."""
    low, high = axis
    if not high > low:
        return None
    middle = GLYPH_HEIGHT / 2

    def at(value: float) -> float:
        return round(3 + (GLYPH_WIDTH - 6) * min(1.0, max(0.0, (value - low) / (high - low))), 1)

    parts = [el("line", x1=3, x2=GLYPH_WIDTH - 3, y1=middle, y2=middle, class_="axis")]
    if low < 0 < high:
        parts.append(el("line", x1=at(0), x2=at(0), y1=0, y2=GLYPH_HEIGHT, class_="zero"))
    parts.append(el("line", x1=at(span[1]), x2=at(span[2]), y1=middle, y2=middle, class_="range"))
    parts.append(el("circle", cx=at(span[0]), cy=middle, r=3))
    box = f"0 0 {GLYPH_WIDTH} {GLYPH_HEIGHT}"
    return el("svg", *parts, class_="glyph", viewBox=box, aria_hidden="true")


def axis_of(sources: Sequence[object], zero: bool = True) -> Axis:
    """Return the axis that holds all intervals (and 0); None without any."""
    spans = [span for source in sources if (span := interval(source))]
    if not spans:
        return None
    low, high = min(span[1] for span in spans), max(span[2] for span in spans)
    return (min(0.0, low), max(0.0, high)) if zero else (low, high)


def table(caption: str, columns: Sequence[Column], body: Sequence[Sequence[Cell]]) -> Html:
    """Return a table that scrolls sideways; `page.js` adds the sort buttons."""
    heads = [
        el(
            "th",
            el("span", column.name, class_="head"),
            small(column.hint) if column.hint else None,
            scope="col",
            class_="number" if column.numeric else None,
        )
        for column in columns
    ]
    lines = [_line(columns, cells) for cells in body]
    inner = el(
        "table",
        el("caption", caption),
        el("thead", el("tr", heads)),
        el("tbody", lines),
        class_="sortable",
    )
    return el("div", inner, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _line(columns: Sequence[Column], cells: Sequence[Cell]) -> Html:
    marks = []
    for place, (column, cell) in enumerate(zip(columns, cells, strict=True)):
        kind = " ".join(filter(None, ("number" if column.numeric else "", cell.kind)))
        attributes: dict[str, Attribute] = {"class_": kind or None, "data_value": cell.value}
        marks.append(
            el("th", cell.content, scope="row", **attributes)
            if place == 0
            else el("td", cell.content, **attributes)
        )
    return el("tr", marks)
