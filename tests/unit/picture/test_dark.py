"""Colours of a picture: each has a dark one, and words can be read in both."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from swarm_brain.graph.loading import load
from swarm_brain.picture import svg as light
from swarm_brain.picture.dark import DARK
from swarm_brain.picture.layout import layout
from swarm_brain.picture.svg import svg

FILLS = [fill for fill, _ in [*light.KINDS.values(), *light.LOOKS.values(), light.END]]
OUTLINES = [line for _, line in [*light.KINDS.values(), *light.LOOKS.values(), light.END]]
LINES = [light.PALE, light.HEARD, light.WAKES, light.FIRED, light.REVISED]
COLOURS = {light.INK, light.FAINT, light.PAPER, *FILLS, *OUTLINES, *LINES}
Scheme = Callable[[str], str]


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG defines it."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    r, g, b = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_every_colour_has_a_dark_one():
    assert set(DARK) == COLOURS


@pytest.mark.parametrize("scheme", [str, DARK.__getitem__], ids=["light", "dark"])
def test_words_have_the_contrast_that_readers_need(scheme: Scheme):
    for ground in (light.PAPER, *FILLS):
        for ink in (light.INK, light.FAINT):
            assert contrast(scheme(ink), scheme(ground)) >= 4.5, (ink, ground)
    for line in (light.FIRED, light.REVISED):  # activations are written in their edge's colour
        assert contrast(scheme(line), scheme(light.PAPER)) >= 4.5, line


def test_a_dark_picture_differs_in_its_colours_alone():
    title = 'Is "#ffffff" white?'
    picture = layout(load("eight"))
    bright, dark = svg(picture, title, "facts"), svg(picture, title, "facts", dark=True)
    assert title in dark
    assert "#1f2430" not in dark
    for colour, other in DARK.items():
        bright = bright.replace(f'="{colour}"', f'="{other}"')
    assert bright == dark
