"""One inspect run in the child: build, one step that is counted, the table of modules.

In: ModelSource, StepConfig, device, depth. Out: ModelCounts. Convention: the step has one
micro-batch; of a step that calls the model several times the table shows the first call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from planner.config.step import Mode, StepConfig
from planner.errors import ModelError, PlannerError
from planner.wire.module_counts import ModelCounts, OperatorCalls, StepCounts
from planner.wire.run_notes import StepNote
from planner.worker.count.counted_step import counted_step
from planner.worker.count.counts import ModelCall
from planner.worker.count.module_table import Forward, Table, module_table
from planner.worker.drive import forward, lightning, loop
from planner.worker.drive.batch import plan_batch
from planner.worker.drive.job import Job, job_of
from planner.worker.drive.measure import step_plan
from planner.worker.model import compiled
from planner.worker.model.checkpointing import checkpoint_activations
from planner.worker.model.construct import Built, construct, count
from planner.worker.model.weight_average import weight_average
from planner.worker.record.watch import Watch
from planner.worker.serve.progress import note_step
from planner.worker.target.frames import describe, user_frames
from planner.worker.target.source import ModelSource
from planner.worker.target.unloadable import library_error


@dataclass(slots=True)
class _Log:
    """What is known so far."""

    resident_bytes: int
    during: str = "build"
    assumptions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def inspect_model(
    source: ModelSource, config: StepConfig, device: torch.device, depth: int
) -> ModelCounts:
    """Count what one training step with `config.batch_size` samples costs.

    Raises:
        TargetError: the target says nothing about its input.
        UsageError: an option that cannot be used with this model.
        ModelError: the user's code, or PyTorch on its behalf, raised.
    """
    log = _Log(resident_bytes=_resident_bytes())
    once = replace(config, steps=1, accumulate=1)
    try:
        built = construct(source, once, device)
        with compiled.in_eager_mode(built.model):
            return _inspect(source, once, device, depth, log, built)
    except PlannerError:
        raise
    except BaseException as error:
        unloadable = library_error(error)
        if unloadable is not None:
            raise unloadable from error
        raise ModelError(
            f"the model's code failed ({log.during}, batch {config.batch_size}): {describe(error)}",
            user_frames(error),
        ) from error


def _inspect(
    source: ModelSource,
    config: StepConfig,
    device: torch.device,
    depth: int,
    log: _Log,
    built: Built,
) -> ModelCounts:
    log.assumptions += built.assumptions
    log.warnings += built.warnings
    if compiled.has_compiled_parts(built.model):
        log.assumptions.append(compiled.EAGER_TIMES)
    model = compiled.original(built.model)
    _prepared(model, config, log)
    job = job_of(source, config, model, device)
    log.assumptions += job.assumptions
    log.during = "batch"
    with_target = lightning.wants_target(source, config, model)
    batch = plan_batch(source, config, device, with_target=with_target)
    log.assumptions += batch.assumptions
    log.warnings += batch.warnings
    plan = step_plan(source, config, model, device, job, batch)
    plan = replace(plan, average=weight_average(model, config.ema))
    log.during = "step 1"
    note_step(StepNote(step=1, steps=1, modules=sum(1 for _ in model.modules())))
    step = counted_step(plan, partial(_optimizer, job, log))
    plan = replace(plan, optimizer=step.optimizer)
    log.assumptions += step.assumptions
    log.during = "forward"
    with plan.autocast():
        # What tells no modules apart has been watched in the step itself.
        watched = step.forward if depth == 0 else None
        table = module_table(_forward(plan, step.calls, log), depth, watched)
    log.assumptions += table.assumptions
    return ModelCounts(
        counts=count(model),
        step=_step_counts(table, step.flops, config.batch_size),
        modules=table.rows,
        structure=table.structure,
        flop_rules=table.flop_rules,
        forward_flops_by_torch=table.flops_by_torch,
        build_on=built.build_on.value,
        operators=step.operators,
        batch_tensors_bytes=step.batch_tensors_bytes,
        tf32_matmul=torch.backends.cuda.matmul.allow_tf32,
        resident_bytes=log.resident_bytes,
        assumptions=tuple(log.assumptions),
        warnings=tuple(log.warnings),
    )


def _resident_bytes() -> int:
    """Pages of this process that are in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _prepared(model: nn.Module, config: StepConfig, log: _Log) -> None:
    """Bring the model into the state in which its steps run."""
    if config.mode is Mode.TRAIN and not model.training:
        model.train()
        log.assumptions.append("model.train() was called: the model came in evaluation mode")
    if config.checkpoint_activations:
        notes = checkpoint_activations(model)
        log.assumptions += notes.assumptions
        log.warnings += notes.warnings


def _optimizer(job: Job, log: _Log) -> Any | None:
    log.during = "optimizer"
    chosen = job.choose()
    log.assumptions += chosen.assumptions
    log.during = "step 2"
    return chosen.optimizer


def _forward(plan: loop.StepPlan, calls: Sequence[ModelCall], log: _Log) -> Forward:
    model, trains = plan.model, plan.config.mode is Mode.TRAIN
    name = plan.origin if trains else "inference_step"
    if not calls:
        return _without_a_call(plan, name, log)
    if len(calls) > 1:
        log.assumptions.append(
            f"{name} calls the model {len(calls)} times: the table shows the first call, "
            "step_flops has all of them"
        )
    call = calls[0]
    return Forward(
        model=model,
        run=lambda: model(*call.arguments, **call.keywords),
        inputs=(call.arguments, dict(call.keywords)),
        call=call,
        trains=trains,
    )


def _without_a_call(plan: loop.StepPlan, name: str, log: _Log) -> Forward:
    model, batch, trains = plan.model, plan.make_batch(), plan.config.mode is Mode.TRAIN
    if (plan.training_step if trains else plan.inference_step) is None:
        # the loop has called it, and it could not be watched
        run = partial(forward.call, model, batch, plan.required_inputs)
        return Forward(model=model, run=run, inputs=batch, call=None, trains=trains)
    log.assumptions.append(
        f"{name} does not call the model as model(...): the table shows all of {name}"
        + (", with the loss" if trains else "")
    )
    if not trains and plan.inference_step is not None:
        run = partial(_inferred, plan.inference_step, model, batch)
        return Forward(model=model, run=run, inputs=batch, call=None, trains=False)

    def step(watch: Watch) -> Any:
        return loop.call_training_step(replace(plan, watch=watch), batch)

    run = partial(step, Watch())
    return Forward(model=model, run=run, inputs=batch, call=None, step=step)


def _inferred(step: Callable[[nn.Module, Any], Any], model: nn.Module, batch: Any) -> Any:
    with torch.inference_mode():
        return step(model, batch)


def _step_counts(table: Table, step_flops: int, batch_size: int) -> StepCounts:
    whole = table.rows[0]
    ordered = sorted(table.uncounted.items(), key=lambda item: (-item[1], item[0]))
    return StepCounts(
        forward_flops_per_sample=round(whole.forward_flops / batch_size),
        step_flops=step_flops,
        activations_per_sample=None
        if whole.activations is None
        else round(whole.activations / batch_size),
        uncounted_operators=tuple(OperatorCalls(name=name, calls=calls) for name, calls in ordered),
    )
