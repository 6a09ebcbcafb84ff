"""max_batch_size(): the largest batch as a number, for a training script.

In: a target or a live model, and the options of estimate(). Out: a number. Convention: the answer
comes from child processes; the process that asks keeps its card, its model and its random numbers
as they are.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.config.options import EstimateOptions
from planner.errors import UnsupportedPlatformError, UsageError
from planner.hardware.database import load_gpus
from planner.machine import nvml
from planner.machine.this_card import this_card
from planner.memory.card_words import one_card
from planner.questions.estimate import estimate
from planner.results.device_estimate import DeviceEstimate

if TYPE_CHECKING:
    from typing_extensions import Unpack

_ONE_CARD = "max_batch_size answers for one card"


def max_batch_size(
    target: Any,
    *,
    gpu: str | None = None,
    margin: bool = True,
    most: int | None = None,
    **options: Unpack[EstimateOptions],
) -> int | None:
    """Returns the largest batch for the step, without a run on the card.

    `target` is that of estimate(): a live model (a LightningModule trains by its own step), a
    function that builds one, or a file. `gpu` is a card; None: the one that this process trains
    on, less what other processes hold of it. With `margin` the batch fits at the upper end of the
    known errors too (`suggested_batch_size`), where these are known; without, as predicted. `most`
    is the most that is of use, like the samples of a data set. 0: not even batch 1 fits. None:
    everything that was tried fits, so memory does not limit the batch.

    Raises:
        UsageError: several cards, or the memory of this card cannot be known.
        PlannerError: see errors.py.
    """
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise UsageError(f"most must be a whole number from 1 on, not {most!r}")
    database = options.get("hardware_db")
    if gpu is None:
        name, free_bytes = _this_card(None if database is None else Path(os.fspath(database)))
        options = {**options, "gpu_memory": options.get("gpu_memory") or free_bytes}
    else:
        name = one_card(gpu, "gpu", _ONE_CARD, None if database is None else Path(database))
    return _number(estimate(target, gpu=name, **options).gpus[0], margin=margin, most=most)


def _this_card(database: Path | None) -> tuple[str, int]:
    """Returns the id of the card of this process, and the memory that it can have of it."""
    try:
        with nvml.opened() as library:
            found = this_card(library)
    except UnsupportedPlatformError as error:
        raise UnsupportedPlatformError(
            "max_batch_size without gpu is for the card of this process, and here no NVIDIA driver "
            "answers, or the card is partitioned (MIG): name a card with gpu, like gpu='a100', and "
            "for a part of it gpu_memory"
        ) from error
    spec = load_gpus(database).find_physical(found.card.name, found.card.usable_memory_bytes).spec
    return spec.id, found.free_bytes


def _number(card: DeviceEstimate, *, margin: bool, most: int | None) -> int | None:
    largest = card.max_batch_size
    if largest is None:
        raise UsageError("max_batch_size needs a card, so it has no device='cpu'")
    is_bound, safe = card.max_batch_is_bound, card.suggested_batch_size
    if margin and safe is not None and safe < largest:
        largest, is_bound = safe, False
    if is_bound and (most is None or largest < most):
        return None
    return largest if most is None else min(largest, most)
