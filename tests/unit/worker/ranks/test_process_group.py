"""A rank alone: collectives give what equal peers would make of small tensors, and are logged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

from planner.hardware.link_specs import Collective
from planner.wire.communication import CollectiveRecord
from planner.wire.communicators import CommunicatorUse
from planner.wire.trace import Phase
from planner.worker.ranks.communication import CommunicationLog
from planner.worker.ranks.membership import begin

RANK, WORLD, PER_HOST = 5, 16, 8


@pytest.fixture
def log() -> Iterator[CommunicationLog]:
    """Rank 5 of 16 on two machines."""
    yield begin(RANK, WORLD, PER_HOST)
    dist.destroy_process_group()


def test_a_small_sum_is_that_of_equal_ranks(log: CommunicationLog) -> None:
    tensor = torch.tensor([1.0, 2.0])
    dist.all_reduce(tensor)
    assert tensor.tolist() == [16.0, 32.0]
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    assert tensor.tolist() == [16.0, 32.0]
    dist.all_reduce(tensor, op=dist.ReduceOp.AVG)
    assert tensor.tolist() == [16.0, 32.0]


def test_a_large_tensor_is_not_touched(log: CommunicationLog) -> None:
    tensor = torch.ones(1 << 17)
    dist.all_reduce(tensor)
    assert tensor.sum() == 1 << 17


def test_gathered_parts_are_this_ranks_own(log: CommunicationLog) -> None:
    whole = torch.zeros(2 * WORLD)
    dist.all_gather_into_tensor(whole, torch.tensor([1.0, 2.0]))
    assert whole.tolist() == [1.0, 2.0] * WORLD
    parts = [torch.zeros(1) for _ in range(WORLD)]
    dist.all_gather(parts, torch.tensor([3.0]))
    assert [part.item() for part in parts] == [3.0] * WORLD


def test_a_part_may_be_gathered_from_where_it_belongs(log: CommunicationLog) -> None:
    """FSDP does so: what is sent is a part of the tensor that is filled."""
    whole = torch.zeros(WORLD, 2)
    whole[RANK] = torch.tensor([1.0, 2.0])
    dist.all_gather_into_tensor(whole, whole[RANK])
    assert whole.tolist() == [[1.0, 2.0]] * WORLD


def test_the_part_of_a_scattered_sum_is_that_of_the_rank(log: CommunicationLog) -> None:
    part = torch.zeros(1)
    dist.reduce_scatter_tensor(part, torch.arange(float(WORLD)))
    assert part.item() == RANK * WORLD


def test_objects_of_all_ranks_are_this_ranks_own(log: CommunicationLog) -> None:
    objects: list[object] = [None] * WORLD
    dist.all_gather_object(objects, {"rank": RANK})
    assert objects == [{"rank": RANK}] * WORLD
    said = ["hello"]
    dist.broadcast_object_list(said, src=RANK)
    assert said == ["hello"]


def test_a_hook_of_ddp_gets_the_tensor_from_the_future(log: CommunicationLog) -> None:
    tensor = torch.ones(2)
    work = dist.all_reduce(tensor, async_op=True)
    assert work is not None
    (summed,) = work.get_future().value()
    assert summed is tensor
    assert work.wait()


def test_a_group_of_some_ranks_knows_its_size_and_its_machines(log: CommunicationLog) -> None:
    near = dist.new_group([4, 5, 6, 7])
    far = dist.new_group([5, 13])
    assert (dist.get_rank(near), dist.get_world_size(near)) == (1, 4)
    dist.all_reduce(torch.ones(1), group=near)
    assert far is not None
    dist.all_to_all_single(torch.zeros(2), torch.ones(2), group=far)
    assert [replace(one, group="") for one in log.communicators()] == [
        CommunicatorUse(group="", ranks=4, hosts=1, sends_to_peers=False),
        CommunicatorUse(group="", ranks=2, hosts=2, sends_to_peers=True),
    ]


def test_messages_in_a_phase_are_counted_with_their_sizes(log: CommunicationLog) -> None:
    dist.all_reduce(torch.ones(4))
    log.phase = lambda: Phase.BACKWARD
    for _ in range(3):
        dist.reduce_scatter_tensor(torch.zeros(1), torch.zeros(WORLD))
    dist.send(torch.zeros(8), dst=RANK + 1)
    alike = {"group": "", "ranks": WORLD, "hosts": 2, "phase": Phase.BACKWARD}
    assert log.records() == (
        CollectiveRecord(
            collective=Collective.REDUCE_SCATTER, size_bytes=4 * WORLD, calls=3, **alike
        ),
        CollectiveRecord(collective=Collective.SEND_RECV, size_bytes=32, calls=1, **alike),
    )
    (communicator,) = log.communicators()
    assert communicator.sends_to_peers


def test_an_exchange_gives_what_this_rank_sends_or_the_most_that_it_can_get(
    log: CommunicationLog,
) -> None:
    sent, got = torch.arange(2 * WORLD), torch.zeros(2 * WORLD, dtype=torch.long)
    dist.all_to_all_single(got, sent)
    assert got.tolist() == sent.tolist()
    log.most_to_this_rank = True
    dist.all_to_all_single(got, sent)
    assert got.tolist() == [2 * RANK, 2 * RANK + 1] * WORLD
