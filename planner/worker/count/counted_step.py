"""One step that is counted: what its operators cost by phase, and how it calls the model.

In: a StepPlan, and what chooses its optimizer. Out: CountedStep. Convention: an uncounted step
comes first, so that what the model makes in its first call and the optimizer's state are there, as
in all later steps; of several calls of the model the first is watched more closely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from planner.config.step import Mode
from planner.wire.module_counts import Structure
from planner.wire.trace import OperatorRecord, Phase
from planner.worker.count.counts import ModelCall
from planner.worker.count.module_path import ModulePath, takes_hooks
from planner.worker.count.module_table import Watched
from planner.worker.count.observer import OperatorObserver, SavedStorages, Tally
from planner.worker.drive import loop
from planner.worker.drive.batch_objects import tensors_of_batch
from planner.worker.drive.loss import DefaultLoss
from planner.worker.model.tensors import map_tensors, size_bytes, tensors_in
from planner.worker.optimizers.tree import optimizers_in
from planner.worker.record.quiet import collector_paused
from planner.worker.record.watch import Watch

FORWARD_TO_BACKWARD = (Phase.FORWARD, Phase.LOSS, Phase.BACKWARD)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedStep:
    """What a step costs. `forward` is its first call of the model; None where it has none.

    Of a step with many calls, all of `calls` are the first one: later ones may keep much alive.
    """

    operators: tuple[OperatorRecord, ...]
    calls: tuple[ModelCall, ...]
    forward: Watched | None
    assumptions: tuple[str, ...]
    batch_tensors_bytes: tuple[int, ...] = ()
    optimizer: Any | None = None

    @property
    def flops(self) -> int:
        """FLOPs from the forward to the end of backward."""
        return sum(item.total_flops for item in self.operators if item.phase in FORWARD_TO_BACKWARD)


def counted_step(plan: loop.StepPlan, choose_optimizer: Callable[[], Any | None]) -> CountedStep:
    """Runs a step of `plan`, which has no optimizer, and after it a counted one with its optimizer.

    A step that is the user's own has its optimizers in both.

    Raises:
        Exception: whatever the user's code raises.
    """
    default_loss = DefaultLoss()
    observer = OperatorObserver(ModulePath(plan.model))
    watch = _StepWatch(plan.model, observer)
    with collector_paused():
        optimizer = choose_optimizer() if plan.owns_step else None
        _run(replace(plan, optimizer=optimizer), default_loss)
        if not plan.owns_step:
            optimizer = choose_optimizer()
            for one in optimizers_in(optimizer):
                one.step()  # makes its state
        with watch.hooked(), observer:
            _run(replace(plan, optimizer=optimizer, watch=watch), default_loss)
    plan.model.zero_grad(set_to_none=True)
    return CountedStep(
        operators=observer.records(plan.device),
        calls=tuple(watch.calls),
        forward=watch.forward,
        assumptions=default_loss.assumptions(),
        batch_tensors_bytes=watch.batch_tensors_bytes,
        optimizer=optimizer,
    )


def _run(plan: loop.StepPlan, default_loss: DefaultLoss) -> None:
    if plan.config.mode is Mode.TRAIN:
        loop.train(plan, default_loss, lambda _: None)
    else:
        loop.infer(plan, lambda _: None)


class _StepWatch(Watch):
    """Tells the observer the phase, and watches calls of the model."""

    def __init__(self, model: nn.Module, observer: OperatorObserver) -> None:
        self.calls: list[ModelCall] = []
        self.forward: Watched | None = None
        self.batch_tensors_bytes: tuple[int, ...] = ()
        self._model = model
        self._observer = observer
        self._watching = ExitStack()

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """What moves the batch there is no kernel of the card, and no operator of the step."""
        self._observer.phase = None if phase is Phase.BETWEEN_STEPS else phase
        if phase is Phase.FORWARD and inputs is not None:
            self.batch_tensors_bytes = tuple(
                size_bytes(tensor) for _, tensor in tensors_of_batch(inputs)
            )

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """For the time of the context, calls of the model are noted, if it takes hooks."""
        if not takes_hooks(self._model):
            yield
            return
        handles = (
            self._model.register_forward_pre_hook(self._begin, with_kwargs=True),
            self._model.register_forward_hook(self._end, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _begin(self, _: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if self._observer.phase is Phase.LOSS:
            self._observer.phase = Phase.FORWARD
        if self.forward is not None:
            self.calls.append(self.calls[0])
            return
        cut_off = [map_tensors(given, _cut_off) for given in (arguments, keywords)]
        self.calls.append(ModelCall(arguments=cut_off[0], keywords=cut_off[1]))
        model = self._model
        inputs = [tensor for _, tensor in tensors_in((arguments, keywords))]
        saved = SavedStorages(ModulePath(model), [*model.parameters(), *model.buffers(), *inputs])
        self._observer.tally = tally = Tally()
        self.forward = Watched(tally=tally, saved=saved, structure=Structure.WHOLE_MODEL)
        self._watching.enter_context(saved.watching())

    def _end(self, *_: Any) -> None:
        self._observer.tally = None
        self._watching.close()
        # Of a step in one function, what follows the model's forward is the loss.
        if self._observer.phase is Phase.FORWARD and not torch.is_inference_mode_enabled():
            self._observer.phase = Phase.LOSS


def _cut_off(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the tensor without what computed it, for a second forward."""
    return tensor.detach().requires_grad_(tensor.requires_grad)
