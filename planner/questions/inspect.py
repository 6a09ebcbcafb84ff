"""inspect(): counts the cost of a step by module.

In: target, options. Out: Inspection. Convention: one counted run, in a child that holds the model.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.config.options import InspectOptions
from planner.config.weights import settled
from planner.emulator.torch_install import find_torch
from planner.errors import UsageError
from planner.estimation.generation.target import prompt_alone
from planner.estimation.request import check_one_gpu, model_request
from planner.estimation.session import loaded_target
from planner.memory.budget import memory_budgets
from planner.memory.card_words import one_card
from planner.results.inspection import Inspection
from planner.results.values import ValuesResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

# A recent data-centre card: flash attention and every dtype.
INSPECT_GPU = "a100-sxm4-80gb"


def inspect(
    target: Any,
    *,
    gpu: str = INSPECT_GPU,
    depth: int = 2,
    hardware_db: str | os.PathLike[str] | None = None,
    **options: Unpack[InspectOptions],
) -> Inspection:
    """Counts the cost of a training step by module: FLOPs, activations, bytes kept for backward.

    `target` is that of estimate(). `gpu` is the card whose kernels are taken: it changes the bytes
    that they save, and no FLOPs. All `options`: planner.config.options.

    Raises:
        PlannerError: see errors.py.
    """
    asked = model_request(target, **options)
    check_one_gpu(asked.config)
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        raise UsageError(f"depth must be a whole number from 0 (the model alone) on, not {depth!r}")
    database = Path(hardware_db) if hardware_db is not None else None
    card = one_card(gpu, "gpu", "inspect takes one card, whose kernels it counts", database)
    (budget,) = memory_budgets([card], hardware_db=database, gpu_memory=None, reserve=0)
    with loaded_target(
        asked.target,
        asked.functions,
        asked.given,
        torch=find_torch(),
        budget=budget,
        config=asked.config,
        timeout_s=asked.timeout_s,
        progress=asked.progress,
        cache=asked.cache,
    ) as child:
        asked.progress("counting")
        counted, note_of_prompt = prompt_alone(asked)
        counts = child.runner.inspect(child.cards.unlimited(budget), counted, depth)
        not_kept = child.runner.not_kept()
        note = () if budget.note is None else (budget.note,)
        values = ValuesResult(reads=counts.value_reads, data_dependent=asked.config.data_dependent)
        return Inspection(
            target=child.label,
            config=settled(asked.config, counts.counts.weight_dtypes),
            depth=depth,
            gpu=budget.card.name,
            gpu_id=budget.spec.id,
            model=counts,
            versions=child.versions,
            assumptions=(
                *note,
                *note_of_prompt,
                *counts.assumptions,
                *values.assumptions(),
                *not_kept,
            ),
            notes=(*counts.notes, *not_kept),
            warnings=(*counts.warnings, *values.warnings(), *child.runner.warnings),
            values=values,
            model_arguments=asked.given,
        )
