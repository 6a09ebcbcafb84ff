"""estimate() and inspect(): the only place where the stages are called, in order.

target, cards, options
  -> the cards' budgets, and the emulated device for this torch (built once)
  -> a child that loads the model; per card, side by side, its runs and search
  -> Estimate; of inspect(), one counted run and an Inspection
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import planner
from planner.card_run import CardAnswer, CardRun, Cards, Progress
from planner.device.build import emulated_device
from planner.device.payload import ModelFunctions, child_target
from planner.device.runner import Runner
from planner.device.torch_install import TorchInstall, find_torch
from planner.errors import UsageError
from planner.inspection import Inspection
from planner.memory.budget import memory_budgets
from planner.options import arguments, step_config
from planner.protocol import ChildVersions
from planner.results import Estimate, Versions
from planner.summary import summarize, value_reads
from planner.workload import Scalar, Target

ALLOC_CONF = "PYTORCH_CUDA_ALLOC_CONF"
# A recent data-centre card: flash attention and every dtype.
INSPECT_GPU = "a100-sxm4-80gb"


def estimate(
    target: Any,
    *,
    gpu: str | Sequence[str],
    build_batch: Callable[[int], Any] | None = None,
    training_step: Callable[[Any, Any], Any] | None = None,
    build_optimizer: Callable[[Any], Any] | None = None,
    model_arguments: Mapping[str, Scalar] | None = None,
    max_batch: bool = True,
    gpu_memory: str | int | None = None,
    reserve: str | int = 0,
    timeout_s: float = 600.0,
    hardware_db: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    **options: Any,
) -> Estimate:
    """Run the step on emulated cards: does it fit, what does it take, how large a batch.

    `target` is a model file, "FILE:NAME", "package.module:NAME", a live nn.Module or a function
    that builds one. `options` are the fields of StepConfig, in words: batch_size=8,
    precision="amp-bf16", inputs="3x224x224", optimizer="sgd" ...

    Raises:
        PlannerError: see errors.py. A model that does not fit is a result, not an error.
    """
    progress = on_progress or (lambda _: None)
    config = step_config(options)
    budgets = memory_budgets(
        [gpu] if isinstance(gpu, str) else list(gpu),
        hardware_db=Path(hardware_db) if hardware_db is not None else None,
        gpu_memory=gpu_memory,
        reserve=reserve,
    )
    functions = ModelFunctions(
        build_batch=build_batch, training_step=training_step, build_optimizer=build_optimizer
    )
    given = arguments(model_arguments or {}, "model_arguments")
    torch = find_torch()
    with child_target(target, functions, given) as named:
        cards = Cards(torch=torch, device=emulated_device(torch, progress))
        progress("importing torch and the model")
        with Runner(
            named,
            device=cards.device,
            profile=cards.unlimited(budgets[0]),
            timeout_s=timeout_s,
            environment={} if config.alloc_conf is None else {ALLOC_CONF: config.alloc_conf},
        ) as runner:
            versions = _versions(runner.wait_loaded(), torch)
            runs = [
                CardRun(budget=budget, config=config, runner=runner, cards=cards, progress=progress)
                for budget in budgets
            ]
            answers = _side_by_side(runs, max_batch)
            return summarize(
                label(target, named), config, answers, versions, tuple(runner.warnings)
            )


def inspect(
    target: Any,
    *,
    gpu: str = INSPECT_GPU,
    depth: int = 2,
    build_batch: Callable[[int], Any] | None = None,
    training_step: Callable[[Any, Any], Any] | None = None,
    model_arguments: Mapping[str, Scalar] | None = None,
    timeout_s: float = 600.0,
    hardware_db: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    **options: Any,
) -> Inspection:
    """Count what a training step costs, by module: FLOPs, activations, what backward keeps.

    `target` and `options` are those of estimate(); the optimizer does not run. `gpu` is the card
    whose kernels are taken: it moves what they save, and no FLOPs.

    Raises:
        PlannerError: see errors.py.
    """
    progress = on_progress or (lambda _: None)
    config = step_config(options)
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        raise UsageError(f"depth must be a whole number from 0 (the model alone) on, not {depth!r}")
    database = Path(hardware_db) if hardware_db is not None else None
    (budget,) = memory_budgets([gpu], hardware_db=database, gpu_memory=None, reserve=0)
    functions = ModelFunctions(
        build_batch=build_batch, training_step=training_step, build_optimizer=None
    )
    given = arguments(model_arguments or {}, "model_arguments")
    torch = find_torch()
    with child_target(target, functions, given) as named:
        cards = Cards(torch=torch, device=emulated_device(torch, progress))
        progress("importing torch and the model")
        profile = cards.unlimited(budget)
        with Runner(named, device=cards.device, profile=profile, timeout_s=timeout_s) as runner:
            versions = _versions(runner.wait_loaded(), torch)
            progress("counting")
            counts = runner.inspect(profile, config, depth)
            note = () if budget.note is None else (budget.note,)
            return Inspection(
                target=label(target, named),
                config=config,
                depth=depth,
                gpu=budget.card.name,
                model=counts,
                versions=versions,
                assumptions=(*note, *counts.assumptions, *value_reads(counts)),
                warnings=(*counts.warnings, *runner.warnings),
            )


def _versions(child: ChildVersions, torch: TorchInstall) -> Versions:
    return Versions(
        torch=child.torch,
        cuda=child.cuda,
        cudnn=torch.cudnn_version,
        python=child.python,
        planner=planner.__version__,
    )


def label(target: Any, named: Target) -> str:
    """The target as the caller knows it."""
    if isinstance(target, (str, os.PathLike, Target)):
        return named.label
    return named.name or "model"


def _side_by_side(runs: Sequence[CardRun], search: bool) -> list[CardAnswer]:
    """Answers in order; as many at a time as there are processors. The first error ends all."""
    workers = min(len(runs), len(os.sched_getaffinity(0)))
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        return list(pool.map(lambda run: run.answer(search), runs))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
