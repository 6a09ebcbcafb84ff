"""Kernels of traces in the history, and the factors of a card that follow from them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from planner.config.step import Mode
from planner.errors import HistoryError, UsageError
from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec
from planner.memory.budget import memory_budgets
from planner.timing.kernel_times import kernel_time
from planner.timing.kernels import kernels_of
from planner.verification import history
from planner.verification.calibrated_budgets import calibrated_budgets
from planner.verification.kept_traces import TraceEntry, card_kernels, trace_document
from planner.verification.kernel_factors import MeasuredKernels, MeasuredOperator, compared
from tests.made_traces import T4
from tests.unit.operator_records import operator, product, relu, tensor

KIND = "elementwise, single"


def kernels(factor: float) -> MeasuredKernels:
    """Of a relu that takes `factor` times as long as predicted."""
    record = relu(50_000_000)
    work_s = kernel_time(kernels_of(record)[0], T4).busy_s
    return MeasuredKernels(
        steps=1,
        kernels_s=factor * work_s,
        shortest_s=0.0,
        operators=(MeasuredOperator(operator=record, measured_s=factor * work_s),),
    )


def document(factor: float = 2.0, card: GpuSpec = T4, target: str = "profiler trace 1") -> Any:
    found = kernels(factor)
    return trace_document(
        found, card, compared(found, card).kinds, target=target, step_s=0.5, device=card.name,
        cuda="12.9", planner="1",
    )  # fmt: skip


def keep(factor: float = 2.0, **changes: Any) -> int:
    return history.add_trace(document(factor, **changes), torch="not known")


@pytest.mark.usefixtures("store")
def test_what_is_kept_is_found_again() -> None:
    number = keep()
    found = history.entry(number)
    assert isinstance(found, TraceEntry)
    assert (found.card, found.card_id, found.target) == (T4.name, T4.id, "profiler trace 1")
    assert (found.steps, found.step_s) == (1, 0.5)
    assert found.kernels == kernels(2.0)
    assert [(one.kind, one.factor) for one in found.factors] == [(KIND, pytest.approx(2.0))]
    written = json.loads(json.dumps(document()))
    assert found.to_dict() == {"id": number, "recorded_at": found.recorded_at, **written}


@pytest.mark.usefixtures("store")
def test_every_kind_of_record_comes_back() -> None:
    records = (
        product(64, 64, 64),
        operator("copy_", (tensor(8, dtype="float16"),), (tensor(8),)),
        relu(5, calls=3),
    )
    given = MeasuredKernels(
        steps=2, kernels_s=1.0, shortest_s=1e-6,
        operators=tuple(MeasuredOperator(operator=one, measured_s=0.1) for one in records),
    )  # fmt: skip
    made = trace_document(given, T4, (), target="t", step_s=None, device="", cuda=None, planner="1")
    found = history.entry(history.add_trace(made, torch=""))
    assert isinstance(found, TraceEntry)
    assert found.kernels == given


@pytest.mark.usefixtures("store")
def test_the_same_trace_is_kept_once() -> None:
    assert keep() == keep()
    assert len(history.kept()) == 1
    assert keep(target="profiler trace 2") != keep()


@pytest.mark.usefixtures("store")
def test_verifications_and_traces_are_apart(make: Any) -> None:
    history.add(make())
    number = keep()
    assert [type(one).__name__ for one in history.kept()] == ["HistoryEntry", "TraceEntry"]
    assert [one.id for one in history.entries()] == [1]
    assert [one.id for one in history.kept(card=T4.name)] == [1, number]
    lines = list(history.exported(history.kept()))
    assert [json.loads(line).get("kind") for line in lines] == [None, "trace"]
    history.delete([number])
    assert history.ids_kept() == (1,)


def test_a_damaged_entry_is_named(store: Path) -> None:
    number = keep()
    with sqlite3.connect(store) as connection:
        broken = json.dumps({**document(), "kernels": {"steps": "x"}})
        connection.execute("UPDATE verifications SET document = ?", (broken,))
    connection.close()
    with pytest.raises(HistoryError, match=f"delete it with: planner history delete {number}"):
        history.kept()
    with pytest.raises(UsageError):
        history.entry(number + 1)


def test_factors_are_of_the_card_alone(store: Path) -> None:
    keep()
    keep(4.0, target="profiler trace 2")
    traces = [one for one in history.kept() if isinstance(one, TraceEntry)]
    found = card_kernels(traces, T4)
    assert found is not None
    assert found.factors == {KIND: pytest.approx(3.0)}
    assert found.basis == "kernels of this card as measured in 2 traces"
    assert card_kernels(traces, load_gpus().find("a100").spec) is None


@pytest.mark.usefixtures("store")
def test_budgets_have_the_kernels_of_their_card() -> None:
    keep()
    budgets = memory_budgets(["t4", "a100"], hardware_db=None, gpu_memory=None, reserve=0)
    for from_history, factors in ((True, {KIND: pytest.approx(2.0)}), (False, None)):
        found = calibrated_budgets(
            budgets, torch="2.14.1", mode=Mode.TRAIN, from_history=from_history
        )
        t4, a100 = found.budgets
        assert (t4.kernels.factors if t4.kernels else None) == factors
        assert a100.kernels is None
        assert found.warnings == ()
        assert t4.calibration is None
        assert t4.capacity_bytes == budgets[0].capacity_bytes
