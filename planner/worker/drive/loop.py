"""The ordinary PyTorch loop, with the lifetimes that an ordinary loop has; or the user's own step.

In: StepPlan. Out: nothing; the allocator and the recorder have seen it. Convention: between steps
the names `loss` and `output` live until the next forward binds them anew, and the batch until the
loader's next one takes its name. Nothing else is kept.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from planner.config.step import StepConfig
from planner.wire.pipeline import PipelineRecord
from planner.wire.trace import Phase
from planner.worker.drive import forward
from planner.worker.drive.activation_offload import ActivationOffload
from planner.worker.drive.clipping import clip_gradients
from planner.worker.drive.loss import DefaultLoss, check_loss
from planner.worker.drive.step_events import step_events
from planner.worker.model.chunked_loss import ChunkedLoss
from planner.worker.model.weight_average import WeightAverage
from planner.worker.optimizers.in_backward import stepping_in_backward
from planner.worker.optimizers.tree import optimizers_in
from planner.worker.record.watch import Watch


class Pipeline(Protocol):
    """What runs forward and backward of a step's micro-batches in the place of the loop."""

    @property
    def microbatches(self) -> int: ...

    def step(self, plan: StepPlan, batches: Sequence[Any], default_loss: DefaultLoss) -> None:
        """Runs them all; gradients are there afterwards."""

    def record(self) -> PipelineRecord:
        """Returns the stages and the order of their work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """Everything that the steps need, ready on the device.

    `optimizer` is the result of build_optimizer, one or several. With `owns_step`, training_step
    takes it as its third argument and does the whole step; with `owns_autocast` it also decides
    on autocast around its backward. `origin` names the training_step in messages. `stepped` gets
    the ids of the parameters that an optimizer has stepped in backward. `around` is a context of
    all training steps. `pipeline` runs forward and backward of micro-batches in the loop's place.
    """

    model: nn.Module
    make_batch: Callable[[], Any]
    config: StepConfig
    device: torch.device
    required_inputs: int
    autocast: Callable[[], AbstractContextManager[object]]
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    optimizer: Any | None = None
    scaler: torch.amp.GradScaler | None = None
    training_step: Callable[..., Any] | None = None
    owns_step: bool = False
    owns_autocast: bool = False
    origin: str = "training_step"
    inference_step: Callable[[nn.Module, Any], Any] | None = None
    average: WeightAverage | None = None
    chunked_loss: ChunkedLoss | None = None
    offload: ActivationOffload | None = None
    pipeline: Pipeline | None = None
    stepped: set[int] = field(default_factory=set)
    watch: Watch = field(default_factory=Watch)
    after_micro_batch: Callable[[], None] = lambda: None


def train(plan: StepPlan, default_loss: DefaultLoss, on_step: Callable[[int], None]) -> None:
    """Runs the training steps; `on_step(number)` is called after each, from 1 on."""
    with _stepping_in_backward(plan), plan.around():
        (_train if plan.pipeline is None else _train_stages)(plan, default_loss, on_step)


def _train(plan: StepPlan, default_loss: DefaultLoss, on_step: Callable[[int], None]) -> None:
    origin = "the default loss" if plan.training_step is None else plan.origin
    # output and loss are never read across steps: being bound keeps them alive, as in any loop
    batch = target = output = loss = None
    for number in range(1, plan.config.steps + 1):
        for micro_batch in range(plan.config.accumulate):
            plan.watch.enter(Phase.BETWEEN_STEPS)
            batch = target = None  # the loader's next batch takes the name: the card's is freed
            batch = plan.make_batch()
            if micro_batch == 0 and not plan.owns_step:
                _zero_grad(plan)
            with _offloading(plan), plan.autocast():
                if plan.training_step is not None:
                    plan.watch.enter(Phase.FORWARD, inputs=batch)
                    loss = call_training_step(plan, batch)
                else:
                    target = default_loss.target_for(
                        forward.target_of(batch, plan.required_inputs), plan.device
                    )
                    plan.watch.enter(Phase.FORWARD, inputs=(batch, target))
                    output = forward.call(plan.model, batch, plan.required_inputs)
                    plan.watch.enter(Phase.LOSS)
                    loss, target = default_loss(output, target)
            if plan.chunked_loss is not None:
                plan.chunked_loss.check_used()
                output = None  # there are no logits to keep
            if not plan.owns_step:
                loss = check_loss(loss, origin)
                if plan.config.accumulate > 1:
                    loss = loss / plan.config.accumulate
                plan.watch.enter(Phase.BACKWARD)
                _backward(loss, plan.scaler)
            plan.after_micro_batch()
        if not plan.owns_step and not plan.config.optimizer_in_backward:
            _clip_and_step(plan)
        if plan.average is not None:
            plan.average.update()
        on_step(number)
        _collect_first(number)
    del batch, target, output, loss


def _train_stages(
    plan: StepPlan, default_loss: DefaultLoss, on_step: Callable[[int], None]
) -> None:
    """Trains a rank of a pipeline, which gets all micro-batches of a step before it begins."""
    assert plan.pipeline is not None, "the caller has asked"
    batches: list[Any] = []
    for number in range(1, plan.config.steps + 1):
        plan.watch.enter(Phase.BETWEEN_STEPS)
        batches.clear()
        batches += [plan.make_batch() for _ in range(plan.pipeline.microbatches)]
        _zero_grad(plan)
        plan.pipeline.step(plan, batches, default_loss)
        _clip_and_step(plan)
        on_step(number)
        _collect_first(number)


def _clip_and_step(plan: StepPlan) -> None:
    plan.watch.enter(Phase.OPTIMIZER_STEP)
    clip_gradients(
        plan.model,
        plan.config.clip_grad_norm,
        optimizers=optimizers_in(plan.optimizer),
        scaler=plan.scaler,
    )
    _optimizer_step(plan)


def call_training_step(plan: StepPlan, batch: Any) -> Any:
    """Returns the result of the user's training_step; marks its backward and optimizer steps."""
    assert plan.training_step is not None, "there is one to call"
    with step_events(plan.watch, _around_backward(plan)):
        if plan.owns_step:
            return plan.training_step(plan.model, batch, plan.optimizer)
        return plan.training_step(plan.model, batch)


def _stepping_in_backward(plan: StepPlan) -> AbstractContextManager[None]:
    if not plan.config.optimizer_in_backward:
        return nullcontext()
    return stepping_in_backward(plan.optimizer, plan.watch, plan.stepped)


def _offloading(plan: StepPlan) -> AbstractContextManager[object]:
    return nullcontext() if plan.offload is None else plan.offload.around_forward()


def _around_backward(plan: StepPlan) -> Callable[[], AbstractContextManager[object]]:
    """Returns a context for a backward within the step: autocast is off, as in the loop here."""
    if plan.owns_autocast or not torch.is_autocast_enabled(plan.device.type):
        return nullcontext
    return lambda: torch.autocast(plan.device.type, enabled=False)


def infer(plan: StepPlan, on_step: Callable[[int], None]) -> None:
    """Runs the forward, or the user's inference_step, as often as there are steps."""
    plan.model.eval()
    batch = output = None
    with torch.inference_mode():
        for number in range(1, plan.config.steps + 1):
            batch = None
            batch = plan.make_batch()
            plan.watch.enter(Phase.FORWARD, inputs=batch)
            with plan.autocast():
                if plan.inference_step is not None:
                    output = plan.inference_step(plan.model, batch)
                else:
                    output = forward.call(plan.model, batch, plan.required_inputs)
            on_step(number)
            _collect_first(number)
    del batch, output


def _collect_first(number: int) -> None:
    """Drops the garbage of the first step: imports in it leave cycles through frames."""
    if number == 1:
        gc.collect()


def _zero_grad(plan: StepPlan) -> None:
    if plan.config.optimizer_in_backward:
        return  # each optimizer has freed its gradient
    for owner in optimizers_in(plan.optimizer) or (plan.model,):
        owner.zero_grad(set_to_none=plan.config.set_to_none)


def _backward(loss: Any, scaler: torch.amp.GradScaler | None) -> None:
    if scaler is None:
        loss.backward()
    else:
        scaler.scale(loss).backward()


def _optimizer_step(plan: StepPlan) -> None:
    optimizers = optimizers_in(plan.optimizer)
    for optimizer in optimizers:
        if plan.scaler is None:
            optimizer.step()
        else:
            plan.scaler.step(optimizer)
    if plan.scaler is not None and optimizers:
        plan.scaler.update()
