"""Convert a picture to PNG with resvg, which needs no system libraries."""

from __future__ import annotations

from importlib.util import find_spec

from swarm_brain.graph.errors import ConfigError
from swarm_brain.picture.svg import FONT

ZOOM = 2.0  # pixels for each unit of the drawing
MOST_PIXELS = 12_000  # of the longer side; larger pictures are scaled down
_LETTERS = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20">{}</svg>'


def png(svg: str, width: float, height: float) -> bytes:
    """Return the picture as PNG. Raises ConfigError without resvg or a font."""
    if find_spec("resvg_py") is None:
        raise ConfigError(
            "resvg-py is not installed (pip install 'swarm-brain[pictures]'); --svg needs nothing."
        )
    from resvg_py import svg_to_bytes  # of the extra `pictures`

    blank, letters = (
        svg_to_bytes(svg_string=_LETTERS.format(text))
        for text in ("", f'<text y="15" font-family="{FONT}">ab</text>')
    )
    if blank == letters:
        raise ConfigError(
            "This machine has no usual font, so a PNG would have no words. Install one (Debian: "
            "apt install fonts-dejavu-core), or draw with --svg."
        )
    zoom = min(ZOOM, MOST_PIXELS / max(width, height))
    return svg_to_bytes(svg_string=svg, zoom=zoom)
