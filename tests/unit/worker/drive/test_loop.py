from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from planner.config.step import Mode, Precision, StepConfig
from planner.errors import ModelError
from planner.wire.trace import Phase
from planner.worker.drive import forward, loop
from planner.worker.drive.loop import StepPlan
from planner.worker.drive.loss import DefaultLoss
from planner.worker.model.precision import autocast, grad_scaler
from planner.worker.model.weight_average import WeightAverage
from planner.worker.record.quiet import collector_paused
from planner.worker.record.watch import Watch

CPU = torch.device("cpu")


class Watching(nn.Module):
    """Keeps a weak reference to each output and notes which were alive in each forward."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.outputs: list[Any] = []
        self.alive: list[list[int]] = []
        self.gradients: list[Any] = []
        self.seen: list[Any] = []

    def forward(self, x: Any) -> Any:
        self.alive.append([i for i, output in enumerate(self.outputs) if output() is not None])
        grad = self.layer.weight.grad
        self.gradients.append(None if grad is None else float(grad.abs().sum()))
        self.seen.append(
            (self.training, torch.is_grad_enabled(), torch.is_inference_mode_enabled())
        )
        output = self.layer(x)
        self.outputs.append(weakref.ref(output))
        return output


class CountingOptimizer(torch.optim.SGD):
    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=0.1)
        self.steps = 0

    def step(self, closure: Any = None) -> Any:
        self.steps += 1
        return super().step(closure)


def planned(model: Any, make_batch: Any = None, **config: Any) -> StepPlan:
    training_step = config.pop("training_step", None)
    optimizer = config.pop("optimizer", None)
    average = config.pop("average", None)
    settings = StepConfig(**{"batch_size": 2, **config})
    return StepPlan(
        model=model,
        make_batch=make_batch or (lambda: torch.ones(2, 4)),
        config=settings,
        device=CPU,
        required_inputs=forward.required_inputs(model),
        autocast=autocast(settings, CPU),
        optimizer=optimizer,
        scaler=grad_scaler(settings, CPU),
        training_step=training_step,
        average=average,
    )


def train(plan: StepPlan) -> list[int]:
    steps: list[int] = []
    loop.train(plan, DefaultLoss(), steps.append)
    return steps


def test_output_lives_until_the_next_forward_binds_it_anew() -> None:
    model = Watching()
    assert train(planned(model, steps=3)) == [1, 2, 3]
    assert model.alive == [[], [0], [1]]
    assert [output() for output in model.outputs] == [None] * 3


def test_a_training_step_of_the_user_keeps_only_its_loss() -> None:
    model = Watching()
    losses: list[Any] = []
    alive: list[list[int]] = []

    def training_step(model: Any, batch: Any) -> Any:
        alive.append([i for i, loss in enumerate(losses) if loss() is not None])
        loss = model(batch).square().mean()
        losses.append(weakref.ref(loss))
        return loss

    train(planned(model, training_step=training_step, steps=3))
    assert model.alive == [[], [], []]
    assert alive == [[], [0], [1]]


def test_the_batch_is_free_before_the_next_is_made() -> None:
    alive: list[int] = []
    batches: list[Any] = []

    def make_batch() -> Any:
        alive.append(sum(batch() is not None for batch in batches))
        x, y = torch.ones(2, 4), torch.zeros(2, dtype=torch.int64)
        batches.extend([weakref.ref(x), weakref.ref(y)])
        return x, y

    train(planned(Watching(), make_batch, steps=3))
    assert alive == [0, 0, 0]
    loop.infer(planned(Watching(), make_batch, steps=2, mode=Mode.INFER), lambda number: None)
    assert alive == [0] * 5


def test_gradients_are_dropped_before_the_next_forward() -> None:
    model = Watching()
    train(planned(model, optimizer=CountingOptimizer(model.parameters()), steps=2))
    assert model.gradients == [None, None]


def test_gradients_become_zeros_when_they_are_kept() -> None:
    model = Watching()
    optimizer = CountingOptimizer(model.parameters())
    train(planned(model, optimizer=optimizer, set_to_none=False, steps=3))
    assert model.gradients == [None, 0.0, 0.0]


def test_gradients_go_without_an_optimizer_too() -> None:
    model = Watching()
    train(planned(model, steps=2))
    assert model.gradients == [None, None]
    assert model.layer.weight.grad is not None


def test_accumulation_makes_micro_batches_of_one_step() -> None:
    model = Watching()
    optimizer = CountingOptimizer(model.parameters())
    made: list[int] = []

    def make_batch() -> Any:
        made.append(1)
        return torch.ones(2, 4)

    train(planned(model, make_batch, optimizer=optimizer, accumulate=4, steps=2))
    assert len(made) == len(model.outputs) == 8
    assert optimizer.steps == 2
    assert [gradient is None for gradient in model.gradients] == [True, False, False, False] * 2


def test_accumulated_gradients_are_those_of_the_mean() -> None:
    def training_step(model: Any, batch: Any) -> Any:
        return model(batch).square().mean()

    grads = []
    for accumulate in (1, 4):
        torch.manual_seed(0)
        model = Watching()
        train(planned(model, training_step=training_step, accumulate=accumulate, steps=1))
        grads.append(model.layer.weight.grad)
    torch.testing.assert_close(grads[0], grads[1])


def test_inference_is_the_forward_alone() -> None:
    model = Watching()
    steps: list[int] = []
    loop.infer(planned(model, mode=Mode.INFER, steps=2), steps.append)
    assert steps == [1, 2]
    assert model.seen == [(False, False, True)] * 2
    assert model.alive == [[], [0]]
    assert model.layer.weight.grad is None


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [(Precision.FP32, torch.float32), (Precision.AMP_BF16, torch.bfloat16)],
)
def test_autocast_is_around_forward_and_loss_only(precision: Precision, dtype: Any) -> None:
    inside: list[Any] = []

    def training_step(model: Any, batch: Any) -> Any:
        output = model(batch)
        inside.append((output.dtype, torch.is_autocast_enabled("cpu")))
        return output.float().mean()

    class Optimizer(CountingOptimizer):
        def step(self, closure: Any = None) -> Any:
            inside.append(torch.is_autocast_enabled("cpu"))
            return super().step(closure)

    model = Watching()
    plan = planned(
        model, training_step=training_step, precision=precision, steps=1,
        optimizer=Optimizer(model.parameters()),
    )  # fmt: skip
    train(plan)
    assert inside == [(dtype, precision is not Precision.FP32), False]


def test_a_scaler_scales_steps_and_updates() -> None:
    model = Watching()
    optimizer = CountingOptimizer(model.parameters())
    plan = planned(model, precision=Precision.AMP_FP16, optimizer=optimizer, steps=2)
    assert plan.scaler is not None
    train(plan)
    assert optimizer.steps == 2
    assert plan.scaler.get_scale() == 65536.0
    assert float(model.layer.weight.grad.abs().max()) < 10  # unscaled before the step


@pytest.mark.parametrize("value", [3.0, None])
def test_a_step_without_a_loss_is_explained(value: Any) -> None:
    with pytest.raises(ModelError, match="training_step gave a"):
        train(planned(Watching(), training_step=lambda model, batch: value))


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_it_was(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
        with pytest.raises(ValueError, match="x"), collector_paused():
            raise ValueError("x")
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


def test_garbage_is_collected_before_the_first_step_and_after_it() -> None:
    class Knot:
        def __init__(self) -> None:
            self.me = self

    before = weakref.ref(Knot())
    made: list[Any] = []
    alive: list[list[bool]] = []

    def training_step(model: Any, batch: Any) -> Any:
        alive.append([knot() is not None for knot in (before, *made)])
        made.append(weakref.ref(Knot()))
        return model(batch).mean()

    with collector_paused():
        train(planned(Watching(), training_step=training_step, steps=3))
    assert alive == [[False], [False, False], [False, False, True]]


@pytest.mark.parametrize(("precision", "accumulate"), [(None, 1), (Precision.AMP_FP16, 3)])
def test_gradients_are_clipped_once_between_backward_and_step(
    precision: Precision | None, accumulate: int
) -> None:
    model = nn.Linear(4, 1, bias=False)
    nn.init.zeros_(model.weight)
    norms: list[float] = []

    class Noting(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            assert model.weight.grad is not None
            norms.append(float(model.weight.grad.norm()))
            return super().step(closure)

    plan = planned(
        model,
        lambda: torch.full((2, 4), 10.0),
        optimizer=Noting(model.parameters(), lr=0.1),
        precision=precision,
        accumulate=accumulate,
        clip_grad_norm=0.5,
        steps=2,
        training_step=lambda model, batch: model(batch).float().sum(),
    )
    if plan.scaler is not None:  # 65536 times a gradient of 20 is beyond float16
        plan = replace(plan, scaler=torch.amp.GradScaler("cpu", init_scale=4.0))
    train(plan)
    assert norms == pytest.approx([0.5, 0.5], rel=1e-3)


def test_the_average_follows_each_step_and_belongs_to_it() -> None:
    model = nn.Linear(4, 1, bias=False)
    nn.init.zeros_(model.weight)
    phases: list[Phase] = []

    class Noting(Watch):
        def enter(self, phase: Phase, inputs: Any = None) -> None:
            phases.append(phase)

    class Average(WeightAverage):
        def update(self) -> None:
            assert phases[-1] is Phase.OPTIMIZER_STEP
            super().update()

    average = Average(model, 0.5)
    plan = planned(
        model,
        optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
        steps=2,
        average=average,
        training_step=lambda model, batch: model(batch).sum(),
    )
    train(replace(plan, watch=Noting()))
    # Each step takes 2 from each weight: -2, -4. The average: -1, then (-1 - 4) / 2.
    assert average.module.weight.flatten().tolist() == [-2.5] * 4
