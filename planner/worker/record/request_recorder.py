"""Records a run: every request to the allocator, without its purpose.

In: the marks of a run (Watch). Out: RequestLog. Convention: a recording begins before the model is
built, and ends with the last completed step, or where a step failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from planner.wire.trace import EventKind, Phase, RequestLog
from planner.worker.record.allocator_history import (
    AllocatorHistory,
    History,
    block_numbers,
    is_kept,
)
from planner.worker.record.quiet import collector_stopped
from planner.worker.record.rounds import rounds_at
from planner.worker.record.watch import Watch


class RequestRecorder(Watch):
    """Keeps the requests of one run on `device`; none if no history is kept."""

    def __init__(self, device: torch.device, *, lines: bool = False) -> None:
        self._history = AllocatorHistory(device, lines=lines) if is_kept(device) else None
        self._phase = Phase.BUILD
        self._end: int | None = None
        self._recorded: History | None = None
        self._rounds: list[list[int]] = []  # positions in each step

    def begin(self) -> None:
        """Starts the recording, before the first request."""
        if self._history is not None:
            self._history.start()

    def built(self, model: nn.Module, optimizer: Any | None, scaler: Any | None) -> None:
        """Begins the first step: the model is on the card."""
        self._phase = Phase.BETWEEN_STEPS
        self._rounds.append([])

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """Begins `phase`."""
        self._phase = phase

    def token(self, cache: Iterable[torch.Tensor]) -> None:
        """Begins a round of a loop that writes tokens."""
        if self._rounds:
            self._rounds[-1].append(self._position())

    def end_step(self) -> None:
        """Ends a step; the recording may end here."""
        self._phase = Phase.BETWEEN_STEPS
        self._end = self._position()
        self._rounds.append([])

    def end_steps(self) -> None:
        """Ends the steps: all have ended, or one has failed."""
        if self._has_failed():
            self._end = self._position()

    def end(self) -> None:
        """Ends the recording, whether the run completed or failed."""
        if self._history is not None:
            with collector_stopped():
                self._recorded = self._history.stop()

    def requests(self) -> RequestLog | None:
        """Returns all requests; None if they could not be recorded."""
        if self._recorded is None:
            return None
        with collector_stopped():
            return _log(self._recorded, self._end_of(self._recorded), self._rounds)

    def _has_failed(self) -> bool:
        return self._phase is not Phase.BETWEEN_STEPS or self._end is None

    def _end_of(self, history: History) -> int:
        return len(history.places) if self._end is None else self._end

    def _position(self) -> int:
        return 0 if self._history is None else self._history.position()


def _log(history: History, end: int, rounds: Sequence[Sequence[int]]) -> RequestLog:
    requests = history.until(end)
    size_of: dict[int | None, int] = {}
    rows: list[tuple[EventKind, int, int, int]] = []
    before = []
    for request, number in zip(requests, block_numbers(requests), strict=True):
        before.append(len(rows))
        if request.kind is EventKind.ALLOC:
            size_of[number] = request.size_bytes
        if number is not None:
            rows.append((request.kind, number, size_of[number], request.stream))
        elif request.kind is EventKind.EMPTY_CACHE:
            rows.append((request.kind, 0, 0, 0))
        # A free without a number is of memory from before the recording: no request of this run.
    kinds, blocks, sizes, streams = zip(*rows, strict=True) if rows else ((), (), (), ())
    before.append(len(rows))
    return RequestLog(
        kinds=kinds,
        blocks=blocks,
        sizes_bytes=sizes,
        streams=streams,
        rounds=rounds_at(rounds, history.places[:end], before),
    )
