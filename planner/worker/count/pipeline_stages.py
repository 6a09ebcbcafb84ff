"""Counts a pipeline: its operators by stage, and the steps of its loop that were not run.

In: a PipelineModel, OperatorObserver. Out: calls of a whole generation, copies of weights.
Convention: a step that is not run is like the last one that was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from planner.wire.offload import OffloadedWeights
from planner.worker.count.observer import OperatorObserver
from planner.worker.model.pipeline_model import PipelineModel
from planner.worker.record.stages import stages_noted


@contextmanager
def stages_counted(model: nn.Module, observer: OperatorObserver) -> Iterator[None]:
    """Notes stages and steps of a pipeline within the context; afterwards adds the other steps."""
    if not isinstance(model, PipelineModel):
        yield
        return
    copies, iterations = model.copies, model.iterations
    copies.reset()
    ends: list[tuple[int, int]] = []

    def end() -> None:
        observer.end_iteration()
        ends.append((copies.to_card_bytes, copies.to_host_bytes))

    iterations.on_end = end
    try:
        with stages_noted(model, observer.begin_stage):
            yield
    finally:
        iterations.on_end = lambda: None
    observer.repeat_iteration(iterations.skipped)
    if len(ends) >= 2:
        (card_before, host_before), (card_after, host_after) = ends[-2:]
        copies.to_card_bytes += iterations.skipped * (card_after - card_before)
        copies.to_host_bytes += iterations.skipped * (host_after - host_before)


def weights_on_host(model: nn.Module) -> OffloadedWeights:
    """Returns the weights of a pipeline on the host, and their copies in one generation."""
    assert isinstance(model, PipelineModel), "only a pipeline has its models on the host"
    return OffloadedWeights(
        resident_bytes=model.resident_bytes,
        to_card_bytes=model.copies.to_card_bytes,
        to_host_bytes=model.copies.to_host_bytes,
    )
