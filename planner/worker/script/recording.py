"""The recorders of a script's run: the same as those of a planned step, without a plan.

In: the marks of step_events.py, and the model once the script calls it. Out: as of the recorder.
Convention: the run may stop within a step, which then counts as the last one. A script of inference
has one step of one phase: its forward.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from planner.wire.trace import AllocationTrace, Phase, Recording, RequestLog
from planner.worker.record.recorder import Recorder
from planner.worker.record.request_recorder import RequestRecorder
from planner.worker.record.watch import Watch


class ScriptRecording(Watch):
    """Records as ordered, from the first use of the card to `finish`.

    A recorder needs the card's allocator: what happens before the first use is no part of it.
    """

    def __init__(self, recording: Recording, *, infers: bool = False) -> None:
        self._kind = recording
        self._infers = infers
        self._recorder: Recorder | RequestRecorder | None = None

    def begin(self) -> None:
        """Starts the recorder; the card was just used for the first time."""
        device = torch.device("cuda", 0)
        if self._kind is Recording.EVENTS:
            self._recorder = Recorder(device, has_loss=not self._infers)
        elif self._kind is Recording.REQUESTS:
            self._recorder = RequestRecorder(device)
        if self._recorder is not None:
            self._recorder.begin()

    def built(self, model: nn.Module, optimizer: Any | None, scaler: Any | None) -> None:
        """Begins the first step: the script calls its model."""
        if self._recorder is not None:
            self._recorder.built(model, optimizer, scaler)

    def joined(self, model: nn.Module, path: str) -> None:
        """Adds a further model of the script, whose modules are named below `path`."""
        if isinstance(self._recorder, Recorder):
            self._recorder.joined(model, path)

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """Begins `phase`."""
        if self._recorder is not None:
            self._recorder.enter(phase, inputs)

    def token(self, cache: Iterable[torch.Tensor]) -> None:
        """Begins a round of generate() of transformers; `cache` is what it has kept so far."""
        if self._recorder is not None:
            self._recorder.token(cache)

    def stepped(self, optimizer: Any, *, by_user: bool) -> None:
        """Adds an optimizer that begins its step, to name its state."""
        if self._recorder is not None:
            self._recorder.stepped(optimizer, by_user=by_user)

    def end_step(self) -> None:
        """Ends a step; later requests belong to the next one."""
        if self._recorder is not None:
            self._recorder.end_step()

    def finish(self) -> tuple[AllocationTrace | None, RequestLog | None]:
        """Ends the recording here, wherever the script is, and returns it."""
        recorder = self._recorder
        if recorder is None:
            return None, None
        if not self._infers:
            recorder.enter(Phase.OPTIMIZER_STEP)  # so that all requests up to now are of the run
        recorder.end_steps()
        recorder.end()
        if isinstance(recorder, Recorder):
            return recorder.trace(), None
        return None, recorder.requests()
