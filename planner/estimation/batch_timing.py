"""Times a step at any batch on one card, and chooses the batches to try.

In: BatchCounts, DeviceMemory, JobConfig. Out: DeviceTiming or throughput at a
batch; batches to try.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from planner.config.step import StepConfig
from planner.errors import PlannerError
from planner.estimation.batch_counts import BatchCounts
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.device_timing import DeviceTiming, card_step, speed_of
from planner.estimation.job import JobConfig
from planner.memory.search import BOUND
from planner.wire.module_counts import ModelCounts

# Two doublings in a row that each gain less than this are beyond the knee.
_FLAT_FACTOR = 1.01

Throughput = Callable[[int], float | None]


@dataclass(slots=True, kw_only=True)
class BatchSpeeds:
    """Gives the speed of one card. `failures` gains a text for each batch that cannot be counted.

    Not frozen: several cards may share `failures`, so that each is reported once.
    """

    config: StepConfig
    counts: BatchCounts
    request: JobConfig
    answer: DeviceMemory
    failures: dict[int, str]

    def at(self, batch_size: int, *, fits: bool) -> DeviceTiming | None:
        """Returns step time, host and cost; None where the step fails at this batch.

        `fits` is whether this batch fits on the card: if it does not, memory is the bound.
        """
        counted = self._counted(batch_size)
        if counted is None:
            return None
        config = replace(self.config, batch_size=batch_size)
        return speed_of(self.answer, config, counted, self.request, fits=fits)

    def samples_per_s(self, batch_size: int) -> float | None:
        """Returns the throughput alone, which takes a quarter of the time of `at`."""
        counted = self._counted(batch_size)
        if counted is None:
            return None
        config = replace(self.config, batch_size=batch_size)
        return card_step(self.answer, config, counted, self.request).samples_per_s()

    def _counted(self, batch_size: int) -> ModelCounts | None:
        if batch_size in self.failures:
            return None
        try:
            return self.counts.at(batch_size)
        except PlannerError as error:
            self.failures[batch_size] = f"batch {batch_size} could not be counted: {error}"
            return None


def doublings(throughput: Throughput, largest: int | None) -> dict[int, float]:
    """Returns throughputs at 1, 2, 4 ... to the first beyond `largest`, or until they are flat.

    Batches at which the step fails are left out.
    """
    found: dict[int, float] = {}
    batch = 1
    while batch < BOUND:
        samples = throughput(batch)
        if samples is not None:
            found[batch] = samples
        if (largest is not None and batch > largest) or _is_flat(found, batch):
            break
        batch *= 2
    return found


def _is_flat(found: dict[int, float], batch: int) -> bool:
    last = [found.get(size) for size in (batch // 4, batch // 2, batch)]
    before, between, now = last
    if before is None or between is None or now is None:
        return False
    return between < _FLAT_FACTOR * before and now < _FLAT_FACTOR * between
