"""LightningModules, by small classes that have the protocol of Lightning's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from planner.config.step import InputSpec, Mode, OptimizerName, Precision, StepConfig
from planner.errors import ModelError, UsageError
from planner.wire.trace import StepTrace
from planner.worker.count.inspection import inspect_model
from planner.worker.drive import lightning
from planner.worker.drive.measure import measure
from planner.worker.drive.trainer import Trainer
from planner.worker.target.source import ModelSource

CPU = torch.device("cpu")


class _DeviceDtypeModuleMixin(nn.Module):
    """Keeps its device as Lightning's mixin does: `.to()` would tell it."""

    _device = torch.device("meta")
    _dtype = torch.float64


class LightningModule(_DeviceDtypeModuleMixin):
    """What modules inherit from Lightning, without it."""

    _trainer: Any = None
    automatic_optimization = True

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def trainer(self) -> Any:
        if self._trainer is None:
            raise RuntimeError("not attached to a `Trainer`")
        return self._trainer

    def log(self, name: str, value: Any, **kwargs: Any) -> None:
        raise RuntimeError("the loop's result collection is not registered yet")

    def optimizers(self) -> Any:
        found = self.trainer.strategy._lightning_optimizers
        return found[0] if len(found) == 1 else found

    def manual_backward(self, loss: torch.Tensor) -> None:
        self.trainer.strategy.backward(loss, None)

    def toggle_optimizer(self, optimizer: Any) -> None:
        self._toggle(optimizer, False)

    def untoggle_optimizer(self, optimizer: Any) -> None:
        self._toggle(optimizer, True)

    def _toggle(self, optimizer: Any, required: bool) -> None:
        for other in self.trainer.optimizers:
            if other is not optimizer.optimizer:
                for parameter in other.param_groups[0]["params"]:
                    parameter.requires_grad = required


class Classifier(LightningModule):
    """Notes in `events` what happens to it."""

    events: list[Any]

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)  # type: ignore[no-any-return] # a module's call is untyped

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        self.events.append(("forward", batch_idx, self.net.weight.grad is not None))
        loss = nn.functional.cross_entropy(self(x), y.to(self.device))
        self.log("loss", loss, prog_bar=True)
        return {"loss": loss, "seen": x}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        beside = {"scheduler": scheduler, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": beside}


class Gan(LightningModule):
    events: list[Any]
    automatic_optimization = False

    def __init__(self) -> None:
        super().__init__()
        self.g, self.d = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.g(x)  # type: ignore[no-any-return] # a module's call is untyped

    def training_step(self, batch: Any) -> None:
        x, _ = batch
        first, second = self.optimizers()
        with first.toggle_model():
            self.events.append(self.d.weight.requires_grad)
            first.zero_grad()
            self.manual_backward(self.d(self(x)).mean())
            first.step()
        second.zero_grad()
        self.manual_backward(self.d(self(x).detach()).mean())
        self.trainer.strategy.clip_gradients(second.optimizer, 0.5, "norm")
        second.step()
        self.log("step", self.trainer.global_step)

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.g.parameters()), torch.optim.Adam(self.d.parameters())], []


def batch(batch_size: int) -> Any:
    return torch.ones(batch_size, 4), torch.zeros(batch_size, dtype=torch.int64)


def source(kind: type[nn.Module], **functions: Any) -> ModelSource:
    return ModelSource(build_model=lightning.completed(kind), **{"build_batch": batch, **functions})


def ran(kind: type[nn.Module], functions: Any = None, **config: Any) -> StepTrace:
    settings = StepConfig(**{"batch_size": 2, **config})
    return measure(source(kind, **(functions or {})), settings, CPU, real_values=True)


def completed(trace: StepTrace) -> StepTrace:
    assert trace.failure is None, trace.failure
    return trace


@pytest.fixture(autouse=True)
def _events() -> None:
    Classifier.events, Gan.events = [], []


def test_its_own_step_and_optimizer_and_where_they_come_from() -> None:
    trace = completed(ran(Classifier, steps=2))
    assert trace.optimizer == "SGD"
    assert trace.assumptions[0].startswith(
        "step: Classifier.training_step, with Classifier.configure_optimizers, in a loop like "
        "Lightning's"
    )
    # zero_grad comes after the forward: gradients of the first step are there in the second
    assert Classifier.events == [("forward", 0, False), ("forward", 1, True)]


def test_micro_batches_share_a_step() -> None:
    class Counting(Classifier):
        def optimizer_step(self, epoch: int, index: int, optimizer: Any, closure: Any) -> None:
            self.events.append(("step", index))
            optimizer.step(closure=closure)

        def optimizer_zero_grad(self, epoch: int, index: int, optimizer: Any) -> None:
            self.events.append(("zero", index))
            optimizer.zero_grad()

    completed(ran(Counting, steps=2, accumulate=2))
    assert Classifier.events == [
        ("forward", 0, False), ("zero", 0), ("step", 1), ("forward", 1, True),
        ("forward", 2, True), ("zero", 2), ("step", 3), ("forward", 3, True),
    ]  # fmt: skip


def test_hooks_of_the_module_are_called() -> None:
    class Hooked(Classifier):
        def on_train_start(self) -> None:
            self.events.append("start")

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            self.events.append(("before step", self.net.weight.grad is not None))

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.events.append(("end", outputs["loss"].requires_grad, self.trainer.global_step))

    completed(ran(Hooked, steps=1))
    assert Classifier.events == [
        "start", ("forward", 0, False), ("before step", True), ("end", False, 1),
    ]  # fmt: skip


def test_a_scaler_takes_part() -> None:
    trace = completed(ran(Classifier, precision=Precision.AMP_FP16, steps=2))
    assert trace.optimizer == "SGD"
    completed(ran(Gan, precision=Precision.AMP_FP16, steps=2))


def test_manual_optimization_with_two_optimizers() -> None:
    trace = completed(ran(Gan, steps=2))
    assert trace.optimizer == "SGD, Adam"
    assert "steps by itself (manual optimization)" in trace.assumptions[0]
    assert Gan.events == [False, False]  # while the first optimizer was toggled


def test_manual_optimization_has_no_micro_batches() -> None:
    with pytest.raises(UsageError, match="Gan with automatic_optimization = False does the whole"):
        ran(Gan, accumulate=2)


def test_a_step_that_gives_no_loss_makes_no_backward() -> None:
    class Skipping(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return None

    completed(ran(Skipping, steps=2))
    completed(ran(Skipping, steps=2, precision=Precision.AMP_FP16))


def test_what_the_file_or_the_call_names_comes_first() -> None:
    named = completed(ran(Classifier, optimizer=OptimizerName.ADAM))
    assert named.optimizer == "Adam"
    assert "with --optimizer adam, in a loop" in named.assumptions[0]
    built = completed(ran(Classifier, {"build_optimizer": torch.optim.Adagrad}))
    assert built.optimizer == "Adagrad"
    own = completed(ran(Classifier, {"training_step": lambda model, batch: model(batch[0]).mean()}))
    assert own.optimizer == "AdamW"
    assert Classifier.events == [("forward", n, n > 0) for n in range(3)] * 2


@pytest.mark.parametrize(
    ("optimizers", "words"),
    [
        (lambda module: None, "Bad.configure_optimizers returned None"),
        (lambda module: 3, "Bad.configure_optimizers returned a int without step"),
        (lambda module: [torch.optim.SGD(module.parameters())] * 2, None),
        (
            lambda module: [torch.optim.SGD(module.parameters()) for _ in range(2)],
            "returned 2 optimizers; Lightning steps several only with automatic_optimization",
        ),
    ],
)
def test_optimizers_that_lightning_would_not_take(optimizers: Any, words: str | None) -> None:
    class Bad(Classifier):
        def configure_optimizers(self) -> Any:
            return optimizers(self)

    trace = ran(Bad)
    if words is None:
        completed(trace)
        return
    assert trace.failure is not None
    assert words in trace.failure.message


def test_a_dict_without_a_loss() -> None:
    class Bad(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"los": self(batch[0]).mean()}

    trace = ran(Bad)
    assert trace.failure is not None
    assert "Bad.training_step returned a dict without a loss" in trace.failure.message


def test_inputs_named_in_the_call_get_the_target_that_the_step_unpacks() -> None:
    trace = completed(ran(Classifier, {"build_batch": None}, inputs=(InputSpec(shape=(4,)),)))
    assert any(note.startswith("batch: a target of zeros") for note in trace.assumptions)
    both = (InputSpec(shape=(4,)), InputSpec(shape=(), dtype="int64"))
    trace = completed(ran(Classifier, {"build_batch": None}, inputs=both))
    assert not any("a target of zeros" in note for note in trace.assumptions)

    class Whole(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self(batch).mean()

    trace = completed(ran(Whole, {"build_batch": None}, inputs=both[:1]))
    assert not any("a target of zeros" in note for note in trace.assumptions)


def test_layers_that_the_module_builds_later_and_where_it_thinks_it_is() -> None:
    class Late(Classifier):
        def __init__(self) -> None:
            super().__init__()
            del self.net

        def configure_model(self) -> None:
            self.net = nn.Linear(4, 3)

    model = lightning.completed(Late)()
    assert isinstance(model.net, nn.Linear)
    lightning.placed(model, CPU)
    assert (model._device, model._dtype) == (CPU, torch.float32)
    completed(ran(Late))


def test_inference_is_a_forward() -> None:
    trace = completed(ran(Classifier, {"build_batch": lambda b: torch.ones(b, 4)}, mode=Mode.INFER))
    assert (trace.optimizer, trace.assumptions) == ("none", ())
    assert Classifier.events == []


def test_counting() -> None:
    counted = inspect_model(source(Classifier), StepConfig(batch_size=2), CPU, depth=1)
    rows = {row.path: row for row in counted.modules}
    assert rows["net"].forward_flops == 2 * 2 * 4 * 3
    assert {record.phase.value for record in counted.operators} == {
        "forward", "loss", "backward", "optimizer step",
    }  # fmt: skip


def test_the_stand_in_says_what_it_has_not() -> None:
    trainer = Trainer(nn.Identity(), 1, None)
    assert (trainer.world_size, trainer.is_global_zero, trainer.current_epoch) == (1, True, 0)
    assert trainer.logger.experiment.add_scalar("a", 1) is trainer.logger
    with pytest.raises(AttributeError, match="its stand-in has no 'checkpoint_callback'"):
        _ = trainer.checkpoint_callback


def test_other_models_are_none() -> None:
    assert not lightning.is_module(nn.Linear(1, 1))
    assert not lightning.is_module(nn.Sequential(Classifier()))
    assert lightning.is_module(Classifier())
    with pytest.raises(ModelError, match="without a loss"):
        lightning.Steps(Classifier(), accumulate=1, scaler=None)._loss(3)
