"""The stages of a pipeline on a card: what a rank waits for the others.

In: the counts of some ranks, the kernels' times of each. Out: seconds that the played rank waits.
Convention: stages that were not counted take the time of a middle one, by their number of blocks;
the time of a rank's several stages is dealt out among them in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from planner.timing.pipeline import StageTime, busy_s, pipeline_s
from planner.wire.module_counts import ModelCounts
from planner.wire.pipeline import PipelineRecord
from planner.wire.trace import Phase

Seconds = Callable[[ModelCounts], Mapping[Phase, float]]


def waiting_s(
    played: int,
    counted: ModelCounts,
    others: Mapping[int, ModelCounts],
    seconds_of: Seconds,
    message_s: float,
) -> float:
    """Returns the seconds of a step in which the rank at place `played` waits for other stages.

    `others` are the counts of other places; `seconds_of` gives the phases of a counted step.
    """
    record = counted.pipeline
    if record is None or not record.order:
        return 0.0
    known = {**others, played: counted}
    stages = _stage_times(record, {place: seconds_of(one) for place, one in known.items()})
    whole_s = pipeline_s(record, stages, message_s)
    return max(0.0, whole_s - busy_s(record, stages, played))


def _stage_times(
    record: PipelineRecord, phases: Mapping[int, Mapping[Phase, float]]
) -> Sequence[StageTime]:
    middles = [place for place in phases if 0 < place < len(record.order) - 1]
    usual = middles[0] if middles else min(phases)
    found = []
    for stage, place in enumerate(record.places):
        source = place if place in phases else usual
        of_a_block = 1 / (record.microbatches * sum(record.blocks_at(source)))
        times = phases[source]
        forward_s = times.get(Phase.FORWARD, 0.0) + times.get(Phase.LOSS, 0.0)
        found.append(
            StageTime(
                forward_s=forward_s * of_a_block * record.blocks[stage],
                backward_s=times.get(Phase.BACKWARD, 0.0) * of_a_block * record.blocks[stage],
            )
        )
    return found
