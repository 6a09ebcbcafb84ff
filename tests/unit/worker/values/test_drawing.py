"""Drawn numbers: where they lie, and that the user's own streams stay."""

from __future__ import annotations

import pytest
import torch

from planner.worker.values.drawing import Drawing

MANY = 700_000  # more than two blocks


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [1000, MANY])
def test_floats_lie_between_0_and_1_and_none_is_0(dtype: torch.dtype, size: int) -> None:
    drawn = Drawing(0).noise((size,), dtype).double()
    assert drawn.min() > 0
    assert drawn.max() <= 1
    assert 0.45 < drawn.mean() < 0.55


def test_centred_numbers_lie_around_0() -> None:
    drawn = Drawing(0).noise((10_000,), torch.float32, centred=True)
    assert abs(float(drawn.mean())) < 0.05
    assert 0.95 < float(drawn.std()) < 1.05
    assert 0.47 < float((drawn > 0).float().mean()) < 0.53


def test_whole_numbers_and_bools_are_0_or_1() -> None:
    for dtype in (torch.int64, torch.bool, torch.uint8):
        drawn = Drawing(0).noise((1000,), dtype)
        assert set(drawn.int().tolist()) == {0, 1}


def test_complex_and_eight_bit_numbers_can_be_drawn() -> None:
    assert Drawing(0).noise((10,), torch.complex64).abs().min() > 0
    assert Drawing(0).noise((100,), torch.float8_e4m3fn).float().max() <= 1


def test_a_seed_decides_and_two_tensors_differ() -> None:
    first, second = Drawing(3), Drawing(3)
    one = first.noise((MANY,), torch.float32)
    assert torch.equal(one, second.noise((MANY,), torch.float32))
    assert not torch.equal(one, first.noise((MANY,), torch.float32))
    assert not torch.equal(one, Drawing(4).noise((MANY,), torch.float32))


def test_torchs_own_stream_does_not_move() -> None:
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    Drawing(0).noise((MANY,), torch.float32)
    assert torch.equal(torch.rand(3), wanted)
