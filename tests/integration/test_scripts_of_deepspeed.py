"""DeepSpeed's ZeRO on several GPUs: one rank is played, and keeps its share, by hand arithmetic.

They run where DeepSpeed is installed: in an environment of their own.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import planner
from planner.results.estimate import Estimate

pytestmark = pytest.mark.slow

RANKS, LAYERS, WIDTH = 8, 16, 1024
PARAMETERS = LAYERS * WIDTH * WIDTH
SCRIPT = f"""
import sys
import deepspeed
import torch
from torch import nn

net = nn.Sequential(*[nn.Linear({WIDTH}, {WIDTH}, bias=False) for _ in range({LAYERS})])
config = {{
    "train_micro_batch_size_per_gpu": 8,
    "bf16": {{"enabled": True}},
    "zero_optimization": {{"stage": int(sys.argv[-1]), "reduce_bucket_size": {WIDTH * WIDTH}}},
}}
optimizer = torch.optim.AdamW(net.parameters())
engine, *_ = deepspeed.initialize(model=net, optimizer=optimizer, config=config)
for _ in range(5):
    x = torch.zeros(8, {WIDTH}, dtype=torch.bfloat16, device=engine.device)
    engine.backward(engine(x).float().mean())
    engine.step()
"""
SMALL_BYTES = 16 << 10  # steps, counters and paddings


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The script, in a folder in which this process is."""
    pytest.importorskip("deepspeed", reason="DS_BUILD_OPS=0 pip install deepspeed to run this")
    (tmp_path / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    return "train.py"


def ran(script: str, stage: int) -> Estimate:
    """The script on all ranks at a stage of ZeRO, without a search."""
    command = [sys.executable, script, str(stage)]
    return planner.run(command, gpu="h100", max_batch=False, num_gpus=RANKS)


def by_category(found: Estimate) -> dict[str, int]:
    """Bytes at the peak."""
    sums = found.gpus[0].breakdown
    assert sums is not None
    return dict(sums.by_category())


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_rank_keeps_its_share(script: str, stage: int) -> None:
    found = ran(script, stage)
    assert found.counts is not None
    assert found.counts.parameters == PARAMETERS
    assert not found.warnings  # no size rests on drawn numbers
    parts = by_category(found)
    # Two moments in float32 of a rank's share.
    assert 0 <= parts["optimizer state"] - 2 * 4 * PARAMETERS // RANKS <= SMALL_BYTES
    # Of all: weights and gradients in bfloat16; of a rank's share: the master copy in float32.
    master_bytes, weights_bytes, gradients_bytes = 4 * PARAMETERS // RANKS, *[2 * PARAMETERS] * 2
    bucket_bytes = 2 * WIDTH * WIDTH
    gradients_now_bytes = parts.get("gradient", 0) + parts["temporary"]  # some are in buckets
    kept_bytes = master_bytes + weights_bytes
    if stage == 1:
        assert 0 <= gradients_now_bytes - gradients_bytes <= 3 * bucket_bytes
    elif stage == 2:
        assert gradients_bytes // RANKS <= gradients_now_bytes < gradients_bytes
    else:  # the gradients' shares are made with the parameters'
        kept_bytes = master_bytes + (weights_bytes + gradients_bytes) // RANKS
        assert 0 <= parts["gradient"] - bucket_bytes <= SMALL_BYTES
        # Gathered weights stay: they are fewer than stage3_max_live_parameters.
        assert 0 <= parts["saved activation"] - weights_bytes <= LAYERS * SMALL_BYTES
    assert 0 <= parts["parameter"] - kept_bytes <= SMALL_BYTES


def test_the_launcher_of_deepspeed(script: str) -> None:
    command = [shutil.which("deepspeed", path=str(Path(sys.executable).parent)) or "deepspeed"]
    command += ["--num_gpus", str(RANKS), "--no_local_rank", script, "2"]
    launched = planner.run(command, gpu="h100", max_batch=False)
    assert launched.config.parallel is not None
    assert launched.config.parallel.gpus == RANKS
    asked = ran(script, 2)
    assert launched.gpus[0].peak_allocated_bytes == asked.gpus[0].peak_allocated_bytes
