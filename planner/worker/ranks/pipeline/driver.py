"""Runs the micro-batches of a step through the stages of one rank, with PyTorch's own schedule.

In: StageModules, the mesh, Chain. Out: Pipeline, which takes the place of forward and backward in
the loop. Convention: what a stage gets and gives is known from the rehearsal, so that ranks need
not tell each other; outputs of the last stage are not kept, as in torchtitan.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.distributed import pipelining
from torch.distributed.pipelining.schedules import PipelineScheduleMulti
from torch.utils._pytree import tree_map_only

from planner.config.parallel import ParallelConfig, Schedule
from planner.wire.pipeline import PipelineRecord
from planner.wire.trace import Phase
from planner.worker.drive import forward
from planner.worker.drive.loop import StepPlan
from planner.worker.drive.loss import DefaultLoss, check_loss
from planner.worker.model.tensors import tensor_leaves
from planner.worker.ranks.pipeline.calls import CalledModel, called_with, cast_as
from planner.worker.ranks.pipeline.chain import Chain
from planner.worker.ranks.pipeline.split import one_stage_order, places_of
from planner.worker.ranks.pipeline.stage_module import Route, StageModule

_SCHEDULES: dict[Schedule, Any] = {
    Schedule.GPIPE: pipelining.ScheduleGPipe,
    Schedule.ONE_F_ONE_B: pipelining.Schedule1F1B,
    Schedule.INTERLEAVED: pipelining.ScheduleInterleaved1F1B,
    Schedule.ZERO_BUBBLE: pipelining.ScheduleInterleavedZeroBubble,
    Schedule.ZERO_BUBBLE_V: pipelining.ScheduleZBVZeroBubble,
}
_SCHEDULE_LOGGER = "torch.distributed.pipelining.schedules"
_COMPUTES = re.compile(r"\d+[FBIW]\d+")  # not: what follows the last backward, bubbles


class _Gap:
    """The place of a tensor in an output whose tensors PyTorch's schedule has."""

    def __init__(self, _: torch.Tensor) -> None:
        pass


@dataclass(slots=True)
class _Now:
    """The step that runs."""

    plan: StepPlan | None = None
    default_loss: DefaultLoss | None = None
    batches: Sequence[Any] = ()
    number: int = 0
    outputs: dict[int, Any] = field(default_factory=dict)


class Pipeline:
    """The stages of this rank, ready for steps."""

    def __init__(
        self,
        config: ParallelConfig,
        mesh: Any,
        chain: Chain,
        route: Route,
        stages: Sequence[tuple[StageModule, nn.Module]],
        sizes: Sequence[int],
    ) -> None:
        """Makes the schedule; of each stage, `stages` has the module and what is called for it."""
        self.config, self._sizes, self._route = config, sizes, route
        self._now = _Now()
        for own, _ in stages:
            own.route, own.run = route, self._run
        logging.getLogger(_SCHEDULE_LOGGER).disabled = True  # a step without room is an answer here
        made = [self._stage(own, called, mesh, chain) for own, called in stages]
        kind = _SCHEDULES[config.pipeline_options.schedule]
        is_multi = issubclass(kind, PipelineScheduleMulti)
        self._schedule = kind(
            made if is_multi else made[0],
            n_microbatches=config.microbatches,
            loss_fn=self._loss,
        )

    @property
    def microbatches(self) -> int:
        """Returns the number of micro-batches of a step."""
        return self.config.microbatches

    def step(self, plan: StepPlan, batches: Sequence[Any], default_loss: DefaultLoss) -> None:
        """Runs forward and backward of all micro-batches."""
        self._now = _Now(plan=plan, default_loss=default_loss, batches=batches)
        try:
            self._schedule.step(
                arg_mbs=[()] * len(batches),
                target_mbs=list(range(len(batches))),
                return_outputs=False,
            )
        except RuntimeError as error:
            if error.__cause__ is not None and "failed to run forward" in str(error):
                raise error.__cause__ from None  # of the user's code; torch has wrapped it
            raise
        finally:
            self._now = _Now()

    def record(self) -> PipelineRecord:
        """Returns the stages and the order of their work."""
        return PipelineRecord(
            blocks=tuple(self._sizes),
            places=places_of(self.config),
            microbatches=self.config.microbatches,
            order=tuple(self._order(place) for place in range(self.config.pipeline)),
        )

    def _order(self, place: int) -> tuple[str, ...]:
        """Returns what a rank of the pipeline computes.

        Of schedules with one stage a rank, torch's own order is for pictures: that of 1F1B leaves
        the last rank's first micro-batch out. Theirs is that of their _step_microbatches.
        """
        number = self.config.microbatches
        schedule = self.config.pipeline_options.schedule
        if schedule in (Schedule.GPIPE, Schedule.ONE_F_ONE_B):
            ahead = number
            if schedule is Schedule.ONE_F_ONE_B:
                ahead = min(number, self.config.pipeline - place)
            return one_stage_order(place, number, ahead)
        words = map(str, self._schedule.pipeline_order[place])
        return tuple(word for word in words if _COMPUTES.fullmatch(word))

    def _stage(self, own: StageModule, called: nn.Module, mesh: Any, chain: Chain) -> Any:
        stage = own.stage
        ends = stage.first - 1 if stage.first else 0
        takes, gives = chain.hidden(ends).on("meta"), chain.hidden(stage.last).on("meta")
        return _Stage(
            self,
            called,
            stage.index,
            stage.stages,
            self._route.device,
            input_args=(takes,),
            output_args=(gives,),
            group=mesh.get_group(),
        )

    def entered(self, phase: Phase, number: int) -> None:
        """Notes what a stage does with a micro-batch."""
        now = self._now
        assert now.plan is not None, "a step runs"
        now.number = number
        inputs = now.batches[number] if phase is Phase.FORWARD else None
        now.plan.watch.enter(phase, inputs=inputs)

    def _run(self) -> Any:
        """Calls the model with the micro-batch; returns its tensors, where it ends here."""
        now = self._now
        plan = now.plan
        assert plan is not None, "a step runs"
        batch = now.batches[now.number]
        with plan.autocast():
            if plan.training_step is None:
                output = forward.call(plan.model, batch, plan.required_inputs)
            else:
                args, kwargs, cast = called_with(plan.model, plan.training_step, batch, plan.device)
                is_inner = cast is not None or torch.is_autocast_enabled(plan.device.type)
                with cast_as(cast, plan.device) if is_inner else nullcontext():
                    output = plan.model(*args, **kwargs)
        now.outputs[now.number] = tree_map_only(torch.Tensor, _Gap, output)
        return tuple(tensor_leaves(output))

    def _loss(self, output: Any, number: int) -> torch.Tensor:
        """Returns the loss of a micro-batch, as the loop would compute it."""
        now = self._now
        plan, default_loss = now.plan, now.default_loss
        assert plan is not None, "a step runs"
        assert default_loss is not None, "a step runs"
        plan.watch.enter(Phase.LOSS)
        tensors = iter(output)
        whole = tree_map_only(_Gap, lambda _: next(tensors), now.outputs.pop(number))
        batch = now.batches[number]
        with plan.autocast():
            if plan.training_step is None:
                target = forward.target_of(batch, plan.required_inputs)
                loss, _ = default_loss(whole, default_loss.target_for(target, plan.device))
                origin = "the default loss"
            else:
                called = CalledModel(plan.model, lambda *_, **__: whole)
                loss = plan.training_step(called, batch)
                called.check_once()
                origin = plan.origin
        loss = check_loss(loss, origin)
        return loss if plan.scaler is None else plan.scaler.scale(loss)


class _Stage(pipelining.PipelineStage):
    """A stage that says what it does."""

    def __init__(self, pipeline: Pipeline, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pipeline = pipeline

    def forward_one_chunk(self, fwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
        """Runs the forward of a micro-batch."""
        self._pipeline.entered(Phase.FORWARD, fwd_chunk_id)
        return super().forward_one_chunk(fwd_chunk_id, *args, **kwargs)

    def backward_one_chunk(self, bwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
        """Runs the backward of a micro-batch, or that to its inputs."""
        self._pipeline.entered(Phase.BACKWARD, bwd_chunk_id)
        return super().backward_one_chunk(bwd_chunk_id, *args, **kwargs)

    def backward_weight_one_chunk(self, bwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
        """Runs the backward of a micro-batch to its weights."""
        self._pipeline.entered(Phase.BACKWARD, bwd_chunk_id)
        return super().backward_weight_one_chunk(bwd_chunk_id, *args, **kwargs)
