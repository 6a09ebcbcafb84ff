"""Peaks are PyTorch's own: equal to a loop run directly, and to arithmetic done by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import planner
from planner.emulator.build import EmulatedDevice
from planner.emulator.torch_install import find_torch
from planner.estimation.context import ProfileFactory
from planner.memory.budget import memory_budgets
from tests.integration.child_runs import CUBLAS_KEEPS_WORKSPACES, WriteModel, traces

pytestmark = pytest.mark.slow

MLP = """
def build_model():
    return nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 1024))

def build_batch(batch_size):
    return torch.randn(batch_size, 512)

def training_step(model, batch):
    return model(batch).square().mean()
"""
BATCH = 16
CUBLAS_BYTES = {"a100": 8_519_680, "h100": 32 << 20}


def rounded(elements: int) -> int:
    """Bytes of float32 elements as the allocator hands them out: multiples of 512."""
    return -(-elements * 4 // 512) * 512


FIRST_BIAS_BYTES = rounded(2048)
PARAMETERS_BYTES = rounded(512 * 2048) + rounded(2048) + rounded(2048 * 1024) + rounded(1024)
BATCH_BYTES = rounded(BATCH * 512)
HIDDEN_BYTES = rounded(BATCH * 2048)
SCALAR_BYTES = 512


@pytest.mark.parametrize("gpu", ["a100", "h100"])
def test_mlp_equals_hand_arithmetic(write_model: WriteModel, gpu: str) -> None:
    adamw, momentum, plain, fused = traces(
        write_model(MLP),
        *(
            {"batch_size": BATCH, "optimizer": name, "optimizer_arguments": arguments}
            for name, arguments in (
                ("adamw", {}),
                ("sgd-momentum", {}),
                ("sgd", {}),
                ("adamw", {"fused": True}),
            )
        ),
        gpu=gpu,
    )
    in_optimizer = BATCH_BYTES + SCALAR_BYTES  # the last is the loss
    # In the backward of the first layer: the loss's gradient and that of the hidden activation.
    in_backward = in_optimizer + SCALAR_BYTES + HIDDEN_BYTES
    if CUBLAS_KEEPS_WORKSPACES:
        in_optimizer += 2 * CUBLAS_BYTES[gpu]
        in_backward += 2 * CUBLAS_BYTES[gpu]
    else:  # it is highest in the product for the weight; the bias gets its gradient after that
        in_backward += CUBLAS_BYTES[gpu] - FIRST_BIAS_BYTES
    # In the optimizer step: parameters, gradients, two moments, and the foreach square roots.
    assert adamw.peak_allocated_bytes == max(
        5 * PARAMETERS_BYTES + in_optimizer, 4 * PARAMETERS_BYTES + in_backward
    )
    assert momentum.peak_allocated_bytes == 3 * PARAMETERS_BYTES + in_backward
    assert plain.peak_allocated_bytes == 2 * PARAMETERS_BYTES + in_backward
    # Fused: no square roots, but a step counter on the card for each of the four parameters.
    assert fused.peak_allocated_bytes == 4 * PARAMETERS_BYTES + in_backward + 4 * SCALAR_BYTES


DIRECT_LOOP = """
import json, sys
libraries, profile = json.load(sys.stdin)
from planner.worker.engines import emulation
emulation.load(libraries)
emulation.configure(profile)
import torch
from torch import nn
emulation.configure(emulation.settle_architecture(profile)[0])
exec(sys.argv[1])
model = build_model().to("cuda")
optimizer = torch.optim.AdamW(model.parameters())
for _ in range(3):
    batch = build_batch(16).to("cuda")
    optimizer.zero_grad()
    loss = training_step(model, batch)
    loss.backward()
    optimizer.step()
    del batch
stats = torch.cuda.memory_stats()
print(json.dumps([stats[f"{kind}_bytes.all.peak"] for kind in ("allocated", "active", "reserved")]))
"""


def test_peaks_equal_memory_stats_of_a_loop_run_directly(
    write_model: WriteModel, device: EmulatedDevice
) -> None:
    (trace,) = traces(write_model(MLP), {"batch_size": 16, "optimizer": "adamw"})
    cards = ProfileFactory(torch=find_torch(), device=device)
    (budget,) = memory_budgets(["a100"], hardware_db=None, gpu_memory=None, reserve=0)
    given = json.dumps([[str(path) for path in device.libraries], cards.unlimited(budget)])
    root = str(Path(planner.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{DIRECT_LOOP}", MLP],
        input=given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [
        trace.peak_allocated_bytes,
        trace.peak_active_bytes,
        trace.peak_reserved_bytes,
    ]


RSS = """
import json, resource, sys, time
import planner
began = time.monotonic()
estimate = planner.estimate(sys.argv[1], gpu="a100", batch_size=int(sys.argv[2]), max_batch=False)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_maxrss, estimate.gpus[0].peak_allocated_bytes]))
"""


def test_host_memory_does_not_depend_on_the_batch(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Sequential(nn.Linear(16_384, 1024), nn.ReLU(), nn.Linear(1024, 8))

        def build_batch(batch_size):
            return torch.randn(batch_size, 16_384)
        """
    )
    root = str(Path(planner.__file__).parents[1])
    script = f"import sys; sys.path.insert(0, {root!r})\n{RSS}"
    used = {}
    for batch in (8, 8192):
        done = subprocess.run(
            [sys.executable, "-c", script, path, str(batch)],
            capture_output=True,
            text=True,
            check=True,
        )
        used[batch], allocated = json.loads(done.stdout)
    assert allocated > 8192 * 16_384 * 4  # half a GiB of batch on the card
    assert used[8192] == pytest.approx(used[8], rel=0.1)
