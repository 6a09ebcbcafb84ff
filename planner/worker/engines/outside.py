"""Libraries with CUDA code of their own, as the emulated device saw them.

In: the device's notes and its account of memory. Out: OutsideMemory, and sentences for the report.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace

from planner.units import format_bytes
from planner.wire.trace import Failure, OutsideMemory
from planner.worker.engines import emulation

_REFUSED = "refused:"  # "refused:LIBRARY:FUNCTION", native/refusals.cpp
_UNKNOWN_SIZE = "size-unknown-"  # of a library that torch does not query, emulator/stubs.py
_FUNCTIONS_SHOWN = 4


def memory() -> OutsideMemory:
    """Returns this process's peak memory of the first card outside PyTorch's allocator."""
    return OutsideMemory(
        total_bytes=_figure("outside"),
        managed_bytes=_figure("managed"),
        beyond_bytes=_figure("beyond"),
    )


def _figure(name: str) -> int:
    function = emulation.device()[f"planner_device_peak_{name}_bytes"]
    function.restype = ctypes.c_size_t
    return int(function(0))


def assumptions(notes: Sequence[str], taken: OutsideMemory | None = None) -> tuple[str, ...]:
    """Returns sentences that a reader of the figures must know; `taken` is from memory()."""
    taken = memory() if taken is None else taken
    others_bytes = taken.total_bytes - taken.managed_bytes
    said = []
    if taken.managed_bytes:
        said.append(
            f"{format_bytes(taken.managed_bytes)} of unified memory (cudaMallocManaged) are "
            "counted on the card, beside PyTorch's peaks; when the card is full the driver moves "
            "them to the host, and steps then take longer"
        )
    if others_bytes > 0:
        said.append(
            f"{format_bytes(others_bytes)} that libraries take from CUDA themselves (cudaMalloc) "
            "are counted on the card, beside PyTorch's peaks"
        )
    return (*said, *_refused(notes), *_unknown_sizes(notes))


def explained(failure: Failure | None, notes: Sequence[str]) -> Failure | None:
    """Returns the failure with the calls that were not emulated, because one may be its cause."""
    said = _refused(notes)
    if failure is None or not said:
        return failure
    return replace(failure, message="\n".join([failure.message, *said]))


def _refused(notes: Sequence[str]) -> tuple[str, ...]:
    """Returns a sentence for each library that called functions without emulation."""
    calls: dict[str, list[str]] = {}
    for note in notes:
        if note.startswith(_REFUSED):
            library, _, function = note.removeprefix(_REFUSED).rpartition(":")
            calls.setdefault(library, []).append(function)
    return tuple(
        f"{library} called {_listed(functions)}, which the emulated device does not have: the call "
        "was answered with an error, and what follows from it is not what a card does"
        for library, functions in calls.items()
    )


def _listed(functions: Sequence[str]) -> str:
    more = len(functions) - _FUNCTIONS_SHOWN
    shown = ", ".join(functions[:_FUNCTIONS_SHOWN])
    return f"{shown} and {more} more functions" if more > 0 else shown


def _unknown_sizes(notes: Sequence[str]) -> tuple[str, ...]:
    libraries = [
        note.removeprefix(_UNKNOWN_SIZE) for note in notes if note.startswith(_UNKNOWN_SIZE)
    ]
    return tuple(
        f"workspaces of {library} are taken as 256 bytes"
        for library in libraries
        if f"{_UNKNOWN_SIZE}{library}" not in emulation.NOTES_IN_WORDS
    )
