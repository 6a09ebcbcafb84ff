"""Memory of the card that something else holds next to an engine: a training step, an engine.

In: a size, or the file of a saved estimate. Out: Beside. Convention: bytes without the CUDA
context, which the engine has anyway; of a step its highest total, at the high end of its interval,
since PyTorch's allocator keeps what it has once reserved.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from planner.errors import UsageError
from planner.results.estimate import Estimate
from planner.results.saved_file import is_saved, load
from planner.units import format_bytes, parse_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What else is on the card."""

    size_bytes: int
    words: str
    """What it is, a sentence."""


def beside_of(words: str, gpu: str) -> Beside:
    """Returns what else is on the card `gpu` (the id of its record).

    Raises:
        UsageError: neither a size with a unit nor a saved estimate, or one without this card.
        DocumentError: the file cannot be read.
    """
    file = Path(words).expanduser()
    if not is_saved(file):
        size = parse_size(words, "beside")
        return Beside(size_bytes=size, words=f"beside the engine: {format_bytes(size)}, as given")
    found = load(file)
    if not isinstance(found, Estimate):
        raise UsageError(
            f"beside {words!r} (--beside) is not a result of planner estimate: write a size like "
            "20 GiB, or the file of planner estimate --save"
        )
    entry = next((one for one in found.gpus if one.id == gpu), None)
    if entry is None:
        cards = ", ".join(str(one.id) for one in found.gpus)
        raise UsageError(
            f"beside {words!r} (--beside) is an estimate for {cards}, and the engine is on {gpu}: "
            "name the same card"
        )
    interval = entry.device_total_interval_bytes
    total = entry.device_total_bytes if interval is None else interval[1]
    size = total - entry.context_overhead_bytes
    return Beside(
        size_bytes=size,
        words=(
            f"beside the engine: {format_bytes(size)}, the highest total of the step of "
            f"{found.target}{'' if interval is None else ' at the high end of its interval'}, "
            "without its context"
        ),
    )
