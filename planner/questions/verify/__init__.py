"""verify(): searches the largest batch for real, and compares it with that of estimate().

target, device, options
  -> estimate() for that device: the predicted largest batch
  -> a child on the engine of the device; probes, each in a process of its own, until memory is out
  -> estimate() at the batch that was measured; Verification
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.config.options import InspectOptions
from planner.config.parse import device_word
from planner.errors import UsageError
from planner.estimation.request import check_one_gpu, model_request
from planner.machine.nvml import chosen_card, device_index, opened
from planner.memory.card_words import one_card
from planner.questions.estimate_cpu import memory_limit
from planner.questions.verify.cpu import on_cpu
from planner.questions.verify.emulated_card import on_emulated_card
from planner.questions.verify.job import Job
from planner.questions.verify.physical_card import on_physical_card
from planner.results.verification import Verification
from planner.units import parse_fraction

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEFAULT_TOLERANCE = "3%"


def verify(
    target: Any,
    *,
    emulated: str | None = None,
    device: str | None = None,
    memory: str | int | None = None,
    reserve: str | int = 0,
    tolerance: str | float = DEFAULT_TOLERANCE,
    max_batch: int | None = None,
    hardware_db: str | os.PathLike[str] | None = None,
    **options: Unpack[InspectOptions],
) -> Verification:
    """Searches the largest batch for real and compares it with the prediction.

    `target` is that of estimate(); all `options`: planner.config.options. The device is a physical
    card ("cuda", "cuda:1"; the default), "cpu" with at most `memory` of RAM, or with `emulated` an
    emulated card.
    `reserve` is kept free, like "1GiB" or "5%"; `tolerance` is the share by which the device total
    may be off.

    Raises:
        PlannerError: see errors.py. Not fitting, and a prediction that is off, are results.
    """
    device = device_word(device)
    if emulated is not None and device is not None:
        raise UsageError(f"say either emulated {emulated!r} or device {device!r}, not both")
    if memory is not None and device != "cpu":
        raise UsageError("memory is the limit of a run on the CPU: say device cpu with it")
    _check_max_batch(max_batch)
    asked = model_request(target, **options)
    check_one_gpu(asked.config)
    job = Job(
        target=asked.target,
        functions=asked.functions,
        given=asked.given,
        config=asked.config,
        options=asked.step_words,
        reserve=reserve,
        tolerance=parse_fraction(tolerance, "tolerance"),
        max_batch=max_batch,
        timeout_s=asked.timeout_s,
        hardware_db=None if hardware_db is None else Path(hardware_db),
        progress=asked.progress,
    )
    if emulated is not None:
        card = one_card(
            emulated, "emulated", "verify takes one card, whose memory it fills", job.hardware_db
        )
        return on_emulated_card(job, card)
    if device == "cpu":
        return on_cpu(job, memory_limit(memory))
    index = device_index(device or _own_device())
    with opened() as nvml:
        return on_physical_card(job, nvml, chosen_card(nvml.cards(), index))


def _check_max_batch(max_batch: object) -> None:
    """Raises UsageError if it is not a batch size; the command line gives a whole number."""
    if max_batch is None:
        return
    if isinstance(max_batch, bool) or not isinstance(max_batch, int):
        raise UsageError(f"max_batch must be a whole number, not {max_batch!r}")
    if max_batch < 1:
        raise UsageError(f"max_batch must be at least 1, not {max_batch}")


def _own_device() -> str:
    """Returns the first card; under torchrun, the card that LOCAL_RANK names for this process."""
    return f"cuda:{os.environ.get('LOCAL_RANK') or 0}"
