"""Values by which an operator gives the size that was asked for."""

from __future__ import annotations

import pytest
import torch

from planner.errors import UsageError
from planner.wire.value_reads import ReadSite
from planner.worker.values import sizes

SITE = ReadSite(file="net.py", line=3, function="forward")


@pytest.mark.parametrize("size", [0, 1, 7, 12])
def test_a_mask_has_as_many_trues(size: int) -> None:
    mask = torch.ones(3, 4, dtype=torch.bool)
    sizes._mask(mask, size, SITE)
    assert mask.nonzero().shape[0] == size


def test_a_mask_is_not_larger_than_it_is() -> None:
    with pytest.raises(UsageError, match=r"size of 13 was given for net.py:3, .* has 12 elements"):
        sizes._mask(torch.ones(3, 4, dtype=torch.bool), 13, SITE)


@pytest.mark.parametrize("size", [1, 4, 9])
def test_as_many_distinct_values(size: int) -> None:
    values = torch.zeros(9)
    sizes._distinct(values, size, SITE)
    assert values.unique().numel() == size
    assert values.unique_consecutive().numel() == size


@pytest.mark.parametrize("size", [0, 10])
def test_as_many_distinct_values_as_there_can_be(size: int) -> None:
    with pytest.raises(UsageError, match="1 to 9 distinct ones"):
        sizes._distinct(torch.zeros(9), size, SITE)


@pytest.mark.parametrize("size", [1, 5, 23])
def test_repeats_add_up(size: int) -> None:
    repeats = torch.ones(5, dtype=torch.int64)
    sizes._repeats(repeats, size, SITE)
    assert torch.repeat_interleave(repeats).numel() == size
