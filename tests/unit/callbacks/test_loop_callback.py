"""Watching a loop: what is logged, what is kept, and that training goes on whatever happens."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from planner.callbacks.loop import Watch
from planner.results.curve import Curve
from planner.results.estimate import Estimate
from planner.units import GIB, MIB
from planner.verification import history

Run = Callable[..., None]


class Log:
    """What a logger of the user got."""

    def __init__(self) -> None:
        self.lines: list[tuple[dict[str, float], int]] = []

    def __call__(self, figures: dict[str, float], *, step: int) -> None:
        self.lines.append((figures, step))


def train(estimate: Any, *, steps: int = 5, **options: Any) -> tuple[Watch, Log]:
    log = Log()
    watch = Watch(estimate, **{"batch_size": 16, "after_steps": 3, "log": log, **options})
    for _ in range(steps):
        watch.step()
    return watch, log


def test_predicted_and_measured_are_logged_once(predicted: Estimate, on_card: Run) -> None:
    on_card(1.25)
    _, log = train(predicted)
    ((figures, step),) = log.lines
    (card,) = predicted.gpus
    assert step == 3
    assert figures["planner/peak_reserved_predicted_gib"] == card.peak_reserved_bytes / GIB
    assert figures["planner/peak_reserved_measured_gib"] == pytest.approx(
        1.25 * card.peak_reserved_bytes / GIB
    )
    assert figures["planner/peak_reserved_error"] == pytest.approx(-0.2)
    assert figures["planner/peak_allocated_error"] == pytest.approx(-0.2)
    measured_bytes = 1.25 * card.peak_reserved_bytes + 500 * MIB
    assert figures["planner/device_total_measured_gib"] == pytest.approx(measured_bytes / GIB)
    assert figures["planner/step_s_measured"] > 0


def test_the_run_is_kept(predicted: Estimate, on_card: Run) -> None:
    on_card(1.01)
    train(predicted)
    (entry,) = history.entries()
    (card,) = predicted.gpus
    assert (entry.card, entry.driver, entry.torch) == (card.name, "580.65.06", "2.14.1+cu130")
    assert (entry.target, entry.batch_size) == (predicted.target, 16)
    assert entry.predicted.peak_reserved_bytes == card.peak_reserved_bytes
    assert entry.measured.peak_reserved_bytes == int(card.peak_reserved_bytes * 1.01)
    assert entry.measured.context_overhead_bytes == 500 * MIB
    assert (entry.predicted.step_s, entry.measured.step_s) == (None, None)
    assert entry.step.is_whole


def test_without_the_drivers_figure_the_context_is_not_measured(
    predicted: Estimate, on_card: Run
) -> None:
    on_card(is_reported=False)
    _, log = train(predicted)
    assert "planner/device_total_measured_gib" not in log.lines[0][0]
    (entry,) = history.entries()
    assert entry.measured.context_overhead_bytes is None
    assert entry.measured.device_total_bytes is None


def test_the_estimate_may_be_a_file(predicted: Estimate, on_card: Run, tmp_path: Path) -> None:
    on_card()
    predicted.save(tmp_path / "run.planner")
    _, log = train(tmp_path / "run.planner")
    assert len(log.lines) == 1
    assert len(history.entries()) == 1


@pytest.mark.parametrize(
    ("options", "variables", "says"),
    [
        ({"batch_size": 8}, {}, "the batch of the run is 8, and that of the estimate is 16"),
        ({"batch_size": None}, {}, "the batch of the run is not known"),
        ({}, {"WORLD_SIZE": "4"}, "several processes"),
        ({}, {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}, "allocator's settings are"),
        ({}, {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}, "allocator's settings are"),
    ],
)
def test_another_run_is_logged_and_not_kept(
    options: dict[str, Any],
    variables: dict[str, str],
    says: str,
    predicted: Estimate,
    on_card: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "planner")
    on_card()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    _, log = train(predicted, **options)
    assert len(log.lines) == 1
    assert history.entries() == ()
    assert says in caplog.text


@pytest.mark.parametrize(
    ("share", "is_physical", "torch", "card", "says"),
    [
        (2.0, True, None, None, "it is of another step"),
        (1.0, False, None, None, "does not know the card"),
        (1.0, True, "2.6.0", None, "the estimate torch 2.6.0"),
        (1.0, True, None, "Tesla T4", "the estimate is of Tesla T4"),
    ],
)
def test_what_shows_nothing_is_not_kept(
    share: float,
    is_physical: bool,
    torch: str | None,
    card: str | None,
    says: str,
    predicted: Estimate,
    on_card: Run,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "planner")
    on_card(share, is_physical=is_physical)
    if torch is not None:
        predicted = replace(predicted, versions=replace(predicted.versions, torch=torch))
    if card is not None:
        predicted = replace(predicted, gpus=(replace(predicted.gpus[0], name=card),))
    _, log = train(predicted)
    assert "planner/peak_reserved_measured_gib" in log.lines[0][0]
    assert ("planner/peak_reserved_error" in log.lines[0][0]) is (card is None)
    assert history.entries() == ()
    assert says in caplog.text


@pytest.mark.parametrize("module", ["_vram_planner", "planner.worker.engines.emulation"])
def test_an_emulated_card_measures_nothing(
    module: str, predicted: Estimate, on_card: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_card()
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    train(predicted)
    assert history.entries() == ()


def test_nothing_is_kept_where_it_is_not_wanted(predicted: Estimate, on_card: Run) -> None:
    on_card()
    train(predicted, keep=False)
    assert history.entries() == ()


def one_warning(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    return record.getMessage()


def test_without_a_card_it_says_so_once(
    predicted: Estimate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    _, log = train(predicted)
    assert log.lines == []
    assert "uses no CUDA card" in one_warning(caplog)


def test_a_file_that_is_not_there_is_one_warning(
    on_card: Run, caplog: pytest.LogCaptureFixture
) -> None:
    on_card()
    watch, log = train("absent.planner", steps=30)
    assert watch.is_over
    assert log.lines == []
    assert "DocumentError: absent.planner cannot be read" in one_warning(caplog)


def test_another_result_is_one_warning(
    curve: Curve, on_card: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    on_card()
    curve.save(tmp_path / "curve.planner")
    train(tmp_path / "curve.planner")
    assert "is not the result of `planner estimate`" in one_warning(caplog)


def test_an_error_of_the_users_logger_is_one_warning(
    predicted: Estimate, on_card: Run, caplog: pytest.LogCaptureFixture
) -> None:
    on_card()

    def broken(figures: dict[str, float], *, step: int) -> None:
        raise RuntimeError("disk full")

    train(predicted, log=broken)
    assert one_warning(caplog) == "planner stops watching this run: RuntimeError: disk full"


def test_an_error_of_the_history_is_one_warning(
    predicted: Estimate, on_card: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    on_card()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "history.sqlite").write_text("no database")
    _, log = train(predicted)
    assert len(log.lines) == 1
    assert "HistoryError" in one_warning(caplog)


def test_an_interrupt_is_the_users(predicted: Estimate, on_card: Run) -> None:
    on_card()

    def interrupted(figures: dict[str, float], *, step: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(predicted, log=interrupted)
