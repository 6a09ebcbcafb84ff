"""Offloads: byte for byte against the same step by hand, with real memory of the host."""

from __future__ import annotations

import pytest

import planner
from tests.integration.child_runs import WriteModel, net_of_blocks, traces

WIDTH, BATCH, LAYERS = 256, 512, 3
# Transposed inputs are saved as they are, not contiguous: their copies go through the card.
NETWORK = net_of_blocks(
    f"""
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Linear({WIDTH}, {2 * WIDTH}), nn.Linear({2 * WIDTH}, {WIDTH})
        self.norm = nn.LayerNorm({WIDTH})

    def forward(self, x):
        turned = x.t().square().t() + self.narrow(self.wide(x).relu())
        return self.norm(turned)
""",
    layers=LAYERS,
    width=WIDTH,
)
ACTIVATIONS_BY_HAND = """
def training_step(model, batch):
    with torch.autograd.graph.save_on_cpu(pin_memory=True):
        return model(batch).mean()
"""
OPTIMIZER_BY_HAND = """
def build_optimizer(parameters):
    global weights, copies
    weights = list(parameters)
    copies = [torch.empty_like(one, device="cpu", pin_memory=True) for one in weights]
    for weight, copy in zip(weights, copies):
        copy.copy_(weight.detach())
        copy.grad = torch.empty_like(copy, pin_memory=True)
    return torch.optim.AdamW(copies)

def training_step(model, batch, optimizer):
    model.zero_grad()
    model(batch).mean().backward()
    for weight, copy in zip(weights, copies):
        copy.grad.copy_(weight.grad)
    optimizer.step()
    with torch.no_grad():
        for weight, copy in zip(weights, copies):
            weight.copy_(copy)
"""


def test_activations_as_by_hand(write_model: WriteModel) -> None:
    ways = [
        {"batch_size": BATCH, **one}
        for one in ({}, {"checkpoint_activations": True}, {"precision": "amp-bf16"})
    ]
    offloaded = traces(
        write_model(NETWORK), ways[0], *({**one, "offload": "activations"} for one in ways)
    )
    by_hand = traces(write_model(NETWORK + ACTIVATIONS_BY_HAND), *ways)
    for mine, theirs in zip(offloaded[1:], by_hand, strict=True):
        assert mine.failure is None
        assert mine.step_peak_allocated_bytes == theirs.step_peak_allocated_bytes
        assert mine.peak_reserved_bytes == theirs.peak_reserved_bytes
    assert offloaded[1].peak_allocated_bytes < offloaded[0].peak_allocated_bytes


def test_an_optimizer_as_by_hand(write_model: WriteModel) -> None:
    plain, offloaded = traces(write_model(NETWORK), {}, {"offload": "optimizer"})
    (by_hand,) = traces(write_model(NETWORK + OPTIMIZER_BY_HAND), {})
    assert offloaded.step_peak_allocated_bytes == by_hand.step_peak_allocated_bytes
    assert offloaded.peak_reserved_bytes == by_hand.peak_reserved_bytes
    assert offloaded.peak_allocated_bytes < plain.peak_allocated_bytes


LINEAR = f"""
def build_model():
    return nn.Sequential(*(nn.Linear({WIDTH}, {WIDTH}, bias=False) for _ in range({LAYERS})))

def build_batch(batch_size):
    return torch.randn(batch_size, {WIDTH})

def training_step(model, batch):
    return model(batch).mean()
"""
MATRIX_BYTES, ROWS_BYTES = 4 * WIDTH * WIDTH, 4 * BATCH * WIDTH


def test_the_host_by_hand(write_model: WriteModel) -> None:
    found = planner.estimate(
        write_model(LINEAR),
        gpu="a100",
        batch_size=BATCH,
        max_batch=False,
        offload=["optimizer", "activations"],
    )
    card = found.gpus[0]
    assert card.host is not None
    assert card.time is not None
    # Each layer saves its input, all but the first their weight.
    saved = LAYERS * ROWS_BYTES + (LAYERS - 1) * MATRIX_BYTES
    # Copies, gradients, two states and a step of 4 bytes for each weight; all are powers of two.
    kept = LAYERS * (4 * MATRIX_BYTES + 4)
    assert card.host.ram.offloaded_bytes == saved + kept
    rate = 26.1e9  # PCIe 4.0 with 16 lanes
    copies = 2 * saved + 2 * LAYERS * MATRIX_BYTES
    assert card.time.offload_copy_s == pytest.approx(copies / rate)
    assert card.time.offload_update_s > 7 * LAYERS * MATRIX_BYTES / 204.8e9  # as fused: 4 in, 3 out
    parts = card.time.offload_copy_s + card.time.offload_update_s
    assert card.time.step_s == pytest.approx(parts + max(card.time.gpu_s, card.time.launch_s))
    assert sum("offload" in text for text in found.assumptions) == 5
