"""Jobs whose step is not one loss and one optimizer, on the CPU with real values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from planner.config.step import Mode, OptimizerName, Precision, StepConfig
from planner.errors import ModelError, UsageError
from planner.wire.trace import RunOutcome, StepTrace
from planner.worker.count.inspection import inspect_model
from planner.worker.drive.job import job_of
from planner.worker.drive.measure import measure
from planner.worker.target.source import ModelSource, owns_step

CPU = torch.device("cpu")


class Pair(nn.ModuleDict):
    def __init__(self) -> None:
        super().__init__({"g": nn.Linear(4, 4), "d": nn.Linear(4, 1)})


def two(parameters: Any, model: Any) -> Any:
    return torch.optim.SGD(model["g"].parameters(), 0.1), torch.optim.Adam(model["d"].parameters())


def source(training_step: Any, build_optimizer: Any = two, **others: Any) -> ModelSource:
    return ModelSource(
        build_model=others.pop("build_model", Pair),
        build_batch=lambda b: torch.ones(b, 4),
        training_step=training_step,
        build_optimizer=build_optimizer,
        **others,
    )


def run(of: ModelSource, **config: Any) -> StepTrace:
    trace = measure(of, StepConfig(**{"batch_size": 2, **config}), CPU, real_values=True)
    assert trace.failure is None, trace.failure
    assert trace.outcome is RunOutcome.COMPLETED
    return trace


def gan(model: Any, batch: Any, optimizers: Any) -> None:
    generator, discriminator = optimizers
    discriminator.zero_grad()
    fake = model["g"](batch)
    (model["d"](fake.detach()) - model["d"](batch)).mean().backward()
    discriminator.step()
    generator.zero_grad()
    model["d"](fake).mean().backward()
    generator.step()


def test_a_step_of_its_own_gets_what_build_optimizer_gave() -> None:
    given: list[Any] = []

    def step(model: Any, batch: Any, optimizers: Any) -> None:
        given.append((optimizers, model["g"].weight.grad is None))
        gan(model, batch, optimizers)

    trace = run(source(step), steps=2)
    assert trace.optimizer == "SGD, Adam"
    assert len(given) == 2
    assert [type(one) for one in given[0][0]] == [torch.optim.SGD, torch.optim.Adam]
    assert [fresh for _, fresh in given] == [True, False]  # nobody else calls zero_grad


def test_the_loop_steps_several_optimizers_where_the_step_gives_a_loss() -> None:
    seen: list[torch.Tensor] = []

    def step(model: Any, batch: Any) -> Any:
        seen.append(torch.cat([p.detach().flatten().clone() for p in model.parameters()]))
        return model["d"](model["g"](batch)).mean()

    run(source(step, lambda model: dict(zip("gd", two(None, model), strict=True))), steps=2)
    moved = (seen[0] != seen[1]).split([20, 5])
    assert [bool(part.any()) for part in moved] == [True, True]


def test_accumulation_is_the_steps_own_matter() -> None:
    with pytest.raises(UsageError, match=r"--accumulate\), but training_step\(model, batch, opt"):
        run(source(gan), accumulate=2)


def test_nothing_to_step_with() -> None:
    with pytest.raises(UsageError, match="optimizer none was asked for"):
        run(source(gan), optimizer=OptimizerName.NONE)


def test_autocast_is_around_the_step_and_off_in_its_backward() -> None:
    seen: list[bool] = []

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = self.layer(x)
            seen.append(torch.is_autocast_enabled("cpu"))
            out.register_hook(lambda _: seen.append(torch.is_autocast_enabled("cpu")))
            return out

    def step(model: Any, batch: Any, optimizer: Any) -> None:
        model(batch).mean().backward()
        optimizer.step()

    one = source(step, lambda parameters: torch.optim.SGD(parameters), build_model=Net)
    trace = run(one, precision=Precision.AMP_FP16, steps=1, set_to_none=False)
    assert seen == [True, False]
    assert trace.assumptions[:2] == (
        "training_step does the whole step: amp-fp16 puts autocast around it, without a GradScaler",
        "training_step calls zero_grad itself: set_to_none=False has no effect",
    )


@pytest.mark.parametrize(
    ("function", "owns"),
    [
        (lambda model, batch: 0, False),
        (lambda model, batch, optimizers: 0, True),
        (lambda model, batch, third: 0, True),
        (lambda model, batch, criterion=None: 0, False),
        (lambda model, batch, optimizers=None: 0, True),
        (lambda model, batch, *, optimizers=None: 0, False),
        (lambda *everything: 0, False),
        (max, False),
    ],
)
def test_who_owns_the_step(function: Any, owns: bool) -> None:
    assert owns_step(function) is owns


def test_an_error_in_a_step_that_steps_itself_teaches_the_third_parameter() -> None:
    def step(model: Any, batch: Any) -> None:
        model["d"](batch).mean().backward()

    trace = measure(source(step), StepConfig(batch_size=2), CPU, real_values=True)
    assert trace.failure is not None
    assert "def training_step(model, batch, optimizers):" in trace.failure.message


def test_an_inference_step_takes_the_place_of_the_forward() -> None:
    lengths: list[int] = []

    def sample(model: Any, batch: Any) -> Any:
        assert torch.is_inference_mode_enabled()
        for _ in range(5):
            batch = torch.cat([batch, model["g"](batch[:, -4:])], dim=1)
        lengths.append(batch.shape[1])
        return batch

    one = source(None, None, inference_step=sample)
    assert run(one, mode=Mode.INFER).optimizer == "none"
    assert lengths == [24, 24, 24]
    counted = inspect_model(one, StepConfig(batch_size=2, mode=Mode.INFER), CPU, depth=1)
    assert counted.step.step_flops == 5 * 2 * 2 * 4 * 4
    assert any("does not call the model as model(...)" in note for note in counted.assumptions)


def test_counting_a_step_of_its_own() -> None:
    counted = inspect_model(source(gan), StepConfig(batch_size=2), CPU, depth=1)
    rows = {row.path: row for row in counted.modules}
    # a product of d is 2 * 2 * 4 FLOPs and runs three times; g's is 2 * 2 * 4 * 4 and runs once
    assert rows["d"].forward_flops == 3 * 2 * 2 * 4
    assert rows["g"].forward_flops == 2 * 2 * 4 * 4
    assert rows[""].forward_flops == rows["d"].forward_flops + rows["g"].forward_flops
    phases = {record.phase.value for record in counted.operators}
    assert phases == {"forward", "backward", "optimizer step"}


def test_an_ordinary_job_is_left_to_the_loop() -> None:
    plain = ModelSource(build_model=Pair)
    job = job_of(plain, StepConfig(), Pair(), CPU)
    assert (job.training_step, job.owns_step, job.scaler, job.assumptions) == (
        None,
        False,
        None,
        (),
    )
    assert job_of(plain, StepConfig(mode=Mode.INFER), Pair(), CPU).choose().name == "none"
    with pytest.raises(ModelError, match="no trainable parameter"):
        job_of(plain, StepConfig(), nn.Identity(), CPU).choose()
