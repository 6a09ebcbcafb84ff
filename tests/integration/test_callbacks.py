"""The callbacks in real Trainers, which train on the CPU; the card is told by a stand-in."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from planner.callbacks import loop
from planner.callbacks.measurement import Measurement
from planner.results.estimate import Estimate
from planner.units import GIB, MIB

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def on_a_card(estimate: Estimate, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process takes exactly what the estimate has for its first card."""
    card = estimate.gpus[0]
    found = Measurement(
        card=card.name,
        total_bytes=79 * GIB,
        peak_allocated_bytes=card.peak_allocated_bytes,
        peak_reserved_bytes=card.peak_reserved_bytes,
        context_overhead_bytes=500 * MIB,
        driver=None,
        torch=torch.__version__,
        cuda="13.0",
        cudnn=None,
        is_physical=False,
    )
    monkeypatch.setattr(loop, "measurement", lambda: found)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.linear(x) - labels).square().mean()}


@pytest.mark.parametrize("is_added", [True, False])
def test_transformers(is_added: bool, estimate: Estimate, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from planner.callbacks.transformers import PlannerCallback

    items = [{"x": torch.randn(4), "labels": torch.randn(1)} for _ in range(64)]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=8, per_device_train_batch_size=2, use_cpu=True,
        report_to=[], logging_steps=100, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    callback = PlannerCallback(estimate, after_steps=4)
    trainer: Any = transformers.Trainer(
        model=Net(), args=arguments, train_dataset=items, callbacks=[] if is_added else [callback]
    )
    if is_added:
        callback.add_to(trainer)
    trainer.train()
    lines = [one for one in trainer.state.log_history if "planner/peak_reserved_error" in one]
    assert [one["planner/peak_reserved_error"] for one in lines] == [0]
    assert trainer.state.global_step == 8


def test_lightning(estimate: Estimate, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    from planner.callbacks.lightning import PlannerCallback

    class Lit(lightning.LightningModule):  # type: ignore[misc,name-defined]  # of importorskip
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 1)

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            return self.linear(batch).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    from lightning.pytorch.loggers import CSVLogger

    logger = CSVLogger(tmp_path)
    trainer = lightning.Trainer(
        max_steps=8, accelerator="cpu", logger=logger, enable_progress_bar=False,
        callbacks=[PlannerCallback(estimate, after_steps=4)], enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(Lit(), torch.utils.data.DataLoader(torch.randn(64, 4), batch_size=2))
    text = (Path(logger.log_dir) / "metrics.csv").read_text()
    assert "planner/peak_reserved_error" in text.splitlines()[0]
    assert trainer.global_step == 8


def test_accelerate(estimate: Estimate, caplog: pytest.LogCaptureFixture) -> None:
    accelerate = pytest.importorskip("accelerate")
    caplog.set_level(logging.WARNING, "planner")
    accelerator = accelerate.Accelerator(cpu=True)
    watch = loop.Watch(estimate, after_steps=3, log=accelerator.log)
    for _ in range(4):
        watch.step()
    assert watch.is_over
    assert caplog.text == ""
