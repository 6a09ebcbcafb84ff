"""Messages beside kernels, by hand arithmetic."""

from __future__ import annotations

import pytest

from planner.config.parse import step_config
from planner.hardware.link_specs import Collective
from planner.timing.bottleneck import MessageTimes, ShardCopies
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


def copied(forward_ms: float, *, overlap: bool = True) -> tuple[float, float]:
    """Seconds of copies and of those that are waited for, in ms: 10 gathers of 1 ms, 40 of kernels.

    The largest unit takes 4 ms.
    """
    parallel = step_config({"parallel": "fsdp=8"}).parallel
    assert parallel is not None
    found = message_times(
        [record(Collective.ALL_GATHER, Phase.FORWARD, 10)],
        lambda one: one.size_bytes * MS,
        parallel,
        {Phase.FORWARD: 40 * MS, Phase.BACKWARD: 80 * MS},
        2,
        ShardCopies(phases_s=((Phase.FORWARD, forward_ms * MS),), unit_s=4 * MS, overlap=overlap),
    )
    assert (found.total_s / MS, found.exposed_s / MS) == pytest.approx((2 * 10, 2 * 1))
    assert found.hidden_s == pytest.approx(
        found.total_s - found.exposed_s + found.copies_s - found.exposed_copies_s
    )
    return round(found.copies_s / MS, 6), round(found.exposed_copies_s / MS, 6)


def test_copies_of_shards_come_on_top_of_the_messages() -> None:
    # No kernel runs beside the first unit: its copy of 4 ms is waited for in each micro-batch.
    assert copied(20) == (40, 8)
    # 10 + 60 ms behind 40 of kernels: 30 are left, one of which is the gather's own.
    assert copied(60) == (120, 2 * 29)
    # Pageable copies hide behind nothing.
    assert copied(20, overlap=False) == (40, 40)
    # A copy that is shorter than the largest unit is the whole of it.
    assert copied(3) == (6, 6)


def test_experts_wait_for_their_tokens() -> None:
    messages = [
        record(Collective.ALL_GATHER, Phase.FORWARD, 10),
        record(Collective.ALL_TO_ALL, Phase.FORWARD, 4, size=2, group="ep"),
    ]
    assert times(messages, "fsdp=8,ep=8", 100, 200) == MessageTimes(total_s=18, exposed_s=1 + 8)
