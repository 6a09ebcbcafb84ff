"""Lightning's Trainer on several GPUs: one rank is played, and Lightning starts no other.

They run where Lightning is installed: in an environment of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import planner
from planner.errors import UsageError
from planner.results.estimate import Estimate

pytestmark = pytest.mark.slow

RANKS, LAYERS, WIDTH = 8, 8, 512
SCRIPT = f"""
import sys
import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        layers = [nn.Linear({WIDTH}, {WIDTH}, bias=False) for _ in range({LAYERS})]
        self.net = nn.Sequential(*layers)

    def training_step(self, batch, index):
        return self.net(batch[0]).mean()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters())

strategy, devices = sys.argv[1], int(sys.argv[2])
data = TensorDataset(torch.zeros(2048, {WIDTH}))
trainer = lightning.Trainer(
    strategy=strategy, devices=devices, accelerator="gpu", max_epochs=1, logger=False,
    enable_checkpointing=False, enable_progress_bar=False,
)
trainer.fit(Net(), DataLoader(data, batch_size=32))
"""
MODEL_BYTES = LAYERS * WIDTH * WIDTH * 4
REST_BYTES = 1 << 20  # the allocator leaves a rest of up to 1 MiB in a block


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The script, in a folder in which this process is."""
    pytest.importorskip("lightning", reason="pip install lightning to run this")
    (tmp_path / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    return "train.py"


def ran(script: str, strategy: str, gpus: int, *launcher: str) -> Estimate:
    """The script on so many GPUs, without a search."""
    command = [sys.executable, *launcher, script, strategy, str(gpus)]
    asked = None if launcher or gpus == 1 else gpus
    return planner.run(command, gpu="a100", max_batch=False, num_gpus=asked)


def test_ddp_takes_one_gradient_more_than_one_gpu(script: str) -> None:
    alone, ddp = ran(script, "auto", 1), ran(script, "ddp", RANKS)
    parallel = ddp.config.parallel
    assert parallel is not None
    assert (parallel.gpus, parallel.hosts, parallel.replicate) == (RANKS, 1, RANKS)
    more_bytes = ddp.gpus[0].peak_allocated_bytes - alone.gpus[0].peak_allocated_bytes
    assert 0 <= more_bytes - MODEL_BYTES <= REST_BYTES
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", str(RANKS))
    launched = ran(script, "ddp", RANKS, *torchrun)
    assert launched.gpus[0].peak_allocated_bytes == ddp.gpus[0].peak_allocated_bytes


def test_fsdp_keeps_a_share(script: str) -> None:
    found = ran(script, "fsdp", RANKS)
    assert found.config.parallel is not None
    assert found.config.parallel.shard == RANKS
    sums = found.gpus[0].breakdown
    assert sums is not None
    state_bytes = sums.by_category()["optimizer state"]
    # Two moments of a rank's share of the one flat parameter, and a step.
    assert 0 <= state_bytes - 2 * MODEL_BYTES // RANKS <= 512


def test_a_launcher_that_says_another_number(script: str) -> None:
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
    command = [sys.executable, *launcher, script, "ddp", "2"]
    with pytest.raises(UsageError, match="starts 2 ranks on 1 machine"):
        planner.run(command, gpu="a100", num_gpus=8)
