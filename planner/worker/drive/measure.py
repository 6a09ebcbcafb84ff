"""One run in the child: build, place, step, and what the allocator saw.

In: ModelSource, StepConfig, device. Out: StepTrace, also when memory ran out or the user's code
raised. Convention: only torch.OutOfMemoryError is running out of memory; a text never is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from planner.config.step import Mode, StepConfig
from planner.errors import ModelError, TargetError, UsageError
from planner.wire.run_notes import StepNote
from planner.wire.trace import AllocationTrace, Counts, Failure, Outcome, RequestLog, StepTrace
from planner.worker.drive import forward, lightning, loop
from planner.worker.drive.accumulation import Accumulation, shortened
from planner.worker.drive.batch import BatchPlan, plan_batch
from planner.worker.drive.gradients import missing_gradients
from planner.worker.drive.job import Job, job_of
from planner.worker.drive.loss import DefaultLoss
from planner.worker.drive.step_events import optimizers_noted
from planner.worker.engines import peaks
from planner.worker.model import compiled, meta, precision
from planner.worker.model.checkpointing import checkpoint_activations
from planner.worker.model.construct import construct, count
from planner.worker.model.weight_average import weight_average
from planner.worker.record import attention
from planner.worker.record.quiet import collector_paused
from planner.worker.record.recorder import Recorder
from planner.worker.record.request_recorder import RequestRecorder
from planner.worker.record.watch import Watch
from planner.worker.serve.failures import is_cuda_error, is_out_of_host_memory, is_out_of_memory
from planner.worker.serve.progress import note_step
from planner.worker.target.frames import text_of, user_frames
from planner.worker.target.source import ModelSource
from planner.worker.target.unloadable import library_error


@dataclass(slots=True)
class _Log:
    """What is known so far; it outlives a failure."""

    during: str = "build"
    build_on: str = ""
    optimizer: str = ""
    counts: Counts | None = None
    assumptions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def measure(
    source: ModelSource,
    config: StepConfig,
    device: torch.device,
    watch: Watch | None = None,
    *,
    real_values: bool = False,
) -> StepTrace:
    """Build the model, run `config.steps` steps on `device` and report the peaks.

    With `real_values` weights and batches hold what the user's code gives them.

    Raises:
        TargetError: the target says nothing about its input.
        UsageError: an option that cannot be used with this model or optimizer.
    """
    return _measure(source, config, device, watch or Watch(), real_values)


def record_requests(
    source: ModelSource, config: StepConfig, device: torch.device
) -> tuple[StepTrace, RequestLog | None]:
    """The same run, and each request to the allocator; None where they could not be recorded.

    Raises:
        TargetError: the target says nothing about its input.
        UsageError: an option that cannot be used with this model or optimizer.
    """
    recorder = RequestRecorder(device)
    trace = _measure(source, config, device, recorder)
    return trace, recorder.requests()


def record(
    source: ModelSource,
    config: StepConfig,
    device: torch.device,
    *,
    real_values: bool = False,
) -> tuple[StepTrace, AllocationTrace | None]:
    """The same run, and what each request to the allocator was for; None as above.

    Raises:
        TargetError: the target says nothing about its input.
        UsageError: an option that cannot be used with this model or optimizer.
    """
    recorder = Recorder(device)
    trace = _measure(source, config, device, recorder, real_values)
    return trace, recorder.trace()


def _measure(
    source: ModelSource,
    config: StepConfig,
    device: torch.device,
    watch: Watch,
    real_values: bool = False,
) -> StepTrace:
    peaks.release(device)
    attention.reset()
    recorder = peaks.PeakRecorder(device)
    log = _Log()
    outcome, failure = Outcome.COMPLETED, None
    watch.begin()
    try:
        _run(source, config, device, recorder, log, watch, real_values)
    except (TargetError, UsageError):
        raise
    except BaseException as error:  # the user's code may raise any
        outcome = _outcome(error, device, is_real=real_values)
        failure = _failure(error, log.during)
    finally:
        watch.end()
    recorder.finish()
    return StepTrace(
        outcome=outcome,
        batch_size=config.batch_size,
        peak_allocated_bytes=recorder.allocated_bytes,
        peak_active_bytes=recorder.active_bytes,
        peak_reserved_bytes=recorder.reserved_bytes,
        step_peak_allocated_bytes=tuple(recorder.step_allocated_bytes),
        alloc_retries=recorder.alloc_retries,
        optimizer=log.optimizer,
        build_on=log.build_on,
        counts=log.counts,
        attention_backends=attention.recorded(),
        assumptions=tuple(log.assumptions),
        warnings=tuple(log.warnings),
        failure=failure,
    )


def _outcome(error: BaseException, device: torch.device, *, is_real: bool) -> Outcome:
    if is_out_of_memory(error):
        return Outcome.OUT_OF_MEMORY
    # On an emulated card these are a matter of this machine, or of the model's code.
    if is_real and device.type == "cpu" and is_out_of_host_memory(error):
        return Outcome.OUT_OF_MEMORY
    if is_real and device.type == "cuda" and is_cuda_error(error):
        return Outcome.CUDA_ERROR
    return Outcome.MODEL_ERROR


def _run(
    source: ModelSource,
    config: StepConfig,
    device: torch.device,
    recorder: peaks.PeakRecorder,
    log: _Log,
    watch: Watch,
    real_values: bool,
) -> None:
    micro_batches = Accumulation(asked=config.accumulate, device=device)
    config = shortened(config)
    note_step(StepNote(step=0, steps=config.steps))
    built = construct(source, config, device, real_values=real_values)
    model = built.model
    log.build_on = built.build_on.value
    log.assumptions += built.assumptions
    log.warnings += built.warnings
    _set_mode(model, config, log)
    if config.checkpoint_activations:
        notes = checkpoint_activations(model)
        log.assumptions += notes.assumptions
        log.warnings += notes.warnings
    job = job_of(source, config, model, device, real_values=real_values)
    log.assumptions += job.assumptions
    log.during = "batch"
    with_target = lightning.wants_target(source, config, model)
    batch = plan_batch(source, config, device, real_values=real_values, with_target=with_target)
    log.assumptions += batch.assumptions
    log.warnings += batch.warnings
    _finish_lazy_modules(model, batch, log)
    log.counts = count(model)
    log.during = "optimizer"
    chosen = job.choose()
    log.optimizer = chosen.name
    log.assumptions += chosen.assumptions
    log.during = "ema"
    average = weight_average(model, config.ema)
    plan = step_plan(source, config, model, device, job, batch)
    plan = replace(
        plan,
        optimizer=chosen.optimizer,
        average=average,
        watch=watch,
        after_micro_batch=micro_batches.after_micro_batch,
    )
    _run_steps(plan, recorder, log)
    log.assumptions += micro_batches.assumptions()
    log.warnings += micro_batches.warnings()


def step_plan(
    source: ModelSource,
    config: StepConfig,
    model: nn.Module,
    device: torch.device,
    job: Job,
    batch: BatchPlan,
) -> loop.StepPlan:
    """The steps of a job on a model that is ready; they have no optimizer and no watch yet."""
    return loop.StepPlan(
        model=model,
        make_batch=batch.make,
        config=config,
        device=device,
        required_inputs=forward.required_inputs(model),
        autocast=precision.autocast(config, device),
        scaler=job.scaler,
        training_step=job.training_step,
        owns_step=job.owns_step,
        owns_autocast=job.owns_autocast,
        origin=job.origin,
        inference_step=source.inference_step,
    )


def _run_steps(plan: loop.StepPlan, recorder: peaks.PeakRecorder, log: _Log) -> None:
    first = StepNote(
        step=1,
        steps=plan.config.steps,
        modules=sum(1 for _ in plan.model.modules()),
        compiles=compiled.has_compiled_parts(plan.model),
    )

    def on_step(number: int) -> None:
        if number == 1 and plan.config.mode is Mode.TRAIN and not plan.owns_step:
            log.warnings += missing_gradients(plan.model)
        recorder.end_step()
        plan.watch.end_step()
        log.during = f"step {number + 1}"
        if number < plan.config.steps:
            note_step(replace(first, step=number + 1))

    default_loss, graphs = DefaultLoss(), compiled.compiled_graphs()
    log.during = "step 1"
    note_step(first)
    try:
        with collector_paused(), optimizers_noted(plan.watch):
            recorder.start_steps()
            plan.watch.built(plan.model, plan.optimizer, plan.scaler)
            if plan.average is not None:
                plan.watch.averaged(plan.average.module)
            if plan.config.mode is Mode.TRAIN:
                loop.train(plan, default_loss, on_step)
            else:
                loop.infer(plan, on_step)
    finally:
        plan.watch.end_steps()
        log.assumptions += default_loss.assumptions()
        if compiled.has_compiled_parts(plan.model) or compiled.compiled_graphs() > graphs:
            log.assumptions.append(compiled.EAGER_TIMES)


def _set_mode(model: nn.Module, config: StepConfig, log: _Log) -> None:
    if config.mode is Mode.TRAIN and not model.training:
        model.train()
        log.assumptions.append("model.train() was called: the model came in evaluation mode")


def _finish_lazy_modules(model: nn.Module, batch: BatchPlan, log: _Log) -> None:
    """Let lazy modules see an input before an optimizer needs their parameters."""
    number = meta.lazy_parameters(model)
    if not number:
        return
    with torch.no_grad():
        forward.call(model, batch.make(), forward.required_inputs(model))
    log.assumptions.append(f"{number} lazy parameters were shaped by one forward before step 1")


def _failure(error: BaseException, during: str) -> Failure:
    error = library_error(error) or error
    message: Any = text_of(error)
    frames = error.frames if isinstance(error, ModelError) else user_frames(error)
    return Failure(kind=type(error).__name__, message=message, frames=frames, during=during)
