"""The colours of planner/results/palette.py as custom properties of a page's style.

In: nothing. Out: CSS. Convention: `--category-X` has the letters `--ink-X` on it, `--phase-X` is a
grey with the letters `--phase-ink-X`, `--phase-colour-X` is for points. Paper is a light ground.
"""

from __future__ import annotations

from planner.results import palette

_NAMED = {
    "accent": palette.MAIN, "good": palette.GOOD, "bad": palette.LIMIT, "limit": palette.LIMIT,
    "second": palette.SECOND, "reserved": palette.RESERVED, "held": palette.HELD,
    "outside": palette.OUTSIDE, "room": palette.PALE,
}  # fmt: skip


def colour_style() -> str:
    """Returns the properties on a light ground, and those that are others on a dark screen."""
    light, dark = _properties(is_dark=False), _properties(is_dark=True)
    others = {name: value for name, value in dark.items() if light[name] != value}
    return (
        f":root {{ {_css(light)} }}\n"
        f'@media screen {{ :root[data-theme="dark"] {{ {_css(others)} }} }}\n'
    )


def _css(properties: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in properties.items())


def _properties(*, is_dark: bool) -> dict[str, str]:
    def ground(colour: str) -> str:
        return palette.ON_DARK.get(colour, colour) if is_dark else colour

    found = {name: ground(colour) for name, colour in _NAMED.items()}
    colours = palette.CATEGORIES_ON_DARK if is_dark else palette.CATEGORY_COLOURS
    for category, colour in colours.items():
        name = category.replace(" ", "-")
        found[f"category-{name}"] = colour
        found[f"ink-{name}"] = palette.ink_on(colour)
    greys = palette.PHASE_GREYS_ON_DARK if is_dark else palette.PHASE_GREYS
    for phase, grey in greys.items():
        name = phase.value.replace(" ", "-")
        found[f"phase-{name}"] = grey
        found[f"phase-ink-{name}"] = palette.ink_on(grey)
        found[f"phase-colour-{name}"] = ground(palette.PHASE_COLOURS[phase])
    return found
