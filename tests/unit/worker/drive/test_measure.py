from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from planner.config.step import BuildOn, InputSpec, Mode, OptimizerName, Precision, StepConfig
from planner.config.target import Target
from planner.config.weights import WeightDtype
from planner.errors import TargetError, UsageError
from planner.wire.trace import Counts, RunOutcome, StepTrace
from planner.worker.drive.measure import measure
from planner.worker.serve.failures import is_out_of_memory
from planner.worker.target.contract import load
from planner.worker.target.source import ModelSource

CPU = torch.device("cpu")


def run(build: Callable[[], nn.Module], source: dict[str, Any] | None = None, **config: Any) -> Any:
    given = {"build_batch": lambda b: torch.randn(b, 4), **(source or {})}
    return measure(ModelSource(build_model=build, **given), StepConfig(**config), CPU)


class Fails(nn.Module):
    def __init__(self, error: BaseException, cause: BaseException | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.error, self.cause = error, cause

    def forward(self, x: Any) -> Any:
        if self.cause is None:
            raise self.error
        try:
            raise self.cause
        except type(self.cause):
            raise self.error from None


def test_a_run_from_file_to_trace(write_model: Callable[..., Target]) -> None:
    target = write_model("""
        import torch
        from torch import nn

        def build_model():
            return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))

        def build_batch(batch_size):
            return torch.randn(batch_size, 4), torch.randint(0, 3, (batch_size,))
    """)
    trace = measure(load(target), StepConfig(batch_size=5), CPU)
    assert trace == StepTrace(
        outcome=RunOutcome.COMPLETED,
        batch_size=5,
        peak_allocated_bytes=0,
        peak_active_bytes=0,
        peak_reserved_bytes=0,
        step_peak_allocated_bytes=(0, 0, 0),
        optimizer="AdamW",
        build_on="meta",
        counts=Counts(
            parameters=83,
            trainable_parameters=83,
            buffers=17,
            weight_dtypes=(WeightDtype(dtype="float32", elements=83, size_bytes=332),),
        ),
        assumptions=(
            "optimizer: AdamW (none was given)",
            "loss: cross-entropy of the 2-D float output with the batch's target "
            "(no training_step was given)",
        ),
    )


def test_everything_of_the_user_is_used(write_model: Callable[..., Target]) -> None:
    target = write_model("""
        import torch
        from torch import nn

        calls = []
        model = nn.Linear(4, 3)

        def build_batch(batch_size):
            return {"x": torch.randn(batch_size, 4)}

        def training_step(model, batch):
            calls.append("step")
            return model(batch["x"]).abs().sum()

        def build_optimizer(parameters):
            calls.append("optimizer")
            return torch.optim.RMSprop(parameters)
    """)
    source = load(target)
    trace = measure(source, StepConfig(steps=2), CPU)
    assert trace.outcome is RunOutcome.COMPLETED
    assert trace.optimizer == "RMSprop"
    assert trace.assumptions == ()
    assert source.training_step is not None
    assert source.training_step.__globals__["calls"] == ["optimizer", "step", "step"]
    assert measure(source, StepConfig(steps=2), CPU) == trace


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("mode", list(Mode))
def test_every_precision_and_mode(precision: Precision, mode: Mode) -> None:
    trace = run(
        lambda: nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2)),
        precision=precision, mode=mode, optimizer=OptimizerName.SGD_MOMENTUM, steps=2,
    )  # fmt: skip
    assert trace.failure is None
    assert trace.step_peak_allocated_bytes == (0, 0)
    assert trace.optimizer == ("SGD" if mode is Mode.TRAIN else "none")


@pytest.mark.parametrize("build_on", list(BuildOn))
def test_where_it_was_built_is_said(build_on: BuildOn) -> None:
    assert run(lambda: nn.Linear(4, 2), build_on=build_on).build_on == build_on.value


def test_only_torchs_own_error_is_out_of_memory() -> None:
    oom = torch.OutOfMemoryError("CUDA out of memory.")
    text = RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
    assert run(lambda: Fails(oom)).outcome is RunOutcome.OUT_OF_MEMORY
    assert run(lambda: Fails(ValueError("wrapped"), oom)).outcome is RunOutcome.OUT_OF_MEMORY
    trace = run(lambda: Fails(text))
    assert trace.outcome is RunOutcome.MODEL_ERROR
    assert trace.failure.kind == "RuntimeError"
    assert run(lambda: Fails(MemoryError("host"))).outcome is RunOutcome.MODEL_ERROR


def test_out_of_memory_through_a_cause() -> None:
    error = RuntimeError("step failed")
    error.__cause__ = KeyError("x")
    error.__cause__.__cause__ = torch.OutOfMemoryError("full")
    assert is_out_of_memory(error)
    loop = ValueError("a")
    loop.__cause__ = loop
    assert not is_out_of_memory(loop)


def test_a_failure_says_where_and_in_which_step() -> None:
    trace = run(lambda: nn.Sequential(nn.Linear(5, 2)))
    assert trace.failure.during == "step 1"
    assert "mat1 and mat2 shapes cannot be multiplied" in trace.failure.message
    trace = run(lambda: Fails(ValueError("no")))
    assert trace.failure.frames.splitlines()[-1].strip() == "raise self.error"
    assert trace.counts is not None
    assert trace.step_peak_allocated_bytes == ()


@pytest.mark.parametrize(
    ("source", "during"),
    [
        ({"build_batch": lambda b: 1 / 0}, "batch"),
        ({"build_optimizer": lambda parameters: 1 / 0}, "optimizer"),
        ({"training_step": lambda model, batch: 1 / 0}, "step 1"),
    ],
)
def test_a_failure_says_during_what(source: dict[str, Any], during: str) -> None:
    trace = run(lambda: nn.Linear(4, 2), source)
    assert trace.outcome is RunOutcome.MODEL_ERROR
    assert trace.failure.kind == "ZeroDivisionError"
    assert trace.failure.during == during
    assert "1 / 0" in trace.failure.frames


def test_a_constructor_that_fails() -> None:
    trace = run(lambda: nn.Linear("wide", 2))  # type: ignore[arg-type]
    assert trace.outcome is RunOutcome.MODEL_ERROR
    assert trace.failure.during == "build"
    assert trace.build_on == ""


def test_leaving_the_program_is_an_error_of_the_model() -> None:
    assert run(lambda: Fails(SystemExit(3))).failure.kind == "SystemExit"
    assert run(lambda: Fails(KeyboardInterrupt())).failure.kind == "KeyboardInterrupt"


def test_a_wrong_request_is_raised() -> None:
    with pytest.raises(TargetError, match="build_batch"):
        run(lambda: nn.Linear(4, 2), {"build_batch": None})
    with pytest.raises(UsageError, match="no argument 'beta'"):
        run(lambda: nn.Linear(4, 2), optimizer=OptimizerName.SGD,
            optimizer_arguments=(("beta", 1),))  # fmt: skip


def test_inputs_of_the_call_are_enough() -> None:
    trace = run(lambda: nn.Linear(6, 2), {"build_batch": None}, inputs=(InputSpec(shape=(6,)),))
    assert trace.outcome is RunOutcome.COMPLETED


def test_a_model_in_evaluation_mode_is_trained_and_said() -> None:
    trace = run(lambda: nn.Linear(4, 2).eval())
    assert any("model.train() was called" in text for text in trace.assumptions)
    assert trace.notes == ()


def test_lazy_modules_are_shaped_first() -> None:
    trace = run(lambda: nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2)))
    assert trace.outcome is RunOutcome.COMPLETED
    assert trace.counts.parameters == 4 * 8 + 8 + 8 * 2 + 2
    assert "4 lazy parameters were shaped by one forward before step 1" in trace.assumptions
    assert trace.notes == ("4 lazy parameters were shaped by one forward before step 1",)


def test_checkpointing_is_reported() -> None:
    def build() -> nn.Module:
        pair = [nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(2)]
        return nn.Sequential(*pair)

    trace = run(build, checkpoint_activations=True)
    assert trace.assumptions[0] == "activation checkpointing: per block (2 x Sequential)"
    assert trace.notes == trace.assumptions[:1]
    trace = run(lambda: nn.Linear(4, 2), checkpoint_activations=True)
    assert "nothing is checkpointed" in trace.warnings[0]


def test_warnings_of_the_batch_arrive() -> None:
    trace = run(lambda: nn.Linear(4, 2), {"build_batch": lambda b: torch.randn(3, 4)})
    assert "leading dimension is not the batch" in trace.warnings[0]


def test_nothing_of_a_run_stays_alive() -> None:
    class Mine(nn.Linear):
        pass

    def alive() -> int:
        return sum(isinstance(thing, Mine) for thing in gc.get_objects())

    for layer in (lambda: Mine(4, 2), lambda: nn.Sequential(Mine(4, 2), Fails(ValueError("no")))):
        run(layer)
        gc.collect()
        assert alive() == 0
