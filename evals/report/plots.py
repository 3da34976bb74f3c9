"""Draw the plots with matplotlib, in the colours of the page.

matplotlib writes colours as style attributes, which the page's content policy forbids, and as
fixed values, which suit one theme only. So it draws in marker colours, and `_inline` turns them
into CSS variables, and styles into presentation attributes.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from swarm_brain.evals.arms.registry import MINUS, SWARM
from swarm_brain.evals.report.elements import Html, clean, el
from swarm_brain.evals.report.figures import JsonObject, count, interval, known, obj, rows, signed

Span = tuple[float, float, float]

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, ACCENT, BAND, SURFACE = "#010101", "#020202", "#030303", "#040404", "#050505"
_THEME = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    ACCENT: "var(--accent)",
    BAND: "var(--band)",
    SURFACE: "var(--surface)",
}
_WITHOUT = "without one expert"
_SIZE = 12.5  # CSS pixels at the drawn width
_PIXEL = 1 / 72  # matplotlib's SVG has one user unit a point
_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.parse_math": False,
    "font.size": _SIZE,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"


def tokens_plot(data: JsonObject, metric: str) -> Html | None:
    """Draw accuracy or quality against tokens per question; None with no arm to draw."""
    points = [
        (str(arm.get("name")), tokens, span, bool(arm.get("reference")))
        for arm in rows(data.get("arms"))
        if (span := interval(arm.get(metric)))
        and (tokens := known(arm.get("tokens_per_question"))) is not None
    ]
    if not points:
        return None
    label = f"{metric.capitalize()} against tokens per question, with 95% intervals"
    height = max(320, 60 + 22 * len(_labels(points)))
    with _drawing(470, height) as figure:
        axes = figure.add_axes((0.11, 52 / height, 0.5, 1 - 70 / height))
        _allocation(axes, known(data.get("allocated_tokens")))
        for name, tokens, span, reference in points:
            _point(axes, tokens, span, _color(name), reference)
        axes.set_xlim(0, 1.08 * max(axes.get_xlim()[1], *(point[1] for point in points), 1))
        _percent(axes, [span for _, _, span, _ in points], metric)
        axes.set_xlabel("input + output tokens per question")
        _name_points(axes, _labels(points), height)
        return _inline(figure, f"tokens-{metric}", label)


def returns_plot(data: JsonObject) -> Html | None:
    """Draw return on tokens by expert, the highest first; None if no expert has one."""
    rates = [(_short(row.get("expert")), interval(row.get("per_1000"))) for row in _returns(data)]
    if not any(rate for _, rate in rates):
        return None
    rates.sort(key=lambda row: (row[1] is None, -(row[1] or (0,))[0]))
    height = 74 + 28 * len(rates)
    with _drawing(470, height) as figure:
        axes = figure.add_axes((0.24, 52 / height, 0.73, 1 - 62 / height))
        axes.axvline(0, color=MUTED, linewidth=1)
        for place, (_, rate) in enumerate(rates):
            _rate(axes, place, rate)
        axes.set_yticks(range(len(rates)), [name for name, _ in rates])
        axes.set_ylim(len(rates) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("change in quality per 1,000 tokens, with 95% intervals")
        axes.xaxis.set_major_formatter(lambda value, _: signed(value, 2))
        return _inline(figure, "returns", "Return on tokens by expert, with 95% intervals")


def reliability_plot(data: JsonObject) -> Html | None:
    """Draw accuracy by measured agreement; None without answers."""
    bins = [
        (mean, span, int(known(row.get("count")) or 0))
        for row in rows(obj(data.get("calibration")).get("bins"))
        if (span := interval(row.get("accuracy")))
        and (mean := known(row.get("mean_agreement"))) is not None
    ]
    if not bins:
        return None
    with _drawing(470, 380) as figure:
        axes = figure.add_axes((0.15, 0.15, 0.8, 0.8))
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
        axes.plot([mean for mean, _, _ in bins], [span[0] for _, span, _ in bins], color=ACCENT)
        for mean, span, size in bins:
            _point(axes, mean, span, ACCENT)
            axes.annotate(
                f"n = {count(size)}", (mean, span[2]), (0, 5), textcoords="offset points",
                ha="center", va="bottom", color=MUTED, fontsize=_SIZE - 1.5,
            )  # fmt: skip
        axes.set(xlim=(-0.06, 1.06), ylim=(-0.03, 1.1), xlabel="measured agreement")
        axes.set_ylabel("accuracy")
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        label = "Accuracy by measured agreement; the dashed line is perfect calibration"
        return _inline(figure, "reliability", label)


def _returns(data: JsonObject) -> list[JsonObject]:
    return rows(data.get("returns"))


def _short(name: object) -> str:
    text = " ".join(clean(str(name)).split())
    return text if len(text) <= 27 else f"{text[:26]}…"


@contextmanager
def _drawing(width: int, height: int) -> Iterator[Figure]:
    """Yield a figure of this size in CSS pixels, without pyplot and its global state."""
    # Imported late: only drawing needs matplotlib, an extra that takes half a second to load.
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC):  # type: ignore[arg-type]  # keys as plain text
        yield Figure(figsize=(width * _PIXEL, height * _PIXEL))


def _allocation(axes: Axes, allocated: float | None) -> None:
    """Mark the allocation and the range within which arms may be compared."""
    if not allocated:
        return
    axes.axvspan(0.8 * allocated, 1.05 * allocated, color=BAND, linewidth=0)
    axes.axvline(allocated, color=MUTED, linewidth=1, linestyle=(0, (2, 3)))


def _point(
    axes: Axes,
    x: float,
    span: Span,
    color: str,
    hollow: bool = False,
) -> None:
    estimate, low, high = span
    order = 4 if color == ACCENT else 3  # the swarm on top
    axes.plot([x, x], [low, high], color=color, linewidth=1.4, zorder=order)
    axes.plot(
        [x], [estimate], marker="D" if hollow else "o", markersize=6.5 if hollow else 7,
        color=color, markerfacecolor=SURFACE if hollow else color, zorder=order,
    )  # fmt: skip


def _rate(axes: Axes, place: int, rate: Span | None) -> None:
    if rate is None:
        axes.annotate(
            "no rate: see the table", (0, place), (8, 0), textcoords="offset points",
            va="center", color=MUTED, fontsize=_SIZE - 1, fontstyle="italic",
        )  # fmt: skip
        return
    open_ = rate[1] <= 0 <= rate[2]
    color = MUTED if open_ else ACCENT
    axes.plot(rate[1:], [place, place], color=color, linewidth=1.6)
    fill = SURFACE if open_ else color
    axes.plot([rate[0]], [place], marker="o", markersize=7, color=color, markerfacecolor=fill)


def _color(name: str) -> str:
    if name == SWARM:
        return ACCENT
    return MUTED if name.startswith((MINUS, _WITHOUT)) else INK


def _labels(points: Sequence[tuple[str, float, Span, bool]]) -> list[tuple[str, float, float]]:
    """Return name, tokens and estimate of each label; ablations share one."""
    alike = [point for point in points if point[0].startswith(MINUS)]
    single = [point for point in points if point not in alike or len(alike) == 1]
    labels = [(_short(name), tokens, span[0]) for name, tokens, span, _ in single]
    if len(alike) > 1:
        tokens = sum(point[1] for point in alike) / len(alike)
        estimate = sum(point[2][0] for point in alike) / len(alike)
        labels.append((f"{_WITHOUT} ({len(alike)})", tokens, estimate))
    return labels


def _percent(axes: Axes, spans: Sequence[Span], metric: str) -> None:
    """Set the vertical axis from the lowest to the highest interval, within 0..1."""
    low, high = min(one[1] for one in spans), max(one[2] for one in spans)
    room = 0.06 * max(high - low, 0.1)
    axes.set_ylim(max(-0.02, low - room), min(1.02, high + room))
    axes.yaxis.set_major_formatter(
        (lambda value, _: f"{value:.2f}") if metric == "quality" else (lambda v, _: f"{v:.0%}")
    )


def _name_points(axes: Axes, points: Sequence[tuple[str, float, float]], height: int) -> None:
    """Write names in a column on the right and join each to its point."""
    bottom, top = axes.get_ylim()
    step = (top - bottom) * 20 / (height - 70)
    order = sorted(points, key=lambda point: -point[2])
    places = _apart([point[2] for point in order], step, top, bottom)
    right = axes.get_xlim()[1]
    for (name, x, y), place in zip(order, places, strict=True):
        color = _color(name)
        axes.plot([x, right * 1.03], [y, place], color=MUTED, linewidth=0.6, alpha=0.55,
                  clip_on=False, zorder=1)  # fmt: skip
        axes.text(right * 1.045, place, name, va="center", color=color,
                  fontweight="bold" if name == SWARM else "normal")  # fmt: skip
    axes.set_xlim(0, right)


def _apart(places: Sequence[float], step: float, top: float, bottom: float) -> list[float]:
    """Move descending places at least a step apart, each as little as possible.

    Raise place number i by i steps: then none may rise, and the nearest such values are an
    isotonic fit.
    """
    # Imported late, like matplotlib.
    import numpy as np
    from scipy.optimize import isotonic_regression

    raised = np.asarray(places) + step * np.arange(len(places))
    fitted = isotonic_regression(raised, increasing=False).x
    lowest = bottom + step * (len(places) - 1)
    return [float(place) for place in fitted.clip(lowest, top) - step * np.arange(len(places))]


def _inline(figure: Figure, name: str, label: str) -> Html:
    """Return the figure as an element of the page, in the page's colours."""
    written = io.StringIO()
    with warnings.catch_warnings():
        # The browser draws the letters, so glyphs missing in matplotlib's font do not matter.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(written, format="svg", transparent=True)
    # Our own drawing: names in it were cleaned, matplotlib escapes them.
    root = ET.fromstring(written.getvalue())  # noqa: S314
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    for node in root.iter():
        _restyle(node, name)
    inner = "".join(ET.tostring(child, encoding="unicode") for child in root)
    box = root.get("viewBox")
    return el("svg", Html(inner), class_="plot", viewBox=box, role="img", aria_label=label)


def _restyle(node: ET.Element, name: str) -> None:
    """Replace styles by attributes and colours by variables; make ids unique."""
    node.tag = node.tag.removeprefix(_SVG)
    attributes = dict(node.attrib)
    for part in filter(None, attributes.pop("style", "").split(";")):
        key, _, value = part.partition(":")
        attributes[key.strip()] = value.strip()
    attributes.pop("font-family", None)
    if link := attributes.pop(_LINK, None):
        attributes["href"] = link.replace("#", f"#{name}-")
    if "id" in attributes:
        attributes["id"] = f"{name}-{attributes['id']}"
    node.attrib.clear()
    for key, value in attributes.items():
        value = re.sub(r"url\(#", f"url(#{name}-", value)
        node.set(key, _THEME.get(value, value))
