"""The callbacks of transformers and Lightning, driven as their Trainers drive them.

The packages are stand-ins with the one name that is used; tests/integration/test_callbacks.py has
the real ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from planner.results.estimate import Estimate
from planner.verification import history

Run = Callable[..., None]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """Returns our module for a framework, loaded beside a stand-in for its package."""
    loaded: list[str] = []

    def load(name: str, package: str) -> Any:
        for part in (package.partition(".")[0], package):
            module = ModuleType(part)
            for attribute in ("TrainerCallback", "Callback"):
                setattr(cast(Any, module), attribute, type(attribute, (), {"origin": package}))
            monkeypatch.setitem(sys.modules, part, module)
        loaded.append(f"planner.callbacks.{name}")
        sys.modules.pop(loaded[-1], None)
        return import_module(loaded[-1])

    yield load
    for name in loaded:
        sys.modules.pop(name, None)


class HfTrainer:
    """A Trainer of transformers: its log calls on_log of each callback."""

    def __init__(self) -> None:
        self.args = SimpleNamespace(train_batch_size=16)
        self.state = SimpleNamespace(is_world_process_zero=True, log_history=[])
        self.control = SimpleNamespace(should_log=False)
        self.callbacks: list[Any] = []

    def add_callback(self, callback: Any) -> None:
        self.callbacks.append(callback)

    def event(self, name: str, **rest: Any) -> None:
        for one in self.callbacks:
            getattr(one, name)(self.args, self.state, self.control, model=None, **rest)

    def log(self, logs: dict[str, float]) -> None:
        self.state.log_history.append(dict(logs))
        self.event("on_log", logs=logs)

    def train(self, steps: int) -> list[dict[str, float]]:
        self.event("on_train_begin")
        for _ in range(steps):
            self.event("on_step_end")
            if self.control.should_log:
                self.control.should_log = False
                self.log({"loss": 1.0})
        found: list[dict[str, float]] = self.state.log_history
        return found


def test_transformers_with_the_trainers_log(
    modules: Any, predicted: Estimate, on_card: Run
) -> None:
    on_card()
    trainer = HfTrainer()
    callback = modules("transformers", "transformers").PlannerCallback(predicted, after_steps=3)
    assert callback.add_to(trainer) is callback
    (line,) = trainer.train(5)
    assert line["planner/peak_reserved_error"] == 0
    assert "loss" not in line
    assert len(history.entries()) == 1


def test_transformers_without_it_adds_to_the_next_line(
    modules: Any, predicted: Estimate, on_card: Run
) -> None:
    on_card()
    trainer = HfTrainer()
    module = modules("transformers", "transformers")
    trainer.add_callback(module.PlannerCallback(predicted, after_steps=3))
    (line,) = trainer.train(5)
    assert line["loss"] == 1.0
    assert line["planner/peak_reserved_error"] == 0


def test_only_one_process_writes_the_log(modules: Any, predicted: Estimate, on_card: Run) -> None:
    on_card()
    trainer = HfTrainer()
    trainer.state.is_world_process_zero = False
    module = modules("transformers", "transformers")
    module.PlannerCallback(predicted, after_steps=3).add_to(trainer)
    assert trainer.train(5) == []


class LightningTrainer:
    """A Trainer of Lightning that steps once in two batches."""

    def __init__(self) -> None:
        self.train_dataloader = SimpleNamespace(batch_size=16)
        self.lines: list[tuple[dict[str, float], int]] = []
        self.loggers = [SimpleNamespace(log_metrics=self._take)]
        self.global_step = 0

    def _take(self, figures: dict[str, float], step: int) -> None:
        self.lines.append((figures, step))

    def fit(self, callback: Any, batches: int) -> None:
        callback.on_train_start(self, None)
        for index in range(batches):
            self.global_step = (index + 1) // 2
            callback.on_train_batch_end(self, None, None, None, index)


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_lightning(package: str, modules: Any, predicted: Estimate, on_card: Run) -> None:
    on_card()
    for other in ("lightning.pytorch", "pytorch_lightning"):
        sys.modules.pop(other, None)
    kind = modules("lightning", package).PlannerCallback
    assert kind.__mro__[1].origin == package
    trainer = LightningTrainer()
    trainer.fit(kind(predicted, after_steps=3), 12)
    ((figures, step),) = trainer.lines
    assert (step, figures["planner/peak_reserved_error"]) == (3, 0)
    assert len(history.entries()) == 1


def test_a_trainer_of_another_make_ends_the_watch_alone(
    modules: Any, predicted: Estimate, on_card: Run, caplog: pytest.LogCaptureFixture
) -> None:
    on_card()
    callback = modules("lightning", "lightning.pytorch").PlannerCallback(predicted)
    callback.on_train_start(SimpleNamespace(global_step=0), None)
    assert callback.watch.is_over
    assert "planner stops watching this run: AttributeError" in caplog.text
