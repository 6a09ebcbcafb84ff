"""The colours of the parts of memory, in every picture and text that shows them.

In: nothing. Out: colours as #RRGGBB. Convention: those of Okabe and Ito, which people with any kind
of colour blindness can tell apart (https://jfly.uni-koeln.de/color/), and greys for what is not a
tensor; a colour never stands alone, a name or a legend is always there.
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
    TensorCategory.UNATTRIBUTED.value: "#777777",
    ROUNDING: "#AAAAAA",
}
"""Of each TensorCategory, and of the ends of blocks."""

PHASE_GREYS: dict[Phase, tuple[str, str]] = {
    Phase.BUILD: ("#F2F2F2", "#222222"),
    Phase.BETWEEN_STEPS: ("#FFFFFF", "#222222"),
    Phase.FORWARD: ("#CFCFCF", "#222222"),
    Phase.LOSS: ("#222222", "#FFFFFF"),
    Phase.BACKWARD: ("#8C8C8C", "#FFFFFF"),
    Phase.OPTIMIZER_STEP: ("#5A5A5A", "#FFFFFF"),
}
"""Of each Phase, next to areas that have colours: its grey, and the colour of letters on it."""

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
"""The line of usable memory."""
OUTSIDE = "#AAAAAA"
"""Memory that is in no tensor: context overhead, libraries, reserved and not allocated."""
MAIN = "#0072B2"
"""The figure that a picture is about."""
SECOND = "#D55E00"
"""What is compared with it, or does not fit."""
PALE = "#E3E3E3"
"""The room behind a bar."""
TEXT = "#222222"
"""Words and axes on a light ground."""
