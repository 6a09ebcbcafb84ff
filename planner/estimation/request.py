"""All that a caller says of a step, checked before anything is started.

In: the keyword options of estimate(), curve() and compare(). Out: EstimateRequest. Convention:
what the cards, the host and the torch of this machine say is found later, in session.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.config.parse import arguments, step_config, texts
from planner.config.step import StepConfig
from planner.config.target import Scalar
from planner.errors import UsageError
from planner.estimation.context import Progress
from planner.estimation.job import speed_words
from planner.process.payload import ModelFunctions


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateRequest:
    """`alloc_confs`: the first is in force, the others are held against it.

    `speed_words` are for job_config, which may have to measure this machine.
    """

    target: Any
    functions: ModelFunctions
    given: tuple[tuple[str, Scalar], ...]
    config: StepConfig
    alloc_confs: tuple[str, ...]
    speed_words: Mapping[str, Any]
    gpu_memory: str | int | None
    reserve: str | int
    calibration: bool
    timeout_s: float
    database: Path | None
    progress: Progress


def estimate_request(
    target: Any,
    *,
    build_batch: Callable[..., Any] | None = None,
    training_step: Callable[..., Any] | None = None,
    build_optimizer: Callable[..., Any] | None = None,
    inference_step: Callable[[Any, Any], Any] | None = None,
    model_arguments: Mapping[str, Scalar] | None = None,
    gpu_memory: str | int | None = None,
    reserve: str | int = 0,
    alloc_conf: str | Sequence[str] | None = None,
    calibration: bool = True,
    timeout_s: float = 600.0,
    hardware_db: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    **options: Any,
) -> EstimateRequest:
    """The step that these options mean; `options` are fields of StepConfig and speed words.

    Raises:
        UsageError: an option that there is not, or a value that it does not take.
    """
    alloc_confs = texts(alloc_conf, "alloc_conf")
    asked, fields = speed_words(options)
    return EstimateRequest(
        target=target,
        functions=ModelFunctions(
            build_batch=build_batch,
            training_step=training_step,
            build_optimizer=build_optimizer,
            inference_step=inference_step,
        ),
        given=arguments(model_arguments or {}, "model_arguments"),
        config=step_config({**fields, "alloc_conf": alloc_confs[0] if alloc_confs else None}),
        alloc_confs=alloc_confs,
        speed_words=asked,
        gpu_memory=gpu_memory,
        reserve=reserve,
        calibration=calibration,
        timeout_s=timeout_s,
        database=None if hardware_db is None else Path(hardware_db),
        progress=on_progress or (lambda _: None),
    )


def asked_with_one_setting(target: Any, **options: Any) -> EstimateRequest:
    """The same, with one setting of the allocator at the most.

    Raises:
        UsageError: as above, or several settings.
    """
    alloc_conf = options.get("alloc_conf")
    if not (alloc_conf is None or isinstance(alloc_conf, str)):
        raise UsageError(f"alloc_conf must be one text here, not {alloc_conf!r}")
    return estimate_request(target, **options)
