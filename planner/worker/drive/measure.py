"""One run in the child: build, place, step, and the allocator's figures.

In: ModelSource, StepConfig, device. Out: StepTrace, also when memory ran out or the user's code
raised. Convention: serve/failures.py decides whether an error means that memory ran out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from planner.config.step import Mode, StepConfig
from planner.errors import ModelError, TargetError, UsageError
from planner.wire.pipeline import PipelineRecord
from planner.wire.run_notes import StepNote
from planner.wire.trace import AllocationTrace, Counts, Failure, RequestLog, RunOutcome, StepTrace
from planner.worker.drive import forward, loop, token_loop
from planner.worker.drive.accumulation import Accumulation, shortened
from planner.worker.drive.gradients import missing_gradients
from planner.worker.drive.loss import DefaultLoss
from planner.worker.drive.prepare import StepLog, prepare
from planner.worker.drive.step_events import optimizers_noted
from planner.worker.drive.token_loop import loops
from planner.worker.engines import peaks
from planner.worker.model import compiled, meta
from planner.worker.model.construct import construct, count
from planner.worker.model.pipeline_model import growth_warnings
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

if TYPE_CHECKING:
    from planner.worker.ranks.pipeline.chain import Chain
    from planner.worker.ranks.world import World


@dataclass(slots=True, kw_only=True)
class _Log(StepLog):
    """A StepLog with the fields that only a measured run has."""

    build_on: str = ""
    optimizer: str = ""
    counts: Counts | None = None
    rank_loads: tuple[int, ...] = ()
    world: World | None = None
    pipeline: PipelineRecord | None = None
    is_compiled: bool = False


def measure(
    source: ModelSource,
    config: StepConfig,
    device: torch.device,
    watch: Watch | None = None,
    *,
    real_values: bool = False,
) -> StepTrace:
    """Builds the model, runs `config.steps` steps on `device` and returns the peaks.

    With `real_values`, weights and batches have the values that the user's code gives them.

    Raises:
        TargetError: the target says nothing about its input.
        UsageError: an option that cannot be used with this model or optimizer.
    """
    return _measure(source, config, device, watch or Watch(), real_values)


def record_requests(
    source: ModelSource, config: StepConfig, device: torch.device
) -> tuple[StepTrace, RequestLog | None]:
    """Measures like `measure`; also returns each request to the allocator, None if not recorded.

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
    """Measures like `measure`; also returns the purpose of each request, None if not recorded.

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
    chain = None
    if config.parallel is not None:
        from planner.worker.ranks import plan as ranks

        chain = ranks.rehearsal(source, config, device)
    outcome, failure = RunOutcome.COMPLETED, None
    watch.begin()
    try:
        with loops.watched(config.window, watch.token):
            _run(source, config, device, recorder, log, watch, real_values, chain)
    except (TargetError, UsageError):
        raise
    except BaseException as error:  # the user's code may raise any
        outcome = _outcome(error, device, is_real=real_values)
        failure = _failure(error, log.during)
    finally:
        watch.end()
    recorder.finish()
    if loops.has_run:
        log.assumptions.append(token_loop.WORDS)
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
        notes=tuple(log.notes),
        warnings=tuple(log.warnings),
        failure=failure,
        rest_bytes=recorder.rest_bytes,
        rank_loads=log.rank_loads,
        pipeline=log.pipeline,
        communicators=() if log.world is None else log.world.log.communicators(),
        sharded_units=() if log.world is None else log.world.log.units,
        is_compiled=log.is_compiled,
    )


def _outcome(error: BaseException, device: torch.device, *, is_real: bool) -> RunOutcome:
    if is_out_of_memory(error):
        return RunOutcome.OUT_OF_MEMORY
    # On an emulated card these errors come from this machine, or from the model's code.
    if is_real and device.type == "cpu" and is_out_of_host_memory(error):
        return RunOutcome.OUT_OF_MEMORY
    if is_real and device.type == "cuda" and is_cuda_error(error):
        return RunOutcome.CUDA_ERROR
    return RunOutcome.MODEL_ERROR


def _run(
    source: ModelSource,
    config: StepConfig,
    device: torch.device,
    recorder: peaks.PeakRecorder,
    log: _Log,
    watch: Watch,
    real_values: bool,
    chain: Chain | None,
) -> None:
    micro_batches = Accumulation(asked=config.accumulate, device=device)
    config = shortened(config)
    note_step(StepNote(step=0, steps=config.steps))
    world = shape = None
    if config.parallel is not None:
        from planner.worker.ranks import plan as ranks
        from planner.worker.ranks.world import world_of

        world = log.world = world_of(config.parallel, chain)
        shape = partial(ranks.shape, source, config, world, device)
    built = construct(source, config, device, real_values=real_values, shape=shape)
    model = built.model
    log.build_on = built.build_on.value
    log.add(built)
    step = prepare(source, config, model, device, log, real_values=real_values, world=world)
    _finish_lazy_modules(step.plan, log)
    log.counts = built.counts or count(model)
    log.during = "optimizer"
    chosen = step.job.choose()
    log.optimizer = chosen.name
    log.assumptions += chosen.assumptions
    log.notes += chosen.notes
    optimizer = chosen.optimizer
    if world is not None:
        optimizer = ranks.optimizer_of(world, optimizer)
        log.rank_loads = ranks.loads_of(world, optimizer)
    log.during = "ema"
    if step.plan.pipeline is not None:
        log.pipeline = step.plan.pipeline.record()
    average = weight_average(model, config.ema)
    plan = replace(
        step.plan,
        optimizer=optimizer,
        average=average,
        watch=watch,
        after_micro_batch=micro_batches.after_micro_batch,
    )
    _run_steps(plan, recorder, log)
    if world is not None:
        log.during = "after the steps"
        ranks.check_messages(source, world)
    log.assumptions += micro_batches.assumptions()
    log.warnings += micro_batches.warnings()
    log.warnings += growth_warnings(model, recorder.allocated_bytes)


def _run_steps(plan: loop.StepPlan, recorder: peaks.PeakRecorder, log: _Log) -> None:
    first = StepNote(
        step=1,
        steps=plan.config.steps,
        modules=sum(1 for _ in plan.model.modules()),
        compiles=compiled.is_compiled(plan.config, plan.model),
    )

    def on_step(number: int) -> None:
        if number == 1:
            compiled.check_used(plan.config, graphs)
        if number == 1 and plan.config.mode is Mode.TRAIN and not plan.owns_step:
            log.warnings += missing_gradients(plan.model, plan.stepped)
        recorder.end_step()
        plan.watch.end_step()
        log.during = f"step {number + 1}"
        if number < plan.config.steps:
            note_step(replace(first, step=number + 1))

    default_loss, graphs = DefaultLoss(), compiled.compiled_graphs()
    log.during = "step 1"
    note_step(first)
    try:
        with (
            collector_paused(),
            optimizers_noted(plan.watch),
            compiled.eager_if_asked(plan.config),
        ):
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
        log.is_compiled = compiled.compiled_graphs() > graphs
        if log.is_compiled:
            log.assumptions.append(compiled.words(plan.config))
            if compiled.has_chosen_kernels():
                log.assumptions.append(compiled.CHOSEN)
            if compiled.has_cuda_graphs(plan.device):
                log.assumptions.append(compiled.CUDA_GRAPHS)
        elif recorder.step_allocated_bytes and compiled.is_compiled(plan.config, plan.model):
            log.warnings.append(compiled.NOT_COMPILED)


def _finish_lazy_modules(plan: loop.StepPlan, log: StepLog) -> None:
    """Runs a forward for lazy modules, before an optimizer needs their parameters."""
    number = meta.lazy_parameters(plan.model)
    if not number:
        return
    with torch.no_grad():
        forward.call(plan.model, plan.make_batch(), plan.required_inputs)
    note = f"{number} lazy parameters were shaped by one forward before step 1"
    log.assumptions.append(note)
    log.notes.append(note)


def _failure(error: BaseException, during: str) -> Failure:
    error = library_error(error) or error
    message: Any = text_of(error)
    frames = error.frames if isinstance(error, ModelError) else user_frames(error)
    return Failure(kind=type(error).__name__, message=message, frames=frames, during=during)
