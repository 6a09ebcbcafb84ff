"""Bytes that a card holds at least, and the messages of a step, against hand arithmetic."""

from __future__ import annotations

import pytest

from planner.config.parallel import DataParallel
from planner.config.step import Precision, StepConfig
from planner.estimation.largest_search import RecordedStep
from planner.estimation.spread.arithmetic import (
    expected_largest,
    floor_bytes,
    messages,
)
from planner.estimation.spread.facts import StepFacts, blocks_of, most_alive
from planner.estimation.spread.smallest import Sizes, SizeTried, smallest_job
from planner.estimation.spread.spreads import Spread
from planner.hardware.link_specs import Collective
from planner.results.parallelization import HeldBytes
from planner.units import GIB, MIB
from planner.wire.module_counts import ModuleCounts
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    Counts,
    EventKind,
    Phase,
    RunOutcome,
    StepTrace,
    TensorCategory,
)

ELEMENTS = 5 * MIB  # 20 MiB of float32, in four blocks and a rest


def block(path: str, parameters: int, kind: str = "Block") -> ModuleCounts:
    return ModuleCounts(
        path=path, kind=kind, parameters=parameters, trainable_parameters=parameters,
        forward_flops=1, activations=None, saved_bytes=1, read_bytes=1, written_bytes=1,
    )  # fmt: skip


BLOCKS = tuple(block(f"blocks.{n}", MIB) for n in range(4))


def facts(precision: Precision | None = None, sample_bytes: float = MIB) -> StepFacts:
    trace = StepTrace(
        outcome=RunOutcome.COMPLETED, batch_size=2, peak_allocated_bytes=1, peak_active_bytes=1,
        peak_reserved_bytes=1,
        counts=Counts(parameters=ELEMENTS, trainable_parameters=ELEMENTS, buffers=0),
    )  # fmt: skip
    return StepFacts(
        rows=(), checkpoint="none", options={}, changes={}, config=StepConfig(precision=precision),
        recorded=RecordedStep(trace=trace),
        held=HeldBytes(
            levers=(), parameter_bytes=20 * MIB, gradient_bytes=20 * MIB, optimizer_bytes=40 * MIB
        ),
        sample_bytes=sample_bytes, modules=BLOCKS,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spread", "mib"),
    [
        (Spread(gpus=1, hosts=1), 80),
        (Spread(gpus=8, hosts=1, data=DataParallel.DDP, replicate=8), 100),  # with its buckets
        (Spread(gpus=8, hosts=1, data=DataParallel.ZERO1, replicate=8), 65),
        (Spread(gpus=8, hosts=1, data=DataParallel.FSDP, shard=8), 10),
        (Spread(gpus=8, hosts=1, data=DataParallel.FSDP, replicate=2, shard=4), 20),
        (Spread(gpus=8, hosts=1, data=DataParallel.FSDP, shard=4, tensor=2), 10),
        (Spread(gpus=8, hosts=1, tensor=8), 10),
        (Spread(gpus=8, hosts=1, data=DataParallel.FSDP, context=8), 10),
    ],
)
def test_what_a_card_holds_at_least(spread: Spread, mib: int) -> None:
    assert floor_bytes(spread, facts()) == mib * MIB


def test_the_largest_micro_batch_to_expect() -> None:
    """Parameters and state are 60 MiB, a sample is 4: of 100 MiB there is room for 10."""
    one = Spread(gpus=1, hosts=1)
    known = facts(sample_bytes=4 * MIB)
    assert expected_largest(one, known, 100 * MIB) == 6  # when the optimizer steps: 80
    assert expected_largest(one, known, 79 * MIB) == 0


def test_messages_of_ddp_are_buckets_of_its_gradients() -> None:
    spread = Spread(gpus=16, hosts=2, data=DataParallel.DDP, replicate=16)
    (found,) = messages(spread, facts())
    assert found.collective is Collective.ALL_REDUCE
    assert (found.ranks, found.hosts, found.calls) == (16, 2, 1)
    assert found.size_bytes == 20 * MIB


@pytest.mark.parametrize(
    ("precision", "gathered", "reduced"), [(None, 4, 4), (Precision.AMP_BF16, 2, 4)]
)
def test_messages_of_fsdp_are_its_units(
    precision: Precision | None, gathered: int, reduced: int
) -> None:
    spread = Spread(gpus=8, hosts=1, data=DataParallel.FSDP, shard=8)
    found = messages(spread, facts(precision))
    sizes = {
        (one.collective, one.phase): sum(
            other.size_bytes
            for other in found
            if (other.collective, other.phase) == (one.collective, one.phase)
        )
        for one in found
    }
    assert sizes == {
        (Collective.ALL_GATHER, Phase.FORWARD): gathered * ELEMENTS,
        (Collective.ALL_GATHER, Phase.BACKWARD): gathered * ELEMENTS,
        (Collective.REDUCE_SCATTER, Phase.BACKWARD): reduced * ELEMENTS,
    }
    assert len(found) == 3 * 5, "four blocks and the rest"


def test_parameters_that_stay_gathered_are_sent_once() -> None:
    spread = Spread(gpus=8, hosts=1, data=DataParallel.FSDP, shard=8, keeps_gathered=True)
    assert not [
        one for one in messages(spread, facts())
        if one.collective is Collective.ALL_GATHER and one.phase is Phase.BACKWARD
    ]  # fmt: skip


def test_replicas_reduce_the_part_of_a_shard_between_machines() -> None:
    spread = Spread(gpus=32, hosts=4, data=DataParallel.FSDP, replicate=4, shard=8)
    found = messages(spread, facts())
    between = [one for one in found if one.collective is Collective.ALL_REDUCE]
    assert {(one.ranks, one.hosts) for one in between} == {(4, 4)}
    assert sum(one.size_bytes for one in between) == 20 * MIB // 8
    within = [one for one in found if one.collective is Collective.REDUCE_SCATTER]
    assert {(one.ranks, one.hosts) for one in within} == {(8, 1)}


def test_blocks_are_the_group_with_most_parameters() -> None:
    others = (block("model", 99), block("stem.0", 3, "Conv"), block("stem.1", 3, "Conv"))
    assert blocks_of((*others, *BLOCKS, block("blocks.4", 7, "Head"))) == (MIB,) * 4
    assert blocks_of((block("0", 5), block("1", 6))) == (5, 6)
    assert blocks_of((block("model", 99),)) == ()


def event(
    block: int, size: int, category: TensorCategory, phase: Phase = Phase.FORWARD
) -> AllocationEvent:
    return AllocationEvent(
        kind=EventKind.ALLOC, block=block, size_bytes=size, category=category, phase=phase
    )


def test_what_is_alive_at_a_time() -> None:
    """Gradients of two steps are never there together, nor is the optimizer's own of a sample."""

    def freed(number: int) -> AllocationEvent:
        return AllocationEvent(kind=EventKind.FREE, block=number, size_bytes=0)

    most, samples_bytes = most_alive(
        AllocationTrace(
            events=(
                event(0, 100, TensorCategory.PARAMETER, Phase.BUILD),
                event(1, 30, TensorCategory.SAVED_ACTIVATION),
                event(2, 12, TensorCategory.TEMPORARY),
                freed(2),
                event(3, 40, TensorCategory.GRADIENT, Phase.BACKWARD),
                event(4, 50, TensorCategory.GRADIENT, Phase.BACKWARD),
                freed(1),
                event(5, 1000, TensorCategory.TEMPORARY, Phase.OPTIMIZER_STEP),
                event(6, 200, TensorCategory.OPTIMIZER_STATE, Phase.OPTIMIZER_STEP),
                freed(3),
                freed(4),
                event(7, 90, TensorCategory.GRADIENT, Phase.BACKWARD),
            )
        )
    )
    assert most == {
        TensorCategory.PARAMETER: 100,
        TensorCategory.GRADIENT: 90,
        TensorCategory.OPTIMIZER_STATE: 200,
    }
    assert samples_bytes == 42


class Cards:
    """Runs of a step that takes its share of `whole` and `fixed` beside it, on cards of `room`."""

    def __init__(self, fixed: int, room: int) -> None:
        self.fixed, self.room = fixed, room
        self.asked: list[int] = []

    def __call__(self, spread: Spread) -> SizeTried:
        self.asked.append(spread.gpus)
        total = 80 * MIB // spread.gpus + self.fixed
        return SizeTried(
            total_bytes=total, over_bytes=max(0, total - self.room), fits=total <= self.room
        )


@pytest.mark.parametrize(
    ("fixed_mib", "room_mib", "gpus", "hosts"),
    [
        (0, 80, 1, 1),
        (1, 80, 2, 1),
        (5, 20, 8, 1),  # 80 / 8 + 5; on 4 cards 25
        (5, 7, 40, 5),  # 80 / 40 + 5; on 32 cards 7.5
        (0, 1, 80, 10),
    ],
)
def test_the_fewest_cards(fixed_mib: int, room_mib: int, gpus: int, hosts: int) -> None:
    cards = Cards(fixed_mib * MIB, room_mib * MIB)
    found = smallest_job(facts(), Sizes(per_host=8, capacity_bytes=room_mib * MIB), cards)
    assert (found.gpus, found.hosts) == (gpus, hosts)
    assert found.device_total_bytes == 80 * MIB // gpus + fixed_mib * MIB
    assert len(cards.asked) <= 4


def test_what_no_number_of_cards_holds() -> None:
    found = smallest_job(
        facts(), Sizes(per_host=8, capacity_bytes=30 * MIB), Cards(40 * MIB, 30 * MIB)
    )
    assert found.gpus is None
    assert "more cards do not help" in found.reason


def test_a_step_that_does_not_run_has_no_fewest_cards() -> None:
    found = smallest_job(facts(), Sizes(per_host=8, capacity_bytes=GIB), lambda _: "it fails")
    assert (found.gpus, found.reason) == (None, "it fails")
