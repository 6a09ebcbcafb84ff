"""How much of a step's messages runs beside its kernels, by the strategy of the job.

In: the messages of a step, the seconds of one of each, the seconds of the card by phase. Out:
MessageTimes. Convention: within a phase, messages that may overlap share the link, one after
another, and hide behind all kernels of the phase but those before the first result is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby

from planner.config.parallel import DataParallel, ParallelConfig
from planner.hardware.link_specs import Collective
from planner.timing.bottleneck import MessageTimes, ShardCopies
from planner.wire.communication import CollectiveRecord
from planner.wire.trace import Phase

_TENSOR = "tp"
_PIPELINE = "pp"  # its messages are a part of what the stages wait for each other
# FSDP2 gathers the next block while one computes, and reduces gradients of the last one; DDP
# reduces a bucket while the next one fills; ring attention sends keys while it multiplies.
_OVERLAPPING = (Phase.FORWARD, Phase.BACKWARD)


def message_times(
    records: Iterable[CollectiveRecord],
    seconds_of: Callable[[CollectiveRecord], float],
    parallel: ParallelConfig,
    phases_s: Mapping[Phase, float],
    micro_batches: int,
    copies: ShardCopies | None = None,
) -> MessageTimes:
    """Returns the seconds of all messages of a step, and of those that the kernels wait for.

    `records`, `phases_s` and `copies` of shards from and to the host are of one micro-batch;
    messages of the optimizer's step come once. A shard is copied before it is gathered, and after
    it is reduced: copies come on top of the messages of their phase.
    """
    timed = [(one, seconds_of(one)) for one in records]
    timed.sort(key=lambda one: one[0].phase.value)
    by_phase = {one: list(group) for one, group in groupby(timed, key=lambda one: one[0].phase)}
    copied = {} if copies is None else dict(copies.phases_s)
    total_s = exposed_s = copies_s = exposed_copies_s = 0.0
    for phase in dict.fromkeys((*by_phase, *copied)):
        found = by_phase.get(phase, [])
        times = 1 if phase is Phase.OPTIMIZER_STEP else micro_batches
        total_s += times * sum(one.calls * one_s for one, one_s in found)
        found = [one for one in found if one[0].group != _PIPELINE]
        all_s = sum(one.calls * one_s for one, one_s in found)
        hidden = [(one, one_s) for one, one_s in found if _overlaps(one, phase, parallel)]
        hidden_s = sum(one.calls * one_s for one, one_s in hidden)
        # The first gathering has no kernels before it, the last reduction none after it.
        ends_s = max((one_s for _, one_s in hidden), default=0.0)
        kernels_s = phases_s.get(phase, 0.0)
        left_s = max(ends_s, hidden_s - kernels_s)
        exposed_s += times * (all_s - hidden_s + left_s)
        if copies is not None and phase in copied:
            copy_s = copied[phase]
            unit_s = min(copies.unit_s, copy_s)
            with_copies_s = max(ends_s + unit_s, hidden_s + copy_s - kernels_s)
            copies_s += times * copy_s
            exposed_copies_s += times * (with_copies_s - left_s if copies.overlap else copy_s)
    return MessageTimes(
        total_s=total_s,
        exposed_s=exposed_s,
        copies_s=copies_s,
        exposed_copies_s=exposed_copies_s,
    )


def _overlaps(record: CollectiveRecord, phase: Phase, parallel: ParallelConfig) -> bool:
    """Returns whether a message may run beside kernels of its phase."""
    if phase not in _OVERLAPPING or record.group == _TENSOR:
        return False  # matrices that are divided wait for each sum
    if parallel.experts > 1 and record.collective is Collective.ALL_TO_ALL:
        return False  # experts wait for their tokens, and the next layer for theirs
    if parallel.data in (DataParallel.DDP, DataParallel.ZERO1):
        return record.collective is Collective.ALL_REDUCE and phase is Phase.BACKWARD
    return True
