"""One step that is counted: the cost of its operators by phase, and its calls of the model.

In: a StepPlan, and the choice of its optimizer. Out: CountedStep. Convention: an uncounted step
comes first, so that the optimizer's state and the model's tensors of a first call exist, as in all
later steps; if a step calls the model several times, the first call is watched more closely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from planner.config.step import Mode
from planner.wire.call_order import NO_ORDER, CallOrder
from planner.wire.communication import CollectiveRecord
from planner.wire.module_counts import Structure
from planner.wire.offload import Offloaded
from planner.wire.trace import OperatorRecord, Phase
from planner.worker.count.counts import ModelCall
from planner.worker.count.module_path import ModulePath, takes_hooks
from planner.worker.count.module_table import Watched
from planner.worker.count.observer import OperatorObserver, SavedStorages, SavingHooks, Tally
from planner.worker.count.operator_calls import RecordedCalls
from planner.worker.count.pipeline_stages import stages_counted, weights_on_host
from planner.worker.drive import loop
from planner.worker.drive.batch_objects import tensors_of_batch
from planner.worker.drive.loss import DefaultLoss
from planner.worker.engines.emulation import launches
from planner.worker.engines.kernel_launches import told_alone
from planner.worker.model.tensors import map_tensors, size_bytes, tensors_in
from planner.worker.optimizers.offloaded import HostOptimizer
from planner.worker.optimizers.tree import optimizers_in, states_of
from planner.worker.ranks import dtensors
from planner.worker.ranks.communication import CommunicationLog
from planner.worker.record.quiet import collector_paused
from planner.worker.record.watch import Watch

_HOST = torch.device("meta")  # an offloaded optimizer is run there, without bytes
_HOST_OF_SHARDS = torch.device("cpu")  # where FSDP keeps them
FORWARD_TO_BACKWARD = (Phase.FORWARD, Phase.LOSS, Phase.BACKWARD)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedStep:
    """The cost of a step. `forward` is its first call of the model; None if there is none.

    If a step has many calls, `calls` repeats the first: later ones may keep much memory alive.
    """

    operators: tuple[OperatorRecord, ...]
    calls: tuple[ModelCall, ...]
    forward: Watched | None
    assumptions: tuple[str, ...]
    order: CallOrder = NO_ORDER
    batch_tensors_bytes: tuple[int, ...] = ()
    optimizer: Any | None = None
    offloaded: Offloaded | None = None
    collectives: tuple[CollectiveRecord, ...] = ()
    recomputed_flops: int = 0

    @property
    def flops(self) -> int:
        """FLOPs from the forward to the end of backward."""
        return self.flops_in(*FORWARD_TO_BACKWARD)

    def flops_in(self, *phases: Phase) -> int:
        """FLOPs in some phases of the step."""
        return sum(item.total_flops for item in self.operators if item.phase in phases)


def counted_step(
    plan: loop.StepPlan,
    choose_optimizer: Callable[[], Any | None],
    messages: CommunicationLog,
    at_end: Callable[[Any | None], None] = lambda _: None,
) -> CountedStep:
    """Runs a step of `plan` without an optimizer, then a counted step with one.

    If the user's code makes the whole step, or backward steps, both have the optimizers. `messages`
    are those of this rank. `at_end` gets the optimizer, while the gradients are there.

    Raises:
        Exception: whatever the user's code raises.
    """
    default_loss = DefaultLoss()
    observer = OperatorObserver(ModulePath(plan.model), launches)
    watch = _StepWatch(plan.model, observer, plan.offload)
    with collector_paused():
        steps_itself = plan.owns_step or plan.config.optimizer_in_backward
        optimizer = choose_optimizer() if steps_itself else None
        _run(replace(plan, optimizer=optimizer), default_loss)
        if not steps_itself:
            optimizer = choose_optimizer()
            with plan.around():
                for one in optimizers_in(optimizer):
                    one.step()  # makes its state
        if plan.offload is not None:
            plan.offload.reset()
        messages.phase = lambda: observer.phase
        shards = dtensors.copies_of_shards(plan.model)
        if shards is not None:
            shards.count_from_here(lambda: observer.phase)
        with watch.hooked(), observer.watching(), stages_counted(plan.model, observer):
            _run(replace(plan, optimizer=optimizer, watch=watch), default_loss)
        messages.phase = lambda: None
        offloaded = _offloaded(plan, optimizer, observer)  # of the step, without what comes next
        at_end(optimizer)
    plan.model.zero_grad(set_to_none=True)
    recorded = observer.recorded(plan.device)
    return CountedStep(
        operators=recorded.operators,
        order=recorded.order,
        calls=tuple(watch.calls),
        forward=watch.forward,
        assumptions=default_loss.assumptions(),
        batch_tensors_bytes=watch.batch_tensors_bytes,
        optimizer=optimizer,
        offloaded=offloaded,
        collectives=messages.records(),
        recomputed_flops=observer.recomputed_flops(plan.device),
    )


def compiled_step(plan: loop.StepPlan, optimizer: Any | None) -> RecordedCalls:
    """Returns the calls of a step whose model is compiled, with the kernels that the compiler made.

    Modules are not watched: compiled code has none. Its loss is a part of the forward where one
    function of the user makes both.

    Raises:
        Exception: whatever the user's code raises.
    """
    default_loss = DefaultLoss()
    observer = OperatorObserver(ModulePath(plan.model), launches)
    watch = _PhaseWatch(observer)
    plan = replace(plan, optimizer=optimizer)
    with collector_paused(), told_alone():
        _run(plan, default_loss)  # compiles
        with observer.watching():
            _run(replace(plan, watch=watch), default_loss)
    plan.model.zero_grad(set_to_none=True)
    return observer.recorded(plan.device)


def _offloaded(
    plan: loop.StepPlan, optimizer: Any | None, observer: OperatorObserver
) -> Offloaded | None:
    """Returns what the step keeps on the host; None: nothing."""
    updated_bytes = partial(observer.moved_bytes, phase=Phase.OPTIMIZER_STEP)
    shards = dtensors.copies_of_shards(plan.model)
    if shards is not None:
        found = shards.counts(plan.model, states_of(optimizer), updated_bytes(_HOST_OF_SHARDS))
        return Offloaded(shards=found)
    if plan.config.pipeline_offload is not None:
        return Offloaded(weights=weights_on_host(plan.model))
    if not plan.config.offload:
        return None
    on_host = None
    if isinstance(optimizer, HostOptimizer):
        on_host = optimizer.counts(updated_bytes(_HOST))
    return Offloaded(
        activations=None if plan.offload is None else plan.offload.counts(),
        optimizer=on_host,
    )


def _run(plan: loop.StepPlan, default_loss: DefaultLoss) -> None:
    if plan.config.mode is Mode.TRAIN:
        loop.train(plan, default_loss, lambda _: None)
    else:
        loop.infer(plan, lambda _: None)


class _PhaseWatch(Watch):
    """Sets the observer's phase."""

    def __init__(self, observer: OperatorObserver) -> None:
        self._observer = observer

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """Sets the phase; none between steps: a copy of the batch is no operator of the step."""
        self._observer.phase = None if phase is Phase.BETWEEN_STEPS else phase


class _StepWatch(_PhaseWatch):
    """Sets the observer's phase, and watches calls of the model."""

    def __init__(
        self, model: nn.Module, observer: OperatorObserver, offload: SavingHooks | None = None
    ) -> None:
        self.calls: list[ModelCall] = []
        self.forward: Watched | None = None
        self.batch_tensors_bytes: tuple[int, ...] = ()
        super().__init__(observer)
        self._model = model
        self._offload = offload
        self._watching = ExitStack()

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """Sets the phase, and notes the tensors of a batch."""
        super().enter(phase, inputs)
        if phase is Phase.FORWARD and inputs is not None:
            self.batch_tensors_bytes = tuple(
                size_bytes(tensor) for _, tensor in tensors_of_batch(inputs)
            )

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Notes calls of the model within the context, if it takes hooks."""
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
        known = [*model.parameters(), *model.buffers(), *inputs]
        saved = SavedStorages(ModulePath(model), known, self._offload)
        self._observer.tally = tally = Tally()
        self.forward = Watched(tally=tally, saved=saved, structure=Structure.WHOLE_MODEL)
        self._watching.enter_context(saved.watching())

    def _end(self, *_: Any) -> None:
        self._observer.tally = None
        self._watching.close()
        # If one function makes the step, the loss follows the model's forward.
        if self._observer.phase is Phase.FORWARD and not torch.is_inference_mode_enabled():
            self._observer.phase = Phase.LOSS


def _cut_off(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the tensor without its graph, for a second forward."""
    return tensor.detach().requires_grad_(tensor.requires_grad)
