"""`python -m benchmarks.real_ranks`: peaks of ranks that are all there, and of one alone.

In: names of programs, numbers of ranks. Out: Markdown on stdout; exit code 1 if a peak differs by
more than the tolerance, or a rank failed. Convention: a peak is the highest of all steps.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

from benchmarks.real_ranks.running import Case, Peaks, RankError, peaks_alone, real_peaks
from benchmarks.record.tables import table
from planner.emulator.build import EmulatedDevice, emulated_device
from planner.emulator.torch_install import find_torch
from planner.units import MIB

_WHOLE = (
    "fsdp2", "hsdp", "fsdp1", "ddp", "ddp-unused", "zero1", "full-state", "cp", "cp-alltoall", "tp",
)  # fmt: skip
_STAGES = ("pp", "pp-1f1b", "pp-gpipe", "pp-interleaved", "pp-zb", "pp-zbv")
_OF_DEEPSPEED = tuple(f"deepspeed-zero{stage}" for stage in (1, 2, 3))
PROGRAMS = (*_WHOLE, *_STAGES)  # where none are named: DeepSpeed has an environment of its own
# "pp" is written by hand; the others are made by the product, whose group they need.
GROUPS = {
    **dict.fromkeys(_WHOLE, ("planner", "fake")),
    **dict.fromkeys((*_STAGES, *_OF_DEEPSPEED), ("planner",)),
    "pp": ("fake",),
}
_TOLERANCE_FRACTION = 0.001
_HEADS = ("program", "ranks", "rank", "alone in", "allocated MiB", "reserved MiB", "all there", "")


def main() -> int:
    """Runs the chosen cases, and prints a row for each rank."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_ranks",
        description="Compare peaks of one rank alone with those of ranks that are all there.",
    )
    parser.add_argument("programs", nargs="*", default=PROGRAMS, metavar="PROGRAM")
    parser.add_argument("--ranks", type=int, action="append", help="repeatable; default: 2 and 4")
    parser.add_argument(
        "--group", choices=("planner", "fake"), action="append", help="repeatable; default: both"
    )
    parser.add_argument("--lag", type=int, default=0, help="launches that the card is behind")
    options = parser.parse_args()
    device = emulated_device(find_torch(), lambda line: print(line, file=sys.stderr))
    cases = [
        Case(program=program, ranks=ranks, lag=options.lag)
        for program in options.programs
        for ranks in options.ranks or (2, 4)
    ]
    print(*list(table(_HEADS, [_HEADS]))[:2], sep="\n", flush=True)
    is_good = True
    for case in cases:
        for row, is_equal in compared(case, device, options.group or ("planner", "fake")):
            print(f"| {' | '.join(row)} |", flush=True)  # as it comes: all of them take long
            is_good = is_good and is_equal
    return 0 if is_good else 1


def compared(
    case: Case, device: EmulatedDevice, groups: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yields a row of cells for each rank and group, and whether its peaks agree."""
    begin_s = time.monotonic()
    try:
        real = real_peaks(case, device)
        for group in GROUPS[case.program]:
            if group not in groups:
                continue
            first_only = case.program in _OF_DEEPSPEED  # as planner run plays it
            alone = peaks_alone(case, device, group, first_only=first_only)
            for rank, pair in enumerate(zip(alone, real, strict=False)):
                yield _row(case, rank, group, *pair), agree(*pair)
    except RankError as error:
        print(f"{case.program}, {case.ranks} ranks: {error}", file=sys.stderr)
        yield (case.program, str(case.ranks), *[""] * (len(_HEADS) - 3), "failed"), False
    spent_s = time.monotonic() - begin_s
    print(f"{case.program}, {case.ranks} ranks: {spent_s:.0f} s", file=sys.stderr)


def agree(alone: Peaks, real: Peaks) -> bool:
    """Returns whether the highest peaks differ by no more than the tolerance."""
    pairs = (
        (max(alone.allocated_bytes), max(real.allocated_bytes)),
        (max(alone.reserved_bytes), max(real.reserved_bytes)),
    )
    return all(abs(one - other) <= _TOLERANCE_FRACTION * other for one, other in pairs)


def _row(case: Case, rank: int, group: str, alone: Peaks, real: Peaks) -> tuple[str, ...]:
    verdict = "within 0.1 %" if agree(alone, real) else "differ"
    return (
        case.program,
        str(case.ranks),
        str(rank),
        group,
        _mib(alone.allocated_bytes),
        _mib(alone.reserved_bytes),
        f"{_mib(real.allocated_bytes)} / {_mib(real.reserved_bytes)}",
        "equal to the byte" if alone == real else verdict,
    )


def _mib(peaks_bytes: tuple[int, ...]) -> str:
    return f"{max(peaks_bytes) / MIB:.3f}"


if __name__ == "__main__":
    sys.exit(main())
