"""Whether a step fits on a card, as a cell of a table, and the colours of the three answers.

In: DeviceEstimate. Out: Text.
"""

from __future__ import annotations

from rich.text import Text

from planner.results.device_estimate import DeviceEstimate, FitVerdict
from planner.units import format_bytes

STYLES = {
    FitVerdict.FITS: "bold green",
    FitVerdict.TIGHT: "bold yellow",
    FitVerdict.DOES_NOT_FIT: "bold red",
}
_WORDS = {FitVerdict.FITS: "yes", FitVerdict.TIGHT: "yes, tight", FitVerdict.DOES_NOT_FIT: "no"}


def fits_cell(entry: DeviceEstimate) -> Text:
    """Returns yes; yes, tight; or no."""
    return Text(_WORDS[entry.verdict], style=STYLES[entry.verdict])


def fits_cell_in_full(entry: DeviceEstimate) -> Text:
    """Returns the same, with the memory that is missing."""
    cell = fits_cell(entry)
    return cell if entry.fits else cell.append(f", {format_bytes(entry.missing_bytes)} over")
