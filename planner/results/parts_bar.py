"""The device total of a card as one bar of its parts, in SVG, for a notebook without matplotlib.

In: DeviceEstimate. Out: HTML. Convention: the whole bar is the usable memory, or the device total
where that is more; every figure is in words too, which a screen reader reads; no script, no style
that the page would have to allow.
"""

from __future__ import annotations

from html import escape

from planner.results.device_estimate import DeviceEstimate
from planner.results.palette import CATEGORY_COLOURS, LIMIT, OUTSIDE
from planner.results.words import printable, total_words
from planner.units import format_bytes

_WIDTH, _HEIGHT = 640, 18


def total_parts(entry: DeviceEstimate) -> tuple[tuple[str, int, str], ...]:
    """Returns name, bytes and colour of each part of the device total; they sum up to it.

    () where the parts of the peak are not known.
    """
    found = entry.peak_summary
    if found is None:
        return ()
    others = (
        ("reserved, not allocated", entry.peak_reserved_bytes - entry.peak_allocated_bytes),
        ("correction by past runs", entry.reserved_offset_bytes),
        ("context overhead", entry.context_overhead_bytes),
        ("outside PyTorch", entry.outside_bytes),
    )
    return (
        *((name, size, CATEGORY_COLOURS[name]) for name, size in found.categories if size),
        *((name, size, OUTSIDE) for name, size in others if size),
    )


def parts_bar(entry: DeviceEstimate) -> str:
    """Returns the bar and its legend; "" where the parts of the peak are not known."""
    parts = total_parts(entry)
    if not parts:
        return ""
    whole = max(entry.usable_memory_bytes, entry.device_total_bytes)
    drawn, begin = [], 0
    for name, size, colour in parts:
        if size > 0:
            drawn.append(_box(begin, size, whole, colour, f"{name} {format_bytes(size)}"))
            begin += size
    limit = _WIDTH * entry.usable_memory_bytes / whole
    label = escape(printable(f"{entry.requested}: device total {total_words(entry)}"))
    shown = "".join(
        f'<span style="color:{colour}">&#9632;</span> {escape(name)} {format_bytes(size)} '
        for name, size, colour in parts
    )
    return (
        f'<p>{label}<br><svg role="img" aria-label="{label}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}"><rect width="{_WIDTH}" height="{_HEIGHT}" '
        f'fill="#888888" fill-opacity="0.2"></rect>{"".join(drawn)}<rect x="{limit - 1:.2f}" '
        f'width="1" height="{_HEIGHT}" fill="{LIMIT}"></rect></svg><br>{shown}</p>'
    )


def _box(begin: int, size: int, whole: int, colour: str, title: str) -> str:
    return (
        f'<rect x="{_WIDTH * begin / whole:.2f}" width="{_WIDTH * size / whole:.2f}" '
        f'height="{_HEIGHT}" fill="{colour}"><title>{escape(title)}</title></rect>'
    )
