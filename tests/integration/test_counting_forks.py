"""A fork of a process that has imported the libraries counts what a child of its own counts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.record.records import Step
from benchmarks.throughput import counting, operators
from planner.wire.module_counts import ModelCounts

STEPS = {
    "convolutions": Step(
        model="resnet50", card="a100", batch_size=4, model_file="models/resnet50.py",
        options=(("precision", "amp-bf16"), ("optimizer", "adamw")),
    ),
    "attention": Step(
        model="gpt2", card="t4", batch_size=2, model_file="models/gpt2.py",
        options=(("precision", "fp16"), ("mode", "infer")),
    ),
    "no such file": Step(model="x", card="t4", batch_size=2, model_file="models/none.py"),
}  # fmt: skip


@pytest.mark.slow
def test_forks_count_what_children_of_their_own_count(tmp_path: Path) -> None:
    with counting.Servers(python=Path(sys.executable)).running() as servers:
        for name, step in STEPS.items():
            servers.count(step, tmp_path / f"{name}.json.gz")
    for name, step in STEPS.items():
        own = tmp_path / f"{name}-own.json.gz"
        operators.write(own, operators.counts_or_trouble(step))
        found = operators.read(tmp_path / f"{name}.json.gz")
        assert found == operators.read(own), name
        assert isinstance(found, ModelCounts) == (name != "no such file")
