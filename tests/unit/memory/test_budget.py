"""Who takes the memory of a card, and what is left for tensors."""

from __future__ import annotations

import pytest

from planner.errors import UnknownGpuError, UsageError
from planner.memory.budget import MemoryBudget, memory_budgets, with_outside

GIB = 1 << 30
MIB = 1 << 20


def budget(name: str = "t4", **options: object) -> MemoryBudget:
    given = {"hardware_db": None, "gpu_memory": None, "reserve": 0, **options}
    (found,) = memory_budgets([name], **given)  # type: ignore[arg-type] # mixed values
    return found


def test_capacity_is_what_context_and_reserve_leave() -> None:
    plain = budget()
    assert plain.usable_memory_bytes == plain.card.total_memory_bytes
    assert plain.capacity_bytes == plain.usable_memory_bytes - plain.context_overhead_bytes
    assert plain.context_overhead_bytes > 100 * MIB
    assert budget(reserve=GIB).capacity_bytes == plain.capacity_bytes - GIB


def test_what_a_step_takes_beside_pytorch_is_not_for_tensors() -> None:
    plain = budget(gpu_memory="10GiB")
    used = with_outside(plain, 3 * GIB)
    assert used.outside_bytes == 3 * GIB
    assert used.capacity_bytes == plain.capacity_bytes - 3 * GIB
    assert used.allocatable_bytes == plain.allocatable_bytes == plain.capacity_bytes
    assert with_outside(plain, 20 * GIB).capacity_bytes < 0  # more than there is, no error


def test_a_share_is_of_the_usable_memory() -> None:
    kept = budget(gpu_memory="10GiB", reserve="5%")
    assert kept.usable_memory_bytes == 10 * GIB
    assert kept.reserve_bytes == GIB // 2
    assert budget(reserve="512MiB").reserve_bytes == 512 * MIB
    assert budget(reserve="0%").reserve_bytes == 0


def test_gpu_memory_replaces_that_of_every_card() -> None:
    budgets = memory_budgets(["t4", "a100"], hardware_db=None, gpu_memory=8 * GIB, reserve=0)
    assert [entry.usable_memory_bytes for entry in budgets] == [8 * GIB] * 2
    assert budgets[0].context_overhead_bytes != budgets[1].context_overhead_bytes


def test_each_card_once_in_order() -> None:
    budgets = memory_budgets(["t4", "a100", "t4"], hardware_db=None, gpu_memory=None, reserve=0)
    assert [entry.requested for entry in budgets] == ["t4", "a100"]
    assert budgets[0].note is None
    assert budgets[1].note is not None


@pytest.mark.parametrize(
    "options",
    [
        {"reserve": "15GiB"},
        {"reserve": 1 << 40},
        {"reserve": -1},
        {"gpu_memory": "100MiB"},
        {"reserve": "99.9%"},
    ],
    ids=str,
)
def test_nothing_left_says_who_takes_it(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"t4: of .* nothing is left .* CUDA context") as caught:
        budget(**options)
    assert "reserve of" in str(caught.value)


@pytest.mark.parametrize("value", ["lots", "0", 0, -5, "-1GiB"])
def test_gpu_memory_that_is_no_size(value: object) -> None:
    with pytest.raises(UsageError, match=r"is not a size|must be more than 0"):
        budget(gpu_memory=value)


@pytest.mark.parametrize("value", ["lots", "100%", "-5%", "x%"])
def test_a_reserve_that_is_none(value: str) -> None:
    with pytest.raises(UsageError):
        budget(reserve=value)


def test_no_card_and_unknown_card() -> None:
    with pytest.raises(UsageError, match="say which card"):
        memory_budgets([], hardware_db=None, gpu_memory=None, reserve=0)
    with pytest.raises(UnknownGpuError, match="a1000"):
        budget("a1000")
