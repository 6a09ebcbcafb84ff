"""Example tensors in the place of build_batch: the step is the same to the byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import planner

pytestmark = pytest.mark.slow

SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(planner.__file__).parents[1])!r})
import torch
from torch import nn
import planner

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, image, extra):
        assert type(extra["more"]) is list and type(extra["last"]) is tuple
        return self.layer(image + extra["more"][0] + extra["last"][0])

def build_batch(batch_size):
    image, more = torch.randn(batch_size, 64), torch.randn(batch_size, 64)
    return {{"image": image, "extra": {{"more": [more], "last": (more,)}}}}

def figures(**options):
    found = planner.estimate(Net(), gpu="a100", max_batch=False, **options)
    assert found.warnings == (), found.warnings
    peak = found.gpus[0].peak_allocated_bytes
    return peak, found.breakdown().by_category(), found.config.batch_size

wanted = figures(build_batch=build_batch, batch_size=24)
assert wanted[0] > 0
assert figures(inputs=build_batch(3), batch_size=24) == wanted
try:
    figures(inputs={{"image": torch.zeros(8, 64), "extra": torch.zeros(4, 64)}})
except planner.PlannerError as error:
    print(error)
"""


def test_a_batch_of_a_notebook_is_that_of_build_batch(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "inputs['image'] has shape (8, 64), and inputs['extra'] has shape (4, 64)" in done.stdout
