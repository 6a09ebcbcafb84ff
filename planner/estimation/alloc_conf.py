"""Replays a step under other settings of PyTorch's allocator, without another run.

In: PYTORCH_CUDA_ALLOC_CONF in several wordings, and the requests of a recorded run. Out: WhatIfs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.config.step import StepConfig
from planner.errors import UsageError
from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES
from planner.memory.allocator.options import UnknownOptionError, parse_alloc_conf
from planner.memory.allocator.replay import Request, replay
from planner.memory.allocator.requests import packed
from planner.memory.allocator.settings import AllocatorSettings, Backend
from planner.memory.forecast import Forecast
from planner.memory.scaling import ScaledRequests
from planner.wire.variables import ALLOC_CONF_VARIABLES

if TYPE_CHECKING:
    from planner.results.device_estimate import WhatIf


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatorPlan:
    """The setting of the run, and others to replay it under.

    `text` is the setting in force as it was written, "" for torch's defaults; `variable` is the
    environment variable that holds it. `in_force` is None where the setting cannot be replayed.
    """

    text: str
    variable: str | None = None
    in_force: AllocatorSettings | None
    others: tuple[tuple[str, AllocatorSettings], ...] = ()


def allocator_plan(texts: Sequence[str], torch_version: str) -> AllocatorPlan:
    """Takes the first of `texts` as the setting in force, torch's defaults and the rest as others.

    Without `texts`, the environment's setting is in force, as in every child of this process.

    Raises:
        UsageError: a setting that this torch refuses, or an alternative that has no replay.
    """
    if not texts:
        return _inherited(torch_version)
    parsed = [(text, parse_alloc_conf(text, torch_version)) for text in dict.fromkeys(texts)]
    (first, settings), *rest = parsed
    for text, other in rest:
        if _with_replay(other) is None:
            raise UsageError(
                f"alloc_conf {text!r} cannot be compared by a replay; give it alone, or first"
            )
    return AllocatorPlan(
        text=first,
        in_force=_with_replay(settings),
        others=(("", parse_alloc_conf("", torch_version)), *rest),
    )


def check_environment(config: StepConfig, torch_version: str) -> None:
    """Checks that torch accepts the environment's setting; else its import would end the child.

    Raises:
        UsageError: torch refuses it, and the step has no setting of its own; names the variable.
    """
    if config.alloc_conf is None:
        _inherited(torch_version)


def _inherited(torch_version: str) -> AllocatorPlan:
    variable = next((name for name in ALLOC_CONF_VARIABLES if name in os.environ), None)
    text = "" if variable is None else os.environ[variable]
    try:
        settings = parse_alloc_conf(text, torch_version)
    except UsageError as error:
        if isinstance(error, UnknownOptionError) and error.may_be_newer:
            return AllocatorPlan(text=text, variable=variable, in_force=None)  # torch decides
        raise UsageError(
            f"{variable}={text!r} in the environment: {error}; correct it or unset {variable}"
        ) from None
    return AllocatorPlan(text=text, variable=variable, in_force=_with_replay(settings))


def _with_replay(settings: AllocatorSettings) -> AllocatorSettings | None:
    return settings if settings.backend is Backend.NATIVE else None


def what_ifs(
    others: Sequence[tuple[str, AllocatorSettings]],
    requests: Sequence[Request],
    scaled: ScaledRequests | None,
    *,
    capacity_bytes: int,
    total_memory_bytes: int,
) -> tuple[WhatIf, ...]:
    """Replays `requests` under each of the settings; computes the largest batch from `scaled`."""
    from planner.results.device_estimate import WhatIf  # loads slowly, and the child starts before

    found = []
    columns = packed(requests) if others else requests
    for text, settings in others:
        free = replay(
            columns,
            settings,
            capacity_bytes=WITHOUT_LIMIT_BYTES,
            total_memory_bytes=total_memory_bytes,
        )
        full = replay(
            columns,
            settings,
            capacity_bytes=capacity_bytes,
            total_memory_bytes=total_memory_bytes,
        )
        fits = full.out_of_memory is None
        shown = full if fits else free
        largest = None
        if scaled is not None:
            largest = Forecast(scaled, settings).largest(
                capacity_bytes=capacity_bytes, total_memory_bytes=total_memory_bytes
            )
        found.append(
            WhatIf(
                alloc_conf=text or None,
                peak_allocated_bytes=shown.peak_allocated_bytes,
                peak_reserved_bytes=shown.peak_reserved_bytes,
                fits=fits,
                max_batch_size=None if largest is None else largest.largest,
            )
        )
    return tuple(found)
