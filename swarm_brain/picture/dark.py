"""The colours of a picture on a dark page. `svg` has the light ones."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree.ElementTree import Element

# Each colour that `svg` draws with, and the one that takes its place.
DARK: Mapping[str, str] = {
    "#ffffff": "#0d1117",  # paper
    "#1f2430": "#e6edf3",  # ink
    "#5d6475": "#9ea7b3",  # faint ink
    "#d3d7e0": "#3d444d",  # an edge that did not fire
    "#a9b0bf": "#6a7380",  # heard
    "#5b6b95": "#8a9bc9",  # wakes
    "#1d5fbf": "#5aa2ff",  # fired
    "#b4531a": "#f0883e",  # revision
    "#e8f1fd": "#12243b",  # intake
    "#5b8fd0": "#5b8fd0",
    "#fdf3dc": "#332810",  # gate
    "#c4932c": "#d0a03c",
    "#e3f5f1": "#0f2c27",  # memory
    "#3f9c86": "#45ab93",
    "#f0ebfc": "#241c3d",  # proposer
    "#8468c7": "#9a7fdd",
    "#e6f5e4": "#132d16",  # synthesis; an expert that answered
    "#4f9a46": "#57ab4e",
    "#fdebe6": "#3a1d15",  # critic
    "#cc6f52": "#d97a5c",
    "#f6e9fb": "#301a39",  # simulated
    "#9a4fb8": "#b56ad3",
    "#fde4e4": "#3d1618",  # failed
    "#c43c3c": "#e5534b",
    "#f1f2f5": "#161b22",  # skipped
    "#b5bac6": "#545d68",
    "#fafafc": "#10151c",  # idle
    "#dcdfe6": "#3d444d",
    "#fff4d6": "#352a0e",  # next
    "#f4f5f8": "#1b212a",  # begin and finish
    "#8a91a1": "#7d8694",
}


def darken(root: Element) -> None:
    """Replace every colour below `root` by its counterpart for a dark page."""
    for element in root.iter():
        for name in ("fill", "stroke"):
            if other := DARK.get(element.get(name, "")):
                element.set(name, other)
