"""Records a step at further batches, so that a picture of it has more of them.

In: the answer of a card. Out: samples. Convention: a batch whose requests are not those of the
recorded run, as that of 1 often is, is left out.
"""

from __future__ import annotations

from planner.estimation.context import RunContext
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.probes import ProbeRuns, SearchAxis
from planner.memory.sample_parts import Sample, SampleParts
from planner.memory.scaling import FIRST_ALIKE


def more_samples(setup: RunContext, answer: DeviceMemory, number: int) -> tuple[Sample, ...]:
    """Runs up to `number` batches below the largest, and that; () without a rule for batches."""
    scaled = None if answer.batch is None else answer.batch.scaled
    if scaled is None or answer.batch is None or number <= 0:
        return ()
    largest = max(answer.batch.capacity.largest, *scaled.values)
    spread = (*_spread(largest, number), largest)
    wanted = [batch for batch in spread if batch not in scaled.values]
    runs = ProbeRuns(setup=setup, budget=answer.budget, axis=SearchAxis.BATCH)
    first = SampleParts(scaled.samples[0])
    return tuple(
        one
        for one in runs.tries().samples(wanted)
        if one is not None and first.compared(SampleParts(one)) is None
    )


def _spread(largest: int, number: int) -> list[int]:
    """Returns `number` batches from 2 up to `largest`, in equal ratios."""
    ratio = largest / FIRST_ALIKE
    return sorted({round(FIRST_ALIKE * ratio ** (n / number)) for n in range(number)})
