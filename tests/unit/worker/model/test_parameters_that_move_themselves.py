"""A `.to` of a parameter's own, called from host memory that nobody has written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from planner.worker.model import stand_ins
from planner.worker.model.meta import parameters_on_meta, to_device
from tests.unit.worker.model.test_composite import Packed, packed

CPU = torch.device("cpu")
MIB = 1 << 20
LOG: list[tuple[str, str, tuple[int, ...]]] = []


class SelfPacking(nn.Parameter):
    """As bitsandbytes' Params4bit: `.to` packs the values of two into one, and keeps a scale."""

    packed: bool

    def to(self, *args: Any, **_: Any) -> Any:
        if not self.packed:
            LOG.append(("packed", self.device.type, tuple(self.shape)))
            self.data = torch.zeros(self.numel() // 2, 1, dtype=torch.uint8, device=args[0])
            self.packed = True
            self.scale = torch.zeros(self.shape[0], device=args[0])
        return self


def self_packing(data: torch.Tensor) -> Any:
    parameter: Any = SelfPacking(data, requires_grad=False)
    parameter.packed = False
    return parameter


class Quantised(nn.Linear):
    def __init__(self, size: int) -> None:
        super().__init__(size, size)
        self.weight = self_packing(self.weight.data)


def on_meta(*sizes: int) -> nn.Sequential:
    with parameters_on_meta():
        return nn.Sequential(*(Quantised(size) for size in sizes))


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    LOG.clear()


def test_each_is_packed_in_order_from_the_host() -> None:
    model = on_meta(4, 8)
    weights: list[Any] = [layer.weight for layer in model]
    assert all(weight.is_meta for weight in weights)
    to_device(model, CPU)
    assert LOG == [("packed", "cpu", (4, 4)), ("packed", "cpu", (8, 8))]
    assert [weight.numel() for weight in weights] == [8, 32]  # the same objects
    assert [weight.scale.numel() for weight in weights] == [8, 32]
    assert all(layer.weight is weight for layer, weight in zip(model, weights, strict=True))
    assert model[0].bias.device == CPU  # plain parameters go their own way


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_the_host_gives_no_memory_to_what_is_not_written() -> None:
    before = resident_bytes()
    # More than the process holds, so that it comes from the kernel: a piece that an earlier test
    # has freed can be resident already.
    rows = max(4096, before // (16384 * 4) + 1)  # 256 MiB or more
    tensor = torch.empty(rows, 16384, device="meta")
    stand_in = stand_ins.on_host(tensor)
    assert resident_bytes() - before < 8 * MIB
    stand_in[:1024] = 1  # 64 MiB of it: a page that is written does cost
    assert resident_bytes() - before > 60 * MIB


def test_a_wrapper_is_moved_by_its_own_code() -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(packed("meta"))

    model = Holder()
    weight = model.weight
    to_device(model, CPU)
    assert model.weight is weight
    assert isinstance(weight, Packed)
    assert (weight.codes.device, weight.scales.device) == (CPU, CPU)
    assert (weight.codes.dtype, weight.scales.numel()) == (torch.uint8, 2)


@pytest.mark.parametrize(
    ("tensor", "moves"),
    [
        (nn.Parameter(torch.zeros(2)), False),
        (torch.zeros(2), False),
        (self_packing(torch.zeros(2, 2)), True),
        (packed(), True),
    ],
    ids=["parameter", "tensor", "own to", "wrapper"],
)
def test_what_moves_itself(tensor: torch.Tensor, moves: bool) -> None:
    assert stand_ins.moves_itself(tensor) is moves
