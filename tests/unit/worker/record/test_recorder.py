"""The marks that a run gives, and recording where there is nothing to record."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from planner.config.step import Mode, StepConfig
from planner.wire.trace import Phase, RunOutcome
from planner.worker.drive import measure as measuring
from planner.worker.drive.measure import measure, record, record_requests
from planner.worker.record.recorder import Recorder
from planner.worker.record.request_recorder import RequestRecorder
from planner.worker.record.watch import Watch
from planner.worker.target.source import ModelSource

CPU = torch.device("cpu")


class Marks(Watch):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def begin(self) -> None:
        self.seen.append("begin")

    def built(self, model: nn.Module, optimizer: Any | None, scaler: Any | None) -> None:
        assert all(parameter.grad is None for parameter in model.parameters())
        self.seen.append("built")

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        self.seen.append(phase.value + (" with inputs" if inputs is not None else ""))

    def end_step(self) -> None:
        self.seen.append("end of step")

    def end_steps(self) -> None:
        self.seen.append("end of steps")

    def end(self) -> None:
        self.seen.append("end")


def build_model() -> nn.Module:
    return nn.Linear(4, 3)


def build_batch(batch_size: int) -> torch.Tensor:
    return torch.randn(batch_size, 4)


SOURCE = ModelSource(build_model=build_model, build_batch=build_batch)


def marks(source: ModelSource = SOURCE, **config: Any) -> list[str]:
    watch = Marks()
    measuring._measure(source, StepConfig(**config), CPU, watch)
    assert watch.seen[:1] == ["begin"]
    assert watch.seen[-1:] == ["end"]
    return watch.seen[1:-1]


MICRO_BATCH = ["between steps", "forward with inputs", "loss", "backward"]
STEP = [*MICRO_BATCH, "optimizer step", "end of step"]


def test_the_phases_of_training() -> None:
    assert marks(steps=2) == ["built", *STEP, *STEP, "end of steps"]


def test_each_micro_batch_has_its_phases() -> None:
    assert marks(steps=1, accumulate=2) == [
        "built", *MICRO_BATCH, *MICRO_BATCH, "optimizer step", "end of step", "end of steps",
    ]  # fmt: skip


def test_a_step_in_one_function_marks_no_loss() -> None:
    source = ModelSource(
        build_model=build_model,
        build_batch=build_batch,
        training_step=lambda model, batch: model(batch).sum(),
    )
    expected = [mark for mark in STEP if mark != "loss"]
    assert marks(source, steps=1) == ["built", *expected, "end of steps"]


def test_the_phases_of_inference() -> None:
    one = ["forward with inputs", "end of step"]
    assert marks(steps=2, mode=Mode.INFER) == ["built", *one, *one, "end of steps"]


def test_a_failure_in_a_step_ends_the_steps() -> None:
    def fail(model: nn.Module, batch: Any) -> Any:
        raise ValueError("no")

    source = ModelSource(build_model=build_model, build_batch=build_batch, training_step=fail)
    assert marks(source) == ["built", "between steps", "forward with inputs", "end of steps"]


def test_a_failure_before_the_steps() -> None:
    def fail() -> nn.Module:
        raise ValueError("no")

    assert marks(ModelSource(build_model=fail, build_batch=build_batch)) == []


@pytest.mark.parametrize("steps", [1, 3])
def test_on_a_cpu_there_is_nothing_to_record(steps: int) -> None:
    config = StepConfig(steps=steps)
    trace = measure(SOURCE, config, CPU)
    assert trace.outcome is RunOutcome.COMPLETED
    assert record(SOURCE, config, CPU) == (trace, None)
    assert record_requests(SOURCE, config, CPU) == (trace, None)


def test_recorders_that_were_never_used() -> None:
    assert Recorder(CPU).trace() is None
    assert RequestRecorder(CPU).requests() is None
