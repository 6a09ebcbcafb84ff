"""Derives corrections for the next estimate of a card from past verifications on it.

In: HistoryEntries of one card. Out: the entries comparable with this run, and a Calibration.
Convention: medians, so that one odd run changes nothing; only the runs most like this one count; of
one step only the last run counts, because its errors say little about another step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from planner.memory.budget import Calibration
from planner.memory.interval import median

if TYPE_CHECKING:
    from planner.verification.history import HistoryEntry

LEAST_FOR_OFFSET = 3  # models: the workspaces of one are no rule for the next
_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_DRIVER = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b")


def installed_driver() -> str | None:
    """Returns this machine's NVIDIA driver, like "550.54.15"; None where there is none."""
    with suppress(OSError):
        found = _DRIVER.search(_DRIVER_FILE.read_text(encoding="utf-8", errors="replace"))
        return found[1] if found else None
    return None


def comparable(
    entries: Sequence[HistoryEntry], *, torch: str, driver: str | None
) -> tuple[HistoryEntry, ...]:
    """Returns the runs of the card that are most like this run.

    These are runs with the same driver (its first number) and torch (its first two), else with the
    same torch, else all runs of the card.
    """
    same_torch = [one for one in entries if torch_minor(one.torch) == torch_minor(torch)]
    same_driver = [
        one
        for one in same_torch
        if driver is not None and one.driver and driver_major(one.driver) == driver_major(driver)
    ]
    return tuple(same_driver or same_torch or entries)


def calibrate(runs: Sequence[HistoryEntry]) -> Calibration | None:
    """Returns the Calibration from runs of one card; None where they measured nothing useful."""
    context = [bytes_ for one in runs if (bytes_ := context_bytes(one)) is not None]
    offset = reserved_offset(runs)
    times = [
        one.measured.step_s / one.predicted.step_s
        for one in runs
        if one.measured.step_s and one.predicted.step_s
    ]
    if not context and not times and offset is None:
        return None
    return Calibration(
        card=runs[0].card,
        runs=len(runs),
        context_overhead_bytes=round(median(context)) if context else None,
        reserved_offset_bytes=offset or 0,
        step_time_ratio=median(times) if times else None,
        basis=f"calibrated on {_runs(len(runs))} on this card ({_software(runs)})",
    )


def reserved_offset(runs: Sequence[HistoryEntry]) -> int | None:
    """Returns the median of measured - predicted peak reserved; None: too few models."""
    known = last_of_each_step([one for one in runs if reserved_pairs(one)])
    if models(known) < LEAST_FOR_OFFSET:
        return None
    offsets = [measured - predicted for one in known for predicted, measured in reserved_pairs(one)]
    return round(median(offsets))


def last_of_each_step(runs: Sequence[HistoryEntry]) -> tuple[HistoryEntry, ...]:
    """Returns the last run of each step, in the order of `runs`.

    A run of an older planner lacks parts of its step: it counts only where no run that counts may
    be of the same step.
    """
    newest_first = runs[::-1]
    last: dict[str, list[HistoryEntry]] = {}
    for one in sorted(newest_first, key=lambda one: not one.step.is_whole):
        known = last.setdefault(one.target, [])
        if not any(one.step.may_be(other.step) for other in known):
            known.append(one)
    ids = {one.id for known in last.values() for one in known}
    return tuple(one for one in runs if one.id in ids)


def models(runs: Sequence[HistoryEntry]) -> int:
    """Counts the models: by target, arguments, mode, precision, use of clipping and of EMA.

    Runs that differ in other settings count as one model: their errors say little about the next.
    """
    return len(
        {
            (
                one.target, dict(one.step.parts).get("model_arguments"), one.mode, one.precision,
                one.clip_grad_norm is None, one.ema is None,
            )
            for one in runs
        }
    )  # fmt: skip


def reserved_pairs(entry: HistoryEntry) -> tuple[tuple[int, int], ...]:
    """Returns predicted and measured peak reserved at one batch; empty where one is unknown."""
    predicted, measured = entry.predicted, entry.measured
    if not predicted.peak_reserved_bytes or not measured.peak_reserved_bytes:
        return ()
    if predicted.batch_size != measured.batch_size:
        return ()
    return ((predicted.peak_reserved_bytes, measured.peak_reserved_bytes),)


def context_bytes(entry: HistoryEntry) -> int | None:
    """Returns the measured context overhead; None also for 0, from a driver that reports none."""
    return entry.measured.context_overhead_bytes or None


def torch_minor(version: str) -> str:
    """Returns the first two numbers: "2.14" of "2.14.1+cu130"."""
    return ".".join(version.partition("+")[0].split(".")[:2])


def driver_major(version: str) -> str:
    """Returns the first number: "550" of "550.54.15"."""
    return version.partition(".")[0]


def _software(runs: Sequence[HistoryEntry]) -> str:
    drivers = dict.fromkeys(driver_major(one.driver) for one in runs if one.driver)
    torches = dict.fromkeys(torch_minor(one.torch) for one in runs)
    parts = [f"driver {' and '.join(drivers)}"] if drivers else []
    return ", ".join([*parts, f"torch {' and '.join(torches)}"])


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
