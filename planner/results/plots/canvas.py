"""Makes an empty figure of matplotlib, and the bytes of a drawn one.

In: a size, a figure. Out: PlotFigure, bytes of SVG, PNG or PDF. Convention: never pyplot and no
display, so that neither the figures nor the settings of the caller's program change; a light
ground; in SVG text stays text, in PDF its font is embedded; the same figure gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from planner.errors import UnsupportedPlatformError, UsageError
from planner.machine.whole_files import write_whole
from planner.results.palette import TEXT
from planner.results.words import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 150
_TITLE_LETTERS = 104
_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelcolor": TEXT,
    "axes.edgecolor": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": TEXT,
    "text.parse_math": False,  # names of models may hold dollar signs
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "vram-planner",
    "pdf.fonttype": 42,
}
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_DRAWN = re.compile(r' d="[^"]*"')
_COMMENT = re.compile(r"\n *<!--.*?-->", re.DOTALL)
_FONTS = "'DejaVu Sans'"


class PlotFormat(str, Enum):
    """The kind of file."""

    SVG = "svg"
    """Lines and text, for pages."""
    PNG = "png"
    """Dots, for everything."""
    PDF = "pdf"
    """Lines and text, for papers."""


def plot_format(file: Path) -> PlotFormat:
    """Returns the format that the name of a file asks for.

    Raises:
        UsageError: it ends in something else.
    """
    try:
        return PlotFormat(file.suffix.lower().removeprefix("."))
    except ValueError:
        known = ", ".join(f".{one.value}" for one in PlotFormat)
        raise UsageError(
            f"a plot cannot be written to {file}: the end of its name gives the format, one of "
            f"{known}"
        ) from None


def check_matplotlib() -> None:
    """Checks that a figure can be drawn, without importing what draws it.

    Raises:
        UnsupportedPlatformError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UnsupportedPlatformError(
            "a plot needs matplotlib, which is not installed: pip install 'vram-planner[plot]'"
        )


@contextmanager
def own_style() -> Iterator[None]:
    """Draws with planner's own settings; those of the program are back afterwards.

    Raises:
        UnsupportedPlatformError: matplotlib is not installed.
    """
    check_matplotlib()
    from matplotlib import style

    with style.context(["default", _STYLE]):
        yield


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """Returns an empty figure; call it within own_style()."""
    return _figure_class()(
        figsize=(width_inches, height_inches), layout="constrained", dpi=_DOTS_PER_INCH
    )


def write_title(axes: Axes, *lines: str, letters: int = _TITLE_LETTERS) -> None:
    """Writes lines of at most so many letters above the axes; empty ones are left out."""
    axes.set_title(title_lines(*lines, letters=letters), fontsize=9)


def title_lines(*lines: str, letters: int = _TITLE_LETTERS) -> str:
    """Returns the lines, broken where they are too long; empty ones are left out."""
    return "\n".join(part for one in lines for part in wrap(printable(one), letters))


def label_bars(
    axes: Axes,
    bars: BarContainer,
    labels: Sequence[str],
    *,
    beyond: Sequence[float] = (),
    letters: int = 85,
) -> None:
    """Writes a figure behind the end of each horizontal bar, or behind `beyond` if that is more.

    `letters` are as wide as the axes.
    """
    ends = [bar.get_x() + bar.get_width() for bar in bars]
    if beyond:
        ends = [max(end, other) for end, other in zip(ends, beyond, strict=True)]
    for bar, end, label in zip(bars, ends, labels, strict=True):
        axes.annotate(
            printable(label), (end, bar.get_y() + bar.get_height() / 2), (4, 0), va="center",
            textcoords="offset points", fontsize=8,
        )  # fmt: skip
    longest = max(map(len, labels), default=0)
    axes.set_xlim(0, max(ends, default=1) * (1 + longest / letters) or 1)


@cache
def _figure_class() -> type[Figure]:
    from matplotlib.figure import Figure

    class PlotFigure(Figure):
        """A figure that shows itself in a notebook, also without pyplot."""

        def _repr_svg_(self) -> str:
            return picture(self, PlotFormat.SVG).decode()

    return PlotFigure


def picture(figure: Figure, kind: PlotFormat) -> bytes:
    """Returns the bytes of a picture."""
    page = io.BytesIO()
    dates = {
        PlotFormat.SVG: {"Creator": None, "Date": None},
        PlotFormat.PDF: {"CreationDate": None},
    }
    with own_style():
        figure.savefig(page, format=kind.value, metadata=dates.get(kind), dpi=_DOTS_PER_INCH)
    if kind is PlotFormat.SVG:
        return _shortened(page.getvalue().decode()).encode()
    return page.getvalue()


def write_picture(figure: Figure, file: Path) -> None:
    """Writes a picture, whole or not at all, in the format of the file's name.

    Raises:
        UsageError: the name ends in no known format. OutputError: it cannot be written.
    """
    write_whole(file, picture(figure, plot_format(file)))


def _shortened(svg: str) -> str:
    """Returns the SVG with lines to 0.01 points, and a font for machines without ours."""
    svg = _COMMENT.sub("", svg)
    lines = _DRAWN.sub(
        lambda path: _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}", path[0]), svg
    )
    return lines.replace(_FONTS, f"{_FONTS}, Verdana, sans-serif")
