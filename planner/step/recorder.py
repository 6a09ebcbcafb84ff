"""Records a run: every request to the allocator with its category, phase and origin.

In: the marks of a run (Watch). Out: AllocationTrace. Convention: what is recorded runs as it would
without: only torch's own observers are used, and no tensor is kept alive.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn

from planner.step.allocator_history import AllocatorHistory, History
from planner.step.attribution import Mark, Note, Recording, attribute
from planner.step.holders import Holders, Holding
from planner.step.module_calls import ModuleCalls
from planner.step.operator_sites import OperatorSites, SiteRequest
from planner.step.watch import Watch
from planner.trace import AllocationTrace, Phase


class Recorder(Watch):
    """Listens to one run on `device`. On a CPU there is nothing to record."""

    def __init__(self, device: torch.device) -> None:
        self._history = AllocatorHistory(device) if device.type == "cuda" else None
        self._operators = OperatorSites(device)
        self._holders: Holders | None = None
        self._modules: ModuleCalls | None = None
        self._step, self._phase = 0, Phase.BUILD
        self._marks: list[Mark] = []
        self._notes: list[Note] = []
        self._sites: tuple[SiteRequest, ...] = ()
        self._sites_begin = 0
        self._built_bytes: dict[int, int] = {}
        self._end: int | None = None
        self._recorded: History | None = None

    def begin(self) -> None:
        """The run begins; nothing has been asked for yet."""
        if self._history is not None:
            self._history.start()

    def built(self, model: nn.Module, optimizer: Any | None, scaler: Any | None) -> None:
        """The model is on the card, the first step begins."""
        if self._history is None:
            return
        self._holders = Holders(model, optimizer, scaler)
        self._modules = ModuleCalls(model, self._on_root)
        self._sites_begin = self._history.position()
        self._built_bytes = self._history.block_bytes()
        held = chain(self._holders.weights(), self._holders.attributes())
        self._note(self._sites_begin, held)
        self._step = 1
        self._enter(Phase.BETWEEN_STEPS)
        self._modules.start()
        self._operators.start()

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """`phase` begins; what the last one has left is noted."""
        if self._history is None or self._holders is None:
            return
        left = self._phase
        position = self._enter(phase)
        if left is Phase.BACKWARD:
            self._note(position, self._holders.gradients())
        if inputs is not None:
            self._note(position, self._holders.inputs(inputs))

    def end_step(self) -> None:
        """A step is over; what follows belongs to the next one."""
        if self._history is None or self._holders is None:
            return
        self._step += 1
        self._end = self._enter(Phase.BETWEEN_STEPS)
        state = chain(self._holders.weights(), self._holders.optimizer_state())
        self._note(self._end, state)

    def end_steps(self) -> None:
        """No step follows: all have ended, or one has failed."""
        if self._history is None or self._modules is None:
            return
        if self._failed() and self._holders is not None:
            self._end = self._history.position()
            held = chain(self._holders.gradients(), self._holders.optimizer_state())
            self._note(self._end, held)
        self._modules.stop()
        with _no_collection():
            self._sites = self._operators.stop()

    def end(self) -> None:
        """The run is over, whatever became of it."""
        if self._history is not None:
            self._recorded = self._history.stop()
        self._holders = None

    def trace(self) -> AllocationTrace:
        """All that was asked for until the last step ended, or until the failure."""
        history = self._recorded
        if history is None:
            return AllocationTrace(events=())
        recording = Recording(
            history=history,
            end=len(history.places) if self._end is None else self._end,
            sites_begin=self._sites_begin,
            built_bytes=self._built_bytes,
            marks=self._marks,
            notes=self._notes,
            sites=self._sites,
            calls=self._modules.calls if self._modules else (),
        )
        with _no_collection():
            return attribute(recording)

    def _failed(self) -> bool:
        return self._phase is not Phase.BETWEEN_STEPS or self._end is None

    def _on_root(self, begins: bool) -> None:
        """Of a step in one function, what follows the model's forward is the loss."""
        if torch.is_inference_mode_enabled():
            return
        before, after = (Phase.LOSS, Phase.FORWARD) if begins else (Phase.FORWARD, Phase.LOSS)
        if self._phase is before:
            self._enter(after)

    def _enter(self, phase: Phase) -> int:
        assert self._history is not None, "only asked for on a card"
        position = self._history.position()
        self._phase = phase
        self._marks.append(Mark(position=position, step=self._step, phase=phase))
        return position

    def _note(self, position: int, holdings: Iterator[Holding]) -> None:
        self._notes.append(Note(position=position, holdings=tuple(holdings)))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Records by the ten thousand, none of them garbage, would set the cyclic collector off."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
