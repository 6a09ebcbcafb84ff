"""Colours can be read: letters on each of them have the contrast that WCAG asks for."""

from __future__ import annotations

import pytest

from planner.memory.peak import ROUNDING
from planner.render.html.colours import colour_style
from planner.results import palette
from planner.wire.trace import Phase, TensorCategory

GROUNDS = {
    *palette.CATEGORY_COLOURS.values(), *palette.CATEGORIES_ON_DARK.values(),
    *palette.PHASE_GREYS.values(),
    *palette.PHASE_GREYS_ON_DARK.values(), *palette.ON_DARK.values(),
}  # fmt: skip


def test_contrast_by_hand() -> None:
    """21 is that of black and white; #777777 on white is 4.48 in WebAIM's table."""
    assert palette.contrast("#000000", "#FFFFFF") == pytest.approx(21.0)
    assert palette.contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.005)
    assert palette.contrast("#FFFFFF", "#777777") == palette.contrast("#777777", "#FFFFFF")


@pytest.mark.parametrize("colour", sorted(GROUNDS))
def test_letters_can_be_read_on_each_colour(colour: str) -> None:
    assert palette.contrast(palette.ink_on(colour), colour) >= 4.5


def test_everything_has_a_colour() -> None:
    assert set(palette.CATEGORY_COLOURS) == {one.value for one in TensorCategory} | {ROUNDING}
    for colours in (palette.CATEGORY_COLOURS, palette.CATEGORIES_ON_DARK):
        assert len(set(colours.values())) == len(colours)  # none is that of another
    assert set(palette.STACK) == set(TensorCategory)
    assert len(palette.STACK) == len(TensorCategory)
    for phases in (palette.PHASE_GREYS, palette.PHASE_GREYS_ON_DARK, palette.PHASE_COLOURS):
        assert set(phases) == set(Phase)


def test_the_page_has_the_colours_of_the_plots() -> None:
    light, dark = colour_style().strip().split("\n")
    for name, colour in palette.CATEGORY_COLOURS.items():
        assert f"--category-{name.replace(' ', '-')}: {colour};" in light
    assert f"--accent: {palette.MAIN};" in light
    assert f"--accent: {palette.ON_DARK[palette.MAIN]};" in dark
    assert f"--category-input: {palette.CATEGORY_COLOURS['input']};" not in dark  # as in the light
