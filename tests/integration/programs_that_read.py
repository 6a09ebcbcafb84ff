"""A model file whose step runs small random programs that read values, on the card and on the CPU.

Each program starts from tensors that the host sends, computes with them and reads results in every
way there is. A reading that differs from the CPU's raises, in the values pass and in the pass that
is answered from its log. Arguments: the first seed, and how many programs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Tensor = torch.Tensor
_FIRST, _COUNT = 0, 100


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def build_model(first: int = 0, count: int = 100) -> nn.Module:
    global _FIRST, _COUNT
    _FIRST, _COUNT = first, count
    return _Net()


def build_batch(batch_size: int) -> Tensor:
    return torch.randn(batch_size, 8)


def training_step(model: nn.Module, batch: Tensor) -> Tensor:
    for seed in range(_FIRST, _FIRST + _COUNT):
        wanted, got = (run(seed, device) for device in ("cpu", "cuda"))
        for number, (a, b) in enumerate(zip(wanted, got, strict=True)):
            if a != b:
                raise AssertionError(f"program {seed}, reading {number}: {b}, on the CPU {a}")
    return model(batch).mean()


def run(seed: int, device: str) -> list[Any]:
    """The readings of one program."""
    draw = random.Random(seed)
    made = [_sent(draw, device) for _ in range(3)]
    readings: list[Any] = []
    for _ in range(draw.randint(3, 9)):
        step = draw.choice(_STEPS)
        made.append(step(draw, made))
        if draw.random() < 0.6:
            readings.append(draw.choice(_READS)(draw, made))
    readings.append([one.tolist() for one in made])
    return readings


def _sent(draw: random.Random, device: str) -> Tensor:
    size = draw.randint(1, 12)
    numbers = [draw.randint(-3, 6) for _ in range(size)]
    kind = draw.choice((torch.int64, torch.int32, torch.float32, torch.bool))
    how = draw.randint(0, 3)
    if how == 0:
        return torch.tensor(numbers, dtype=kind).to(device)
    if how == 1:
        return torch.tensor(numbers, dtype=kind, device=device)
    if how == 2:
        return torch.empty(size, dtype=kind, device=device).copy_(torch.tensor(numbers, dtype=kind))
    return torch.arange(size, device=device).to(kind)


def _pick(draw: random.Random, made: list[Tensor]) -> Tensor:
    return draw.choice(made)


def _whole(draw: random.Random, made: list[Tensor]) -> Tensor:
    """Integers from 0 on."""
    return _pick(draw, made).to(torch.int64).abs().flatten()


def _one(made: list[Tensor]) -> Tensor:
    return torch.ones(1, dtype=torch.int64, device=made[0].device)


def _mask(draw: random.Random, made: list[Tensor]) -> Tensor:
    return _pick(draw, made).flatten() > draw.randint(-1, 3)


def _pair(draw: random.Random, made: list[Tensor]) -> tuple[Tensor, Tensor]:
    a, b = _pick(draw, made).flatten().float(), _pick(draw, made).flatten().float()
    size = min(a.numel(), b.numel())
    return a[:size], b[:size]


def _filled(draw: random.Random, made: list[Tensor]) -> Tensor:
    tensor = _pick(draw, made).flatten().clone()
    tensor[tensor > 1] = 0
    return tensor


def _scattered(draw: random.Random, made: list[Tensor]) -> Tensor:
    places = _whole(draw, made)
    size = int(places.max()) + 1 if places.numel() else 1
    zeros = torch.zeros(size, dtype=torch.int64, device=places.device)
    return zeros.scatter_add_(0, places, torch.ones_like(places))


def _padded(draw: random.Random, made: list[Tensor]) -> Tensor:
    return nn.functional.pad(_whole(draw, made).cumsum(0), (1, 0))


def _selected(draw: random.Random, made: list[Tensor]) -> Tensor:
    tensor = _pick(draw, made).flatten()
    mask = tensor > draw.randint(-1, 2)
    return draw.choice((
        lambda: tensor[mask],
        lambda: tensor.masked_select(mask),
        lambda: tensor[mask.nonzero().flatten()],
        lambda: tensor[torch.where(mask)[0]],
        lambda: tensor.flip(0)[mask],
    ))()  # fmt: skip


_STEPS: tuple[Callable[[random.Random, list[Tensor]], Tensor], ...] = (
    _filled,
    _scattered,
    _padded,
    _selected,
    lambda d, m: _pick(d, m).flatten().unique(),
    lambda d, m: _pick(d, m).flatten().float().unique(return_counts=True)[1],
    lambda d, m: _pick(d, m).flatten().int().unique(return_inverse=True)[1],
    lambda d, m: _pick(d, m).flatten().long().unique_consecutive(),
    lambda d, m: torch.repeat_interleave(_whole(d, m)),
    lambda d, m: _whole(d, m).bincount(),
    lambda d, m: nn.functional.one_hot(torch.cat((_whole(d, m), _whole(d, m), _one(m)))).flatten(),
    lambda d, m: _pick(d, m).flatten().sort()[0],
    lambda d, m: _pick(d, m).flatten().float().argsort(stable=True),
    lambda d, m: _pick(d, m).flatten().long().cumsum(0),
    lambda d, m: (lambda pair: pair[0] + 2 * pair[1])(_pair(d, m)),
    lambda d, m: (lambda pair: pair[0].add_(1).mul_(pair[1]))(_pair(d, m)),
    lambda d, m: (lambda pair: torch.where(pair[0] > pair[1], *pair))(_pair(d, m)),
    lambda d, m: torch.cat((_pick(d, m).flatten().long(), _whole(d, m))),
    lambda d, m: torch.stack(_pair(d, m)).t().contiguous().flatten(),
    lambda d, m: _mask(d, m).nonzero().flatten(),
    lambda d, m: _pick(d, m).flatten()[::2],
    lambda d, m: torch.isin(_whole(d, m), _whole(d, m)),
    lambda d, m: _pick(d, m).flatten().float().clamp(-1, 2).half().float(),
    lambda d, m: torch.searchsorted(_whole(d, m).sort()[0], _whole(d, m)),
    lambda d, m: _pick(d, m).new_tensor([d.randint(0, 5), d.randint(0, 5)]),
    lambda d, m: torch.full((d.randint(1, 5),), d.randint(0, 9), device=_pick(d, m).device),
    lambda d, m: _pick(d, m).cpu().clone().to(m[0].device),
)
_READS: tuple[Callable[[random.Random, list[Tensor]], Any], ...] = (
    lambda d, m: _pick(d, m).flatten().long().sum().item(),
    lambda d, m: bool(_mask(d, m).any()),
    lambda d, m: bool(_mask(d, m).all()),
    lambda d, m: _pick(d, m).tolist(),
    lambda d, m: _pick(d, m).cpu().numpy().tolist(),
    lambda d, m: _mask(d, m).nonzero().shape[0],
    lambda d, m: torch.equal(*_pair(d, m)),
    lambda d, m: torch.allclose(*_pair(d, m)),
    lambda d, m: _printed(_pick(d, m)),
    lambda d, m: f"{_pick(d, m).flatten().float().sum().item():.2f}",
    lambda d, m: [part.shape[0] for part in _whole(d, m).split(_parts(d, m))],
    lambda d, m: float(_pick(d, m).flatten().float().sum()),
    lambda d, m: int(_whole(d, m).numel() and _whole(d, m).sum()),
    lambda d, m: _pick(d, m).flatten().float().isnan().any().item(),
    lambda d, m: (_pick(d, m).flatten().float() / 0).isnan().tolist(),
    lambda d, m: bool(torch.isfinite(_pick(d, m).flatten().float() / 0).all()),
)


def _printed(tensor: Tensor) -> str:
    """As printed, but for the device and the line breaks that it asks for."""
    return re.sub(r"\s|,device='cuda:0'", "", re.sub(r"\s", "", str(tensor)))


def _parts(draw: random.Random, made: list[Tensor]) -> int:
    return max(1, int(_whole(draw, made).sum()) % 5)
