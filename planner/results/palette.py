"""The colours of memory and time, in every picture, page and text that shows them.

In: nothing. Out: colours as #RRGGBB. Convention: those of Okabe and Ito, which people with any kind
of colour blindness can tell apart (https://jfly.uni-koeln.de/color/), and greys for what is not a
tensor; a colour never stands alone, a name or a legend is always there. ON_DARK has those that a
dark ground needs in place of them.
"""

from __future__ import annotations

from planner.memory.peak import ROUNDING
from planner.wire.trace import Phase, TensorCategory

CATEGORY_COLOURS: dict[str, str] = {
    TensorCategory.PARAMETER.value: "#0072B2",
    TensorCategory.BUFFER.value: "#332288",  # of Paul Tol: Okabe and Ito have eight colours
    TensorCategory.GRADIENT.value: "#D55E00",
    TensorCategory.OPTIMIZER_STATE.value: "#CC79A7",
    TensorCategory.SAVED_ACTIVATION.value: "#009E73",
    TensorCategory.TEMPORARY.value: "#F0E442",
    TensorCategory.WORKSPACE.value: "#E69F00",
    TensorCategory.INPUT.value: "#56B4E9",
    TensorCategory.CACHE.value: "#882255",  # of Paul Tol
    TensorCategory.UNATTRIBUTED.value: "#777777",
    ROUNDING: "#AAAAAA",
}
"""Of each TensorCategory, and of the ends of blocks."""

STACK = (
    TensorCategory.PARAMETER, TensorCategory.BUFFER, TensorCategory.OPTIMIZER_STATE,
    TensorCategory.INPUT, TensorCategory.CACHE, TensorCategory.GRADIENT,
    TensorCategory.SAVED_ACTIVATION, TensorCategory.UNATTRIBUTED, TensorCategory.TEMPORARY,
    TensorCategory.WORKSPACE,
)  # fmt: skip
"""Order of areas upon each other: what stays from step to step is at the bottom."""

PHASE_GREYS: dict[Phase, str] = {
    Phase.BUILD: "#F2F2F2",
    Phase.BETWEEN_STEPS: "#FFFFFF",
    Phase.FORWARD: "#CFCFCF",
    Phase.LOSS: "#222222",
    Phase.BACKWARD: "#9C9C9C",
    Phase.OPTIMIZER_STEP: "#5A5A5A",
}
"""Of each Phase, next to areas that have colours."""

PHASE_COLOURS: dict[Phase, str] = {
    Phase.FORWARD: "#0072B2",
    Phase.LOSS: "#E69F00",
    Phase.BACKWARD: "#D55E00",
    Phase.OPTIMIZER_STEP: "#CC79A7",
    Phase.BETWEEN_STEPS: "#777777",
    Phase.BUILD: "#222222",
}
"""Of each Phase, where nothing else has a colour."""

RESERVED = "#000000"
"""The line of reserved memory."""
LIMIT = "#B00020"
"""The line of usable memory, and what is wrong."""
OUTSIDE = "#AAAAAA"
"""Memory that is in no tensor: context overhead, libraries, reserved and not allocated."""
HELD = "#99C7E0"
"""Reserved and not allocated, where it stands next to what is outside of PyTorch."""
MAIN = "#0072B2"
"""The figure that a picture is about."""
SECOND = "#D55E00"
"""What is compared with it, or does not fit."""
GOOD = "#009E73"
"""What fits."""
PALE = "#E3E3E3"
"""The room behind a bar."""
TEXT = "#222222"
"""Words and axes on a light ground."""

ON_DARK: dict[str, str] = {
    RESERVED: "#E6EAF0",
    LIMIT: "#FF8A80",
    HELD: "#2F6C8F",
    MAIN: "#56B4E9",
    SECOND: "#FF8A3D",
    GOOD: "#3CC79B",
    PALE: "#303947",
    TEXT: "#E6EAF0",
}
"""Colours of lines, bars and words on a dark ground, where they are others."""

CATEGORIES_ON_DARK = {
    **CATEGORY_COLOURS,
    TensorCategory.BUFFER.value: "#8F80E0",
    TensorCategory.CACHE.value: "#D2608F",
}
"""CATEGORY_COLOURS on a dark ground."""

PHASE_GREYS_ON_DARK: dict[Phase, str] = {
    Phase.BUILD: "#2A323E",
    Phase.BETWEEN_STEPS: "#1A2029",
    Phase.FORWARD: "#465161",
    Phase.LOSS: "#E6EAF0",
    Phase.BACKWARD: "#6A7688",
    Phase.OPTIMIZER_STEP: "#A3AEBD",
}
"""PHASE_GREYS on a dark ground."""

_BLACK, _WHITE = "#000000", "#FFFFFF"


def ink_on(colour: str) -> str:
    """Returns the colour of letters on a colour: black or white, whichever is easier to read."""
    return max((_BLACK, _WHITE), key=lambda ink: contrast(ink, colour))


def contrast(one: str, other: str) -> float:
    """Returns the contrast of two colours, from 1 to 21; letters need 4.5 at the least.

    https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio
    """
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    """Returns the relative luminance, https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
