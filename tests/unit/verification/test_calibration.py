"""What is learnt from runs on a card: medians by hand, and which runs count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.units import MIB
from planner.verification import calibration as module
from planner.verification import history
from planner.verification.calibration import calibrate, comparable, installed_driver
from planner.verification.history import HistoryEntry


def kept(make: Any, *given: dict[str, Any]) -> tuple[HistoryEntry, ...]:
    for number, one in enumerate(given):
        history.add(make(**{"target": f"net{number}.py", **one}))
    return history.entries()


@pytest.mark.usefixtures("store")
def test_medians_by_hand(make: Any) -> None:
    runs = kept(
        make,
        {"reserved_mib": 1010, "context_mib": 150, "steps_s": (0.1, 0.2)},
        {"reserved_mib": 1040, "context_mib": 170, "steps_s": (0.1, 0.3)},
        {"reserved_mib": 1000, "context_mib": 900, "steps_s": (None, 0.3)},
    )
    found = calibrate(runs)
    assert found is not None
    assert (found.card, found.runs) == ("Tesla T4", 3)
    assert found.context_overhead_bytes == 170 * MIB
    assert found.reserved_offset_bytes == 10 * MIB
    assert found.step_time_ratio == pytest.approx(2.5)
    assert found.basis == "calibrated on 3 runs on this card (driver 550, torch 2.14)"


@pytest.mark.usefixtures("store")
def test_two_runs_correct_the_context_alone(make: Any) -> None:
    found = calibrate(
        kept(make, {"reserved_mib": 1500}, {"reserved_mib": 1500, "context_mib": 151})
    )
    assert found is not None
    assert found.reserved_offset_bytes == 0
    assert found.context_overhead_bytes == 150 * MIB + MIB // 2
    assert found.step_time_ratio is None


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("beside", [{"ema": 0.9}, {"clip_grad_norm": 1.0}])
def test_with_an_average_or_clipping_it_is_another_job(make: Any, beside: dict[str, Any]) -> None:
    plain = make(target="net.py", reserved_mib=1010)
    other = replace(
        make(target="net.py", reserved_mib=1030), config=replace(plain.config, **beside)
    )
    for one in (plain, other, make(target="other.py", reserved_mib=1020)):
        history.add(one)
    found = calibrate(history.entries())
    assert found is not None
    assert found.reserved_offset_bytes == 20 * MIB


@pytest.mark.usefixtures("store")
def test_of_one_model_the_last_run_counts(make: Any) -> None:
    """Its workspaces are no rule for others: three runs of it correct no peak."""
    same = {"target": "net.py"}
    runs = kept(make, *({"reserved_mib": mib, **same} for mib in (1010, 1020, 1090)))
    found = calibrate(runs)
    assert found is not None
    assert (found.runs, found.reserved_offset_bytes) == (3, 0)
    found = calibrate(kept(make, {"reserved_mib": 1000}, {"reserved_mib": 1050}))
    assert found is not None
    assert (found.runs, found.reserved_offset_bytes) == (5, 50 * MIB)  # of 90, 0 and 50


@pytest.mark.usefixtures("store")
def test_peaks_of_two_batches_are_not_compared(make: Any) -> None:
    runs = kept(make, *[{"reserved_mib": 2000, "measured_batch_size": 16}] * 4)
    found = calibrate(runs)
    assert found is not None
    assert found.reserved_offset_bytes == 0


@pytest.mark.usefixtures("store")
def test_an_offset_may_be_negative(make: Any) -> None:
    found = calibrate(kept(make, *({"reserved_mib": mib} for mib in (990, 980, 900))))
    assert found is not None
    assert found.reserved_offset_bytes == -20 * MIB


@pytest.mark.usefixtures("store")
def test_runs_that_measured_nothing_teach_nothing(make: Any) -> None:
    assert calibrate(kept(make, {"context_mib": None, "reserved_mib": None})) is None
    assert calibrate(kept(make, {"context_mib": 0, "reserved_mib": None})) is None


@pytest.mark.usefixtures("store")
def test_the_runs_most_like_this_one_count(make: Any) -> None:
    entries = kept(
        make,
        {"driver": "550.54.15", "torch": "2.14.1+cu130"},  # 1
        {"driver": "550.90", "torch": "2.14.0"},  # 2
        {"driver": "535.1.2", "torch": "2.14.1"},  # 3
        {"driver": None, "torch": "2.14.1"},  # 4
        {"driver": "550.54.15", "torch": "2.6.0"},  # 5
    )

    def chosen(torch: str, driver: str | None) -> list[int]:
        return [one.id for one in comparable(entries, torch=torch, driver=driver)]

    assert chosen("2.14.2+cu132", "550.163.01") == [1, 2]
    assert chosen("2.14.2", "535.54.03") == [3]
    assert chosen("2.14.2", "580.1.1") == [1, 2, 3, 4], "same card and torch"
    assert chosen("2.14.2", None) == [1, 2, 3, 4]
    assert chosen("2.6.1", None) == [5]
    assert chosen("2.1.0", "550.1.1") == [1, 2, 3, 4, 5], "same card"
    found = calibrate(comparable(entries, torch="3.0.0", driver=None))
    assert found is not None
    assert found.basis == (
        "calibrated on 5 runs on this card (driver 550 and 535, torch 2.14 and 2.6)"
    )


@pytest.mark.usefixtures("store")
def test_one_run_of_an_unknown_driver(make: Any) -> None:
    found = calibrate(kept(make, {"driver": None}))
    assert found is not None
    assert found.basis == "calibrated on 1 run on this card (torch 2.14)"


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 2024", "550.54.15"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95  Release", "580.95"),
        ("nothing of it", None),
    ],
)
def test_the_driver_of_this_machine(
    text: str, driver: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DRIVER_FILE", tmp_path / "version")
    assert installed_driver() is None
    (tmp_path / "version").write_text(text)
    assert installed_driver() == driver
