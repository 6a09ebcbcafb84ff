"""Counts the operators of one step of a script, in its values pass.

In: the marks of step_events.py. Out: operator records and sizes of the batch. Convention: the
second step is counted, as the first makes the optimizer's state; with several micro-batches, the
last one and the optimizer's step. A script of inference has one step, and all of it is counted from
the first call of a model on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from planner.wire.module_counts import (
    FlopRules,
    ModelCounts,
    OperatorCalls,
    StepCounts,
    Structure,
)
from planner.wire.trace import Phase
from planner.worker.count.module_path import ModulePath
from planner.worker.count.observer import OperatorObserver, Tally
from planner.worker.count.operator_rules import is_elementwise
from planner.worker.drive.batch_objects import tensors_of_batch
from planner.worker.engines.emulation import launches
from planner.worker.model.construct import count
from planner.worker.model.tensors import size_bytes
from planner.worker.ranks.communication import CommunicationLog
from planner.worker.record.watch import Watch

_CARD = torch.device("cuda", 0)
_OF_FORWARD = (Phase.FORWARD, Phase.LOSS)


class StepCounting(Watch):
    """Sets what the observer adds up; `observer` is to be entered for the whole run."""

    def __init__(self, *, infers: bool = False) -> None:
        self._counted_step = 1 if infers else 2
        self.observer = OperatorObserver(ModulePath(nn.Module()), launches)
        self._step = 1
        self._has_backward = False
        self._batch_bytes: tuple[int, ...] = ()
        self._forward = Tally()

    @property
    def _counts_now(self) -> bool:
        return self._step == self._counted_step

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """Sets the phase of the operators that follow."""
        if not self._counts_now:
            return
        if phase is Phase.BACKWARD:
            self._has_backward = True
        elif phase is Phase.FORWARD and self._has_backward:
            self._restart()
        self.observer.phase = phase
        self.observer.tally = self._forward if phase in _OF_FORWARD else None
        if inputs is not None:
            self._batch_bytes = tuple(size_bytes(one) for _, one in tensors_of_batch(inputs))

    def end_step(self) -> None:
        """Ends a step."""
        self.observer.phase = self.observer.tally = None
        self._step += 1

    def found(
        self,
        model: nn.Module | None,
        batch_size: int,
        messages: CommunicationLog | None = None,
    ) -> ModelCounts | None:
        """Returns the counts of the step; None where it did not come to its end."""
        recorded = self.observer.recorded(_CARD)
        operators = recorded.operators
        if self._step <= self._counted_step or not operators or model is None:
            return None
        forward = sum(one.total_flops for one in operators if one.phase in _OF_FORWARD)
        backward = sum(one.total_flops for one in operators if one.phase is Phase.BACKWARD)
        return ModelCounts(
            counts=count(model),
            step=StepCounts(
                forward_flops_per_sample=round(forward / max(1, batch_size)),
                step_flops=forward + backward,
                recomputed_flops=self.observer.recomputed_flops(_CARD),
                activations_per_sample=None,
                uncounted_operators=self._uncounted(),
            ),
            modules=(),
            structure=Structure.WHOLE_MODEL,
            flop_rules=FlopRules.TORCH,
            forward_flops_by_torch=forward,
            build_on="",
            operators=operators,
            order=recorded.order,
            batch_tensors_bytes=self._batch_bytes,
            collectives=() if messages is None else messages.records(),
            communicators=() if messages is None else messages.communicators(),
            tf32_matmul=torch.backends.cuda.matmul.allow_tf32,
        )

    def _uncounted(self) -> tuple[OperatorCalls, ...]:
        """Returns the operators of the forward that no rule covers and that may cost much."""
        return tuple(
            OperatorCalls(name=name, calls=calls)
            for name, calls in self._forward.without_formula.most_common()
            if not is_elementwise(name)
        )

    def _restart(self) -> None:
        """Forgets a micro-batch whose backward has ended."""
        self._has_backward = False
        self._forward = Tally()
        self.observer.forget()
