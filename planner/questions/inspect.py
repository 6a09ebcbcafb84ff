"""inspect(): counts what a step costs, by module.

In: target, options. Out: Inspection. Convention: one counted run, in a child that holds the model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from planner.config.parse import arguments, one_text, step_config
from planner.config.target import Scalar
from planner.config.weights import settled
from planner.emulator.torch_install import find_torch
from planner.errors import UsageError
from planner.estimation.context import Progress
from planner.estimation.session import loaded_target
from planner.memory.budget import is_every_card, memory_budgets
from planner.process.payload import ModelFunctions
from planner.results.inspection import Inspection
from planner.results.values import ValuesResult

# A recent data-centre card: flash attention and every dtype.
INSPECT_GPU = "a100-sxm4-80gb"


def inspect(
    target: Any,
    *,
    gpu: str = INSPECT_GPU,
    depth: int = 2,
    build_batch: Callable[..., Any] | None = None,
    training_step: Callable[..., Any] | None = None,
    build_optimizer: Callable[..., Any] | None = None,
    inference_step: Callable[[Any, Any], Any] | None = None,
    model_arguments: Mapping[str, Scalar] | None = None,
    timeout_s: float = 600.0,
    hardware_db: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    **options: Any,
) -> Inspection:
    """Count what a training step costs, by module: FLOPs, activations, what backward keeps.

    `target` and `options` are those of estimate(). `gpu` is the card whose kernels are taken: it
    moves what they save, and no FLOPs.

    Raises:
        PlannerError: see errors.py.
    """
    progress = on_progress or (lambda _: None)
    config = step_config(options)
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        raise UsageError(f"depth must be a whole number from 0 (the model alone) on, not {depth!r}")
    database = Path(hardware_db) if hardware_db is not None else None
    if is_every_card([one_text(gpu, "gpu")]):
        raise UsageError("inspect takes one card, whose kernels it counts")
    (budget,) = memory_budgets([gpu], hardware_db=database, gpu_memory=None, reserve=0)
    functions = ModelFunctions(
        build_batch=build_batch,
        training_step=training_step,
        build_optimizer=build_optimizer,
        inference_step=inference_step,
    )
    given = arguments(model_arguments or {}, "model_arguments")
    with loaded_target(
        target,
        functions,
        given,
        torch=find_torch(),
        budget=budget,
        config=config,
        timeout_s=timeout_s,
        progress=progress,
    ) as child:
        progress("counting")
        counts = child.runner.inspect(child.cards.unlimited(budget), config, depth)
        note = () if budget.note is None else (budget.note,)
        values = ValuesResult(reads=counts.value_reads, data_dependent=config.data_dependent)
        return Inspection(
            target=child.label,
            config=settled(config, counts.counts.weight_dtypes),
            depth=depth,
            gpu=budget.card.name,
            gpu_id=budget.spec.id,
            model=counts,
            versions=child.versions,
            assumptions=(*note, *counts.assumptions, *values.assumptions()),
            warnings=(*counts.warnings, *values.warnings(), *child.runner.warnings),
            values=values,
            model_arguments=given,
        )
