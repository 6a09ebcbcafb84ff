"""Errors that an interval rests on: own ones by hand, and those that come with planner."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from planner.config.step import Mode
from planner.hardware.database import load_gpus
from planner.hardware.specs import ContextKind
from planner.memory.budget import memory_budgets
from planner.memory.interval import ErrorInterval, NoInterval
from planner.units import GIB, MIB
from planner.verification import history, intervals
from planner.verification.calibrated_budgets import CalibratedBudgets, calibrated_budgets
from planner.verification.intervals import card_spread, published_context, published_reserved

ROOT = Path(__file__).parents[3]


def spread_of(make: Any, *given: dict[str, Any], mode: Mode = Mode.TRAIN) -> ErrorInterval:
    for number, one in enumerate(given):
        history.add(make(**{"target": f"net{number}.py", **one}))
    found = card_spread(history.entries(), mode)
    assert isinstance(found, ErrorInterval)
    return found


@pytest.mark.usefixtures("store")
def test_own_errors_from_five_on_each_held_against_the_others(make: Any) -> None:
    contexts, reserved = (100, 110, 120, 130, 400), (1000, 1010, 1020, 1030, 1040)
    found = spread_of(
        make,
        *(
            {"context_mib": context, "reserved_mib": peak}
            for context, peak in zip(contexts, reserved, strict=True)
        ),
    )
    # Without 400 the median of the others is 115, without 100 it is 125.
    assert found.context == pytest.approx((100 / 125, 400 / 115))
    # Without 1040 the others are 0, 10, 20, 30 over: the correction is 15; without 1000 it is 25.
    assert found.reserved == pytest.approx((1000 / 1025, 1040 / 1015))
    assert found.coverage == pytest.approx(1 - 2 / 6)
    assert found.basis == (
        "5 models verified on this card (peak reserved) and "
        "5 models verified on this card (context overhead)"
    )


@pytest.mark.usefixtures("store")
def test_four_are_too_few(make: Any) -> None:
    found = spread_of(make, *[{}] * 4)
    assert found == card_spread((), Mode.TRAIN)
    assert "verified" not in found.basis


@pytest.mark.usefixtures("store")
def test_of_one_model_the_last_run_counts(make: Any) -> None:
    many = [{"target": "net.py"}] * 20
    assert spread_of(make, *many) == card_spread((), Mode.TRAIN)
    others = [{"target": f"other{number}.py", "context_mib": 150} for number in range(4)]
    found = spread_of(make, {"target": "net.py", "context_mib": 300}, *others)
    assert found.context == pytest.approx((150 / 150, 300 / 150))
    assert found.coverage == pytest.approx(1 - 2 / 6)


@pytest.mark.usefixtures("store")
def test_peaks_and_contexts_count_each_by_itself(make: Any) -> None:
    found = spread_of(make, *[{"reserved_mib": None}] * 5)
    assert found.basis == (
        "19 training runs on an H100 80GB (peak reserved) and "
        "5 models verified on this card (context overhead)"
    )


@pytest.mark.usefixtures("store")
def test_runs_of_another_mode_do_not_count_for_peaks(make: Any) -> None:
    found = spread_of(make, *[{"mode": Mode.INFER}] * 5, mode=Mode.INFER)
    assert found.basis.startswith("5 models verified on this card (peak reserved)")
    trained = card_spread(history.entries(), Mode.TRAIN)
    assert isinstance(trained, ErrorInterval)
    assert trained.basis.startswith("19 training runs")


def test_without_figures_there_is_no_interval() -> None:
    found = card_spread((), Mode.INFER)
    assert isinstance(found, NoInterval)
    assert "no measured peaks of infer steps are known" in found.reason


def test_published_errors() -> None:
    found = card_spread((), Mode.TRAIN)
    assert isinstance(found, ErrorInterval)
    assert found.coverage == pytest.approx(0.9)
    # GPT-2 16x1024 and ViT fp32 are the worst two of the H100 peaks in benchmarks/accuracy.
    assert found.reserved == pytest.approx((1 / 1.0296246, 1 / (1 - 0.0230055)), rel=1e-6)
    # A T4 with 114 of 135 MiB is not the least: an RTX 6000 Ada is not, an A100 with 409 of 527 is.
    assert found.context == pytest.approx((409 / 526.9, 1096 / 526.9), rel=1e-3)


def test_published_peaks_are_those_of_the_benchmark() -> None:
    with (ROOT / "benchmarks" / "accuracy" / "results.csv").open(newline="") as table:
        rows = [
            row for row in csv.DictReader(table)
            if (row["source"], row["quantity"]) == ("h100-peaks", "peak reserved")
        ]  # fmt: skip
    shipped = json.loads(intervals._PUBLISHED.read_text())["peak_reserved"]["figures"]
    assert [(row["case"], int(row["predicted"]), int(row["measured"])) for row in rows] == [
        (f"{one['case']} peak reserved", one["predicted_bytes"], one["measured_bytes"])
        for one in shipped
    ]
    reserved = published_reserved(Mode.TRAIN)
    assert reserved is not None
    assert len(reserved.values) == 19


def test_every_published_figure_has_a_source() -> None:
    document = json.loads(intervals._PUBLISHED.read_text())
    assert document["peak_reserved"]["source"].startswith("https://github.com/")
    for one in document["context_overhead"]["figures"]:
        assert one["source"].startswith("https://") or one["source"].startswith("a public log")
    assert len(published_context().values) == len(document["context_overhead"]["figures"]) == 30


def test_the_model_of_context_overheads_is_that_of_the_card_records() -> None:
    model = json.loads(intervals._PUBLISHED.read_text())["context_overhead"]["model"]
    modelled = [
        spec for spec in load_gpus().all()
        if spec.context is not None and spec.context.kind is ContextKind.MODEL
    ]  # fmt: skip
    assert modelled
    for spec in modelled:
        assert spec.context is not None
        figures = {
            "streaming_multiprocessors": spec.streaming_multiprocessors,
            "threads_per_sm": spec.profile.limits.threads_per_sm,
        }
        mib = intervals._modelled_mib(model, figures)
        assert spec.context.overhead_bytes / MIB == pytest.approx(mib, abs=1)


def learn(*cards: str, from_history: bool = True) -> CalibratedBudgets:
    budgets = memory_budgets(cards, hardware_db=None, gpu_memory=None, reserve=0)
    return calibrated_budgets(budgets, torch="2.14.1", mode=Mode.TRAIN, from_history=from_history)


@pytest.mark.usefixtures("store")
def test_only_the_card_of_the_runs_is_corrected(make: Any) -> None:
    for number in range(3):
        history.add(make(context_mib=150, reserved_mib=1100, target=f"net{number}.py"))
    found = learn("t4", "l4")
    t4, l4 = found.budgets
    assert t4.context_overhead_bytes == 150 * MIB
    assert t4.reserved_offset_bytes == 100 * MIB
    assert t4.capacity_bytes == (14909 - 150 - 100) * MIB
    assert t4.calibration is not None
    assert t4.calibration.basis.startswith("calibrated on 3 runs on this card")
    assert l4.calibration is None
    assert (l4.context_overhead_bytes, l4.reserved_offset_bytes) == (255 * MIB, 0)
    assert found.warnings == ()


@pytest.mark.usefixtures("store")
def test_without_calibration_the_history_is_not_read(make: Any) -> None:
    for number in range(6):
        history.add(make(context_mib=150, target=f"net{number}.py"))
    found = learn("t4", from_history=False)
    assert found.budgets[0].context_overhead_bytes == 198 * MIB
    assert found.spreads == (card_spread((), Mode.TRAIN),)


def test_a_broken_history_is_a_warning(store: Path) -> None:
    store.parent.mkdir()
    store.write_text("not a database, and long enough to be seen as such" * 20)
    found = learn("t4")
    (warning,) = found.warnings
    assert warning.startswith("nothing was learnt from past verifications: the history ")
    assert found.budgets[0].calibration is None
    assert isinstance(found.spreads[0], ErrorInterval)


def test_without_a_history_nothing_is_said(store: Path) -> None:
    found = learn("t4", "l4")
    assert found.warnings == ()
    assert found.spreads[0] is found.spreads[1]
    assert not store.parent.exists()


@pytest.mark.usefixtures("store")
def test_a_context_that_leaves_nothing(make: Any) -> None:
    from planner.errors import UsageError

    history.add(make(context_mib=15 * GIB // MIB))
    with pytest.raises(UsageError, match=r"t4: of 14.6 GiB nothing is left .* after 15.0 GiB"):
        learn("t4")
