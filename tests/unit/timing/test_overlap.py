"""Messages beside kernels, by hand arithmetic."""

from __future__ import annotations

import pytest

from planner.config.parse import step_config
from planner.hardware.link_specs import Collective
from planner.timing.bottleneck import MessageTimes
from planner.timing.overlap import message_times
from planner.wire.communication import CollectiveRecord
from planner.wire.trace import Phase

MS = 1e-3


def record(
    collective: Collective, phase: Phase, calls: int, *, size: int = 1, group: str = "dp_shard"
) -> CollectiveRecord:
    """So many messages of `size` ms each."""
    return CollectiveRecord(
        collective=collective, group=group, ranks=8, hosts=1, phase=phase, size_bytes=size,
        calls=calls,
    )  # fmt: skip


def times(
    records: list[CollectiveRecord], words: str, forward_ms: float, backward_ms: float,
    micro_batches: int = 1,
) -> MessageTimes:  # fmt: skip
    """In ms, where one byte takes one ms."""
    parallel = step_config({"parallel": words}).parallel
    assert parallel is not None
    found = message_times(
        records,
        lambda one: one.size_bytes * MS,
        parallel,
        {Phase.FORWARD: forward_ms * MS, Phase.BACKWARD: backward_ms * MS},
        micro_batches,
    )
    return MessageTimes(
        total_s=round(found.total_s / MS, 6), exposed_s=round(found.exposed_s / MS, 6)
    )


def test_fsdp_waits_for_the_first_block_where_kernels_are_longer() -> None:
    gathers = [record(Collective.ALL_GATHER, Phase.FORWARD, 10)]
    assert times(gathers, "fsdp=8", 100, 200) == MessageTimes(total_s=10, exposed_s=1)


def test_fsdp_waits_for_what_is_longer_than_the_kernels() -> None:
    messages = [
        record(Collective.ALL_GATHER, Phase.BACKWARD, 10),
        record(Collective.REDUCE_SCATTER, Phase.BACKWARD, 10, size=2),
    ]
    # 30 ms share the link, and 12 ms of kernels hide as much of them.
    assert times(messages, "fsdp=8", 6, 12) == MessageTimes(total_s=30, exposed_s=18)


def test_sums_of_divided_matrices_hide_behind_nothing() -> None:
    messages = [record(Collective.ALL_REDUCE, Phase.FORWARD, 4, group="tp")]
    assert times(messages, "tp=8", 100, 200) == MessageTimes(total_s=4, exposed_s=4)


def test_ddp_hides_its_buckets_behind_backward_alone() -> None:
    messages = [
        record(Collective.ALL_REDUCE, Phase.BACKWARD, 5),
        record(Collective.BROADCAST, Phase.FORWARD, 2),
    ]
    assert times(messages, "ddp=8", 100, 200) == MessageTimes(total_s=7, exposed_s=3)


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_messages_of_the_optimizer_come_once_in_a_step(micro_batches: int) -> None:
    messages = [
        record(Collective.ALL_REDUCE, Phase.OPTIMIZER_STEP, 1, size=5),
        record(Collective.ALL_GATHER, Phase.FORWARD, 2),
    ]
    found = times(messages, "fsdp=8", 100, 200, micro_batches)
    assert found == MessageTimes(total_s=5 + 2 * micro_batches, exposed_s=5 + micro_batches)


def test_without_messages_there_is_no_wait() -> None:
    assert times([], "fsdp=8", 1, 1) == MessageTimes()
