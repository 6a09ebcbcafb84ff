"""Items of the data: the user's own, timed in the child, and the bytes that they have."""

from __future__ import annotations

from typing import Any, cast

import pytest

from planner.errors import ModelError, TargetError
from planner.estimation import data_source
from planner.estimation.data_source import item_of_batch, measured_data, measured_item
from planner.estimation.job import job_config
from planner.input_pipeline.data_item import parse_data
from planner.process.client import Runner
from planner.wire.data_cost import DataCost

COST = DataCost(
    items=400, cpu_mean_s=4e-3, cpu_median_s=3.9e-3, wall_mean_s=4.1e-3, wall_median_s=4e-3,
    item_bytes=600, collate_s=1e-4,
)  # fmt: skip


class FakeRunner:
    """Stands for the child: gives a cost, or raises."""

    def __init__(self, found: DataCost | Exception) -> None:
        self.found = found

    def data_cost(self, seconds: float) -> DataCost:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def runner(found: DataCost | Exception) -> Runner:
    return cast(Runner, FakeRunner(found))


def test_a_time_is_of_the_reference_core() -> None:
    """A core of half its speed takes twice as long as the reference core."""
    item = measured_item(COST, core_speed=0.5)
    assert item.prepare_s == 2e-3
    assert item.collate_s == 5e-5
    assert (item.item_bytes, item.stored_bytes) == (600, 0)
    assert item.basis == "build_dataset(), 400 items timed on this machine, 4.00 ms of CPU for each"


def test_waits_are_said_and_not_counted() -> None:
    slow = DataCost(**{**COST.to_dict(), "wall_mean_s": 9e-3, "collate_s": None})
    item = measured_item(slow, core_speed=1.0)
    assert (item.prepare_s, item.collate_s) == (4e-3, None)
    assert "took 9.00 ms" in item.basis


def test_items_are_timed_only_where_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_source, "this_core_speed", lambda: 1.0)
    request = job_config(data="tokens")
    assert measured_data(runner(AssertionError("asked")), request) is request
    found = measured_data(runner(COST), job_config(measure_data=True))
    assert found.item is not None
    assert (found.item.name, found.measure_data) == ("build_dataset", False)


@pytest.mark.parametrize(
    "error", [TargetError("no data set"), ModelError("the data set failed: KeyError: 'a'")], ids=str
)
def test_without_a_data_set_there_is_no_answer(error: Exception) -> None:
    with pytest.raises(type(error)):
        measured_data(runner(error), job_config(measure_data=True))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param((1000, 24), 256, id="of the batch"),
        pytest.param((1000, 1), 251, id="rounded up"),
        pytest.param((), 16384, id="its own"),
    ],
)
def test_an_item_has_the_bytes_of_the_steps_batch(sizes: tuple[int, ...], expected: int) -> None:
    item = item_of_batch(parse_data("tokens"), sizes, 4)
    assert item is not None
    assert item.item_bytes == expected


@pytest.mark.parametrize("data", [None, "tensor", "4.8"])
def test_where_nobody_knows_the_bytes_there_is_no_item(data: Any) -> None:
    assert item_of_batch(None if data is None else parse_data(data), (), 4) is None
