"""The memory of a step from request to request, on one line, with the phases beneath.

In: DeviceEstimate, AllocationTrace. Out: a renderable. Convention: a column is the highest level of
its requests over the peak, in eighths rounded up; in ASCII where the terminal has no blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from planner.memory.timeline import PhaseSpan, Timeline, recorded_timeline
from planner.units import format_bytes
from planner.wire.trace import AllocationTrace

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII = " .:-=+*#@"
_BAR_BLOCKS = " ▏▎▍▌▋▊▉█"
_WIDEST = 120
_EIGHTHS = 8


class StepSparkline:
    """The step with the peak, as wide as the terminal, on `card`; nothing without requests."""

    def __init__(self, card: str, trace: AllocationTrace) -> None:
        self._card, self._timeline = card, recorded_timeline(trace)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        timeline = self._timeline
        if not timeline.peak_allocated_bytes:
            return
        step = timeline.events[timeline.peak_index].step
        spans = [one for one in timeline.phases() if one.step == step]
        begin, end = spans[0].begin, spans[-1].end
        columns = min(options.max_width, _WIDEST, end - begin)
        signs = ASCII if options.ascii_only else BLOCKS
        peak = format_bytes(timeline.peak_allocated_bytes)
        where = f"step {step}" if step else "the build"
        yield Text(
            f"memory in {where} on {self._card}, request by request; the top is {peak} allocated",
            style="bold",
        )
        yield Text(_line(timeline, begin, end, columns, signs), no_wrap=True)
        yield Text(_names(spans, begin, end, columns), no_wrap=True)


def bar(part: int, whole: int, width: int, *, is_ascii: bool) -> str:
    """Returns a bar of part / whole, `width` for all; anything above 0 is seen."""
    eighths = -(-part * width * _EIGHTHS // whole) if whole else 0
    full, rest = divmod(eighths, _EIGHTHS)
    if is_ascii:
        return "#" * full + ("." if rest and not full else "")
    return _BAR_BLOCKS[_EIGHTHS] * full + (_BAR_BLOCKS[rest] if rest else "")


def _line(timeline: Timeline, begin: int, end: int, columns: int, signs: str) -> str:
    levels, peak = timeline.allocated_bytes[begin:end], timeline.peak_allocated_bytes
    count = end - begin
    highest = [
        max(levels[number * count // columns : (number + 1) * count // columns])
        for number in range(columns)
    ]
    return "".join(signs[-(-level * _EIGHTHS // peak)] for level in highest)


def _names(spans: Sequence[PhaseSpan], begin: int, end: int, columns: int) -> str:
    """Returns the beginning of each phase as a bar, with its name or first word if it has room."""
    places = [(one.begin - begin) * columns // (end - begin) for one in spans]
    text = ""
    for span, place, following in zip(spans, places, [*places[1:], columns], strict=True):
        room = following - place
        if not room:  # shorter than a column
            continue
        whole = span.phase.value
        names = (f"|{one}" for one in (whole, whole.partition(" ")[0], ""))
        text += next(one for one in names if len(one) <= room).ljust(room)
    return text.rstrip()
