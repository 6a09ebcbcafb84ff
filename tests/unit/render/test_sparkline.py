"""The line of a step's memory and the bars of its parts, on terminals with and without blocks."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from planner.render.terminal.sparkline import ASCII, BLOCKS, StepSparkline, bar
from planner.units import MIB
from planner.wire.trace import AllocationEvent, AllocationTrace, EventKind, Origin, Phase


def trace() -> AllocationTrace:
    """Step 1 takes 1 to 8 MiB, one by one, and gives all of it back, the first one last."""
    events = [
        AllocationEvent(
            kind=EventKind.ALLOC, block=one, size_bytes=MIB, step=1, phase=Phase.FORWARD
        )
        for one in range(8)
    ]
    events += [
        AllocationEvent(kind=EventKind.FREE, block=one, size_bytes=0, step=1, phase=Phase.BACKWARD)
        for one in range(8)
    ]
    return AllocationTrace(events=tuple(events), origins=(Origin(),))


def lines(width: int, encoding: str = "utf-8", given: AllocationTrace | None = None) -> list[str]:
    console = Console(width=width, force_terminal=False, no_color=True)
    found = StepSparkline("t4", given or trace())
    options = console.options.copy()
    options.encoding = encoding
    text = "".join(segment.text for segment in console.render(found, options))
    return [line.rstrip() for line in text.splitlines()]


def test_each_column_is_a_share_of_the_peak() -> None:
    assert lines(80) == [
        "memory in step 1 on t4, request by request; the top is 8.00 MiB allocated",
        "▁▂▃▄▅▆▇█▇▆▅▄▃▂▁",
        "|forward|",
    ]


def test_a_narrow_line_keeps_the_peak() -> None:
    # of 3, 3, 3, 3 and 4 requests
    found = [line for line in lines(5) if set(line) <= set(BLOCKS) and line]
    assert found == ["▃▆█▆▃"]


def test_phases_are_named_where_there_is_room() -> None:
    many = trace()
    long = AllocationTrace(events=many.events[:8] * 3 + many.events[8:] * 3, origins=many.origins)
    assert lines(80, given=long)[2] == "|forward                |backward"


def test_of_a_long_name_the_first_word_stays() -> None:
    begin = replace(trace().events[0], phase=Phase.OPTIMIZER_STEP)
    given = AllocationTrace(events=(begin,) * 12, origins=(Origin(),))
    assert lines(80, given=given)[2] == "|optimizer"


def test_a_terminal_without_blocks_has_ascii() -> None:
    assert lines(80, "ascii")[1] == ".:-=+*#@#*+=-:."
    assert "".join(lines(80, "latin-1")).isascii()
    assert len(ASCII) == len(BLOCKS) == 9


def test_nothing_without_requests() -> None:
    assert lines(80, given=AllocationTrace(events=())) == []


def test_a_bar_is_as_long_as_the_share() -> None:
    assert bar(50, 100, 10, is_ascii=False) == "█████"
    assert bar(1, 1000, 10, is_ascii=False) == "▏"
    assert bar(100, 100, 10, is_ascii=True) == "##########"
    assert bar(1, 1000, 10, is_ascii=True) == "."
    assert bar(0, 100, 10, is_ascii=False) == ""
    assert bar(5, 0, 10, is_ascii=False) == ""
