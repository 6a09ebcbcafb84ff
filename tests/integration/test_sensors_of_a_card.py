"""A step that asks the driver about the card: what no emulated card has is said."""

from __future__ import annotations

from pathlib import Path

import pytest

import planner

pytestmark = pytest.mark.slow

MODEL = """
import torch

def build_model():
    return torch.nn.Linear(64, 64)

def build_batch(batch_size):
    return torch.randn(batch_size, 64)

def training_step(model, batch):
    READS
    return model(batch).square().mean()
"""
SENSORS = "an emulated card has no load"


def said(folder: Path, reads: str) -> bool:
    file = folder / "net.py"
    file.write_text(MODEL.replace("READS", reads))
    found = planner.estimate(str(file), gpu="t4", batch_size=8)
    return any(line.startswith(SENSORS) for line in found.assumptions)


def test_a_step_that_reads_the_load_of_the_card_is_told_so(tmp_path: Path) -> None:
    assert said(tmp_path, "assert torch.cuda.utilization() == 0")


def test_memory_of_the_card_is_no_such_reading(tmp_path: Path) -> None:
    reads = "assert 0 < torch.cuda.device_memory_used() < torch.cuda.mem_get_info()[1]"
    assert not said(tmp_path, reads)
