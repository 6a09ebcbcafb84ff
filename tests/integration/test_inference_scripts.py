"""`planner run` of scripts that train nothing: the figures of `planner estimate --mode infer`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

_MODEL = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=512, depth=4):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
            for _ in range(depth)
        )

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x)
        return x
"""
_INFER = """
import sys, torch
from model import Net

model = Net().cuda().eval()
with torch.no_grad():
    for _ in range(3):
        x = torch.randn(int(sys.argv[1].split("=")[1]), 512).cuda()
        out = model(x)
print(out.sum().item())
"""
_PLANNED = """
import torch
from model import Net

def build_model():
    return Net()

def build_batch(batch_size):
    return torch.randn(batch_size, 512)
"""
_FROZEN = """
import torch
from model import Net

teacher, model = Net(depth=1).cuda().eval(), Net().cuda()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for step in range(9):
    x = torch.randn(64, 512).cuda()
    with torch.no_grad():
        wanted = teacher(x)
    (model(x) - wanted).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
"""
_PARAMETERS = 4 * (512 * 2048 + 2048 + 2048 * 512 + 512)
_INFERS = "the script makes no optimizer step"


def _planner(folder: Path, cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "planner", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "VRAM_PLANNER_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=600,
    )


def _run(folder: Path, cache: Path, script: str, *options: str) -> dict[str, Any]:
    (folder / "model.py").write_text(_MODEL)
    (folder / "script.py").write_text(script)
    command = ("--", sys.executable, "script.py", "batch=2048")
    done = _planner(folder, cache, "run", "--gpu", "t4", "--json", *options, *command)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_a_script_that_infers_has_the_figures_of_the_same_planned_step(
    tmp_path: Path, device_cache: Path
) -> None:
    one = _run(tmp_path, device_cache, _INFER, "--batch-arg", "batch=")
    (tmp_path / "planned.py").write_text(_PLANNED)
    step = ("--mode", "infer", "--batch", "2048", "--gpu", "t4", "--json")
    planned = _planner(tmp_path, device_cache, "estimate", "planned.py", *step)
    assert planned.returncode == 0, planned.stderr
    two = json.loads(planned.stdout)
    (seen,), (expected,) = one["gpus"], two["gpus"]
    assert seen["peak_allocated_bytes"] == pytest.approx(expected["peak_allocated_bytes"], rel=0.01)
    assert seen["breakdown_bytes"]["parameter"] == 4 * _PARAMETERS
    # the residual, a hidden layer before and after its GELU, and the outputs of the last batch
    assert seen["breakdown_bytes"]["temporary"] == 4 * 2048 * (512 + 2048 + 2048 + 512)
    assert seen["breakdown_bytes"]["input"] == 4 * 2048 * 512
    assert seen["max_batch_size"] == pytest.approx(expected["max_batch_size"], rel=0.02)
    assert seen["time"]["step_s"] == pytest.approx(3 * expected["time"]["step_s"], rel=0.05)
    assert one["counts"]["step_flops"] == 3 * 2 * 2048 * 4 * 2 * 512 * 2048
    same = ("batch_size", "precision", "accumulate", "mode")
    assert [one["config"][key] for key in same] == [two["config"][key] for key in same]
    assert one["config"]["steps"] == 1
    assert one["warnings"] == []
    assert any(text.startswith(_INFERS) for text in one["assumptions"])


@pytest.mark.slow
def test_a_training_with_a_frozen_model_is_a_training(tmp_path: Path, device_cache: Path) -> None:
    found = _run(tmp_path, device_cache, _FROZEN, "--no-max-batch")
    assert (found["config"]["mode"], found["config"]["steps"]) == ("train", 3)
    # the teacher is never called with gradients
    assert found["counts"]["parameters"] == _PARAMETERS
    assert not any(text.startswith(_INFERS) for text in found["assumptions"])


@pytest.mark.slow
def test_a_training_that_ends_before_its_first_step_is_not_passed_over(
    tmp_path: Path, device_cache: Path
) -> None:
    script = _FROZEN.replace("range(9)", "range(0)")
    warning, without_time = _run(tmp_path, device_cache, script, "--no-max-batch")["warnings"]
    assert "makes an optimizer that never steps (SGD)" in warning
    assert "no model that is called" in without_time
