"""One inspect run in the child: build, one step that is counted, the table of modules.

In: ModelSource, StepConfig, device, depth. Out: ModelCounts. Convention: the step has one
micro-batch; of a step that calls the model several times the table shows the first call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from planner.config.step import Mode, StepConfig
from planner.errors import ModelError, PlannerError
from planner.wire.full_state import FullStateCounts
from planner.wire.module_counts import ModelCounts, OperatorCalls, StepCounts
from planner.wire.run_notes import StepNote
from planner.wire.trace import Phase
from planner.worker.count.counted_step import CountedStep, compiled_step, counted_step
from planner.worker.count.counts import ModelCall
from planner.worker.count.module_table import Forward, Table, module_table
from planner.worker.drive import forward, loop
from planner.worker.drive.job import Job
from planner.worker.drive.prepare import StepLog, prepare
from planner.worker.drive.token_loop import loops
from planner.worker.model import compiled
from planner.worker.model.construct import Built, construct, count
from planner.worker.model.weight_average import weight_average
from planner.worker.optimizers.tree import optimizers_in
from planner.worker.ranks.communication import CommunicationLog
from planner.worker.record.watch import Watch
from planner.worker.serve.progress import note_step
from planner.worker.target.frames import describe, user_frames
from planner.worker.target.source import ModelSource
from planner.worker.target.unloadable import library_error

if TYPE_CHECKING:
    from planner.worker.ranks.world import World

_STAGES = "a rank of a pipeline has its own stages alone, and no function of PyTorch joins them"


def inspect_model(
    source: ModelSource, config: StepConfig, device: torch.device, depth: int
) -> ModelCounts:
    """Counts the cost of one training step with `config.batch_size` samples.

    Raises:
        TargetError: the target says nothing about its input.
        UsageError: an option that cannot be used with this model.
        ModelError: the user's code, or PyTorch on its behalf, raised.
    """
    resident_bytes = _resident_bytes()
    log = StepLog()
    once = replace(config, steps=1, accumulate=1)
    try:
        world = shape = None
        if config.parallel is not None:
            from planner.worker.ranks import plan as ranks
            from planner.worker.ranks.world import world_of

            world = world_of(config.parallel, ranks.rehearsal(source, once, device))
            shape = partial(ranks.shape, source, once, world, device)
        built = construct(source, once, device, shape=shape)
        whole = None if world is None else _Whole(world, torch.cuda.memory_allocated(device))
        with (
            compiled.in_eager_mode(built.model),
            loops.watched(config.window, lambda cache: None),
        ):
            counts = _inspect(source, once, device, depth, log, built, whole)
        if compiled.is_compiled(once, built.model) and compiled.has_compiled_times(once):
            counts = _with_compiled_step(source, once, device, log, built, counts)
        return replace(counts, resident_bytes=resident_bytes)
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
    log: StepLog,
    built: Built,
    whole: _Whole | None,
) -> ModelCounts:
    world = None if whole is None else whole.world
    log.add(built)
    if compiled.is_compiled(config, built.model):
        log.assumptions.append(compiled.words(config))
    model = compiled.original(built.model)
    # The operators of a compiled model are counted as they are written.
    as_written = replace(config, compile=None)
    prepared = prepare(source, as_written, model, device, log, world=world)
    plan = replace(prepared.plan, average=weight_average(model, config.ema))
    log.during = "step 1"
    note_step(StepNote(step=1, steps=1, modules=sum(1 for _ in model.modules())))
    step = counted_step(
        plan,
        partial(_optimizer, prepared.job, log, world),
        CommunicationLog() if world is None else world.log,
        (lambda _: None) if whole is None else partial(whole.count, prepared.plan.model),
    )
    plan = replace(plan, optimizer=step.optimizer)
    log.assumptions += step.assumptions
    log.during = "forward"
    with plan.autocast():
        # With depth 0, watching the step itself is enough.
        watched = step.forward if depth == 0 else None
        calls = step.calls if plan.pipeline is None else step.calls[:1]
        table = module_table(_forward(plan, calls, log), depth, watched)
    log.assumptions += table.assumptions
    return ModelCounts(
        counts=built.counts or count(model),
        step=_step_counts(table, step, plan, config.batch_size),
        modules=table.rows,
        structure=table.structure,
        flop_rules=table.flop_rules,
        forward_flops_by_torch=table.flops_by_torch,
        build_on=built.build_on.value,
        operators=step.operators,
        order=step.order,
        batch_tensors_bytes=step.batch_tensors_bytes,
        offloaded=step.offloaded,
        collectives=step.collectives,
        communicators=() if world is None else world.log.communicators(),
        pipeline=None if plan.pipeline is None else plan.pipeline.record(),
        full_state=None if whole is None else whole.counted,
        full_state_problem="" if whole is None else whole.problem,
        tf32_matmul=torch.backends.cuda.matmul.allow_tf32,
        assumptions=tuple(log.assumptions),
        notes=(*log.notes, *table.notes),
        warnings=tuple(log.warnings),
    )


def _with_compiled_step(
    source: ModelSource,
    config: StepConfig,
    device: torch.device,
    log: StepLog,
    built: Built,
    eager: ModelCounts,
) -> ModelCounts:
    """Returns the counts of the model as it is written, with the calls of the compiled step."""
    log.during = "step 1"
    prepared = prepare(source, config, built.model, device, StepLog())
    model = prepared.plan.model
    note_step(StepNote(step=1, steps=1, modules=sum(1 for _ in model.modules()), compiles=True))
    plan = replace(prepared.plan, average=weight_average(model, config.ema))
    step = compiled_step(plan, _optimizer(prepared.job, StepLog(), None))
    return replace(eager, operators=step.operators, order=step.order)


@dataclass(slots=True)
class _Whole:
    """The state of the whole job, saved and loaded from this rank. `built_bytes`: the model alone.

    Groups that only this talks to are not those of a step.
    """

    world: World
    built_bytes: int
    counted: FullStateCounts | None = None
    problem: str = ""

    def count(self, model: nn.Module, optimizer: Any | None) -> None:
        """Counts it, after a step."""
        if self.world.config.pipeline > 1:
            self.problem = _STAGES
            return
        from planner.worker.ranks.full_state import full_state

        used = dict(self.world.log.used)
        self.counted, self.problem = full_state(model, optimizers_in(optimizer), self.built_bytes)
        self.world.log.used = used


def _resident_bytes() -> int:
    """Returns the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _optimizer(job: Job, log: StepLog, world: World | None) -> Any | None:
    log.during = "optimizer"
    chosen = job.choose()
    log.assumptions += chosen.assumptions
    log.notes += chosen.notes
    log.during = "step 2"
    if world is None:
        return chosen.optimizer
    from planner.worker.ranks import plan as ranks

    return ranks.optimizer_of(world, chosen.optimizer)


def _forward(plan: loop.StepPlan, calls: Sequence[ModelCall], log: StepLog) -> Forward:
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


def _without_a_call(plan: loop.StepPlan, name: str, log: StepLog) -> Forward:
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


def _step_counts(
    table: Table, step: CountedStep, plan: loop.StepPlan, batch_size: int
) -> StepCounts:
    whole = table.rows[0]
    samples, forward_flops = batch_size, whole.forward_flops
    if plan.pipeline is not None:  # a call of the model is the forward of one stage
        samples *= plan.pipeline.microbatches
        forward_flops = step.flops_in(Phase.FORWARD)
    ordered = sorted(table.uncounted.items(), key=lambda item: (-item[1], item[0]))
    return StepCounts(
        forward_flops_per_sample=round(forward_flops / samples),
        step_flops=step.flops,
        recomputed_flops=step.recomputed_flops,
        activations_per_sample=None
        if whole.activations is None
        else round(whole.activations / batch_size),
        uncounted_operators=tuple(OperatorCalls(name=name, calls=calls) for name, calls in ordered),
    )
