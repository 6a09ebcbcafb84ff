"""Rows of step time, host, energy and cost, and the table of every card."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from planner.cost.energy import StepCost
from planner.input_pipeline.host_ram import Room
from planner.render.terminal.estimate import render
from planner.render.terminal.step_time import bound_words, faster, speed_rows
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.results.step_time import Gain, HostNeeds, StepTime
from planner.timing.bottleneck import Bound, without_room
from planner.units import GIB


def said(entry: DeviceEstimate) -> dict[str, str]:
    """Rows that say something."""
    return {label: text for label, text in speed_rows(entry).items() if text}


def test_every_card_has_every_row_and_says_what_is_known(a100: DeviceEstimate) -> None:
    silent = replace(a100, time=None, host=None, cost=None)
    assert said(silent) == {}
    assert list(speed_rows(silent)) == list(speed_rows(a100))
    assert said(a100)["step time"] == "100 ms"
    assert said(a100)["next bound"] == "memory bandwidth, at x2.00"


def test_without_errors_of_past_times_there_is_no_interval(
    a100: DeviceEstimate, step_time: StepTime
) -> None:
    plain = replace(step_time, interval_s=None, interval_coverage=None)
    assert "time interval" not in said(replace(a100, time=plain))
    unknown = replace(step_time, interval_coverage=None)
    assert said(replace(a100, time=unknown))["time interval"] == "80.0 ms to 130 ms"


def test_a_bound_that_is_no_matter_of_time_has_no_share(step_time: StepTime) -> None:
    assert bound_words(step_time) == "compute, 60 %"
    beyond = replace(step_time, bottleneck=without_room(step_time.bottleneck, Bound.HOST_RAM))
    assert bound_words(beyond) == "host RAM"


@pytest.mark.parametrize(
    ("change", "label", "text"),
    [
        ({"cores": None}, "cores needed", "2.35 like AMD EPYC 7742"),
        (
            {"cores_needed": None, "cores_limit": "storage"},
            "cores needed",
            "none is enough: storage",
        ),
        ({"usable_ram_bytes": None, "ram_room": Room.UNKNOWN}, "host memory", "4.00 GiB"),
        (
            {"usable_ram_bytes": 3 * GIB, "ram_room": Room.DOES_NOT_FIT},
            "host memory",
            "no, 1.00 GiB over 3.00 GiB",
        ),
        ({"shm_room": Room.UNKNOWN}, "shared memory", ""),
        ({"shm_room": Room.FITS}, "shared memory", ""),
        ({"data": None}, "cores needed", ""),
        ({"data": None}, "host memory", "4.00 GiB of 8.00 GiB, fits"),
        ({"data": None, "ram_room": Room.UNKNOWN}, "host memory", ""),
        ({"workers": 0}, "workers", "none"),
    ],
    ids=str,
)
def test_the_host_says_what_was_asked(
    a100: DeviceEstimate, host_needs: HostNeeds, change: dict[str, object], label: str, text: str
) -> None:
    entry = replace(a100, host=replace(host_needs, **change))  # type: ignore[arg-type]  # by name
    assert speed_rows(entry)[label] == text


def test_without_a_price_there_is_no_cost(a100: DeviceEstimate, cost: StepCost) -> None:
    assert cost.epoch is not None
    free = replace(cost, price=None, epoch=replace(cost.epoch, money=None, currency=None))
    rows = said(replace(a100, cost=free))
    assert "cost" not in rows
    assert "epoch cost" not in rows
    assert rows["epoch"] == "1.00 h"


def test_cards_with_the_same_gain_share_a_sentence(
    estimate: Estimate, a100: DeviceEstimate, step_time: StepTime
) -> None:
    exact = replace(step_time, gains=(Gain(change="--workers 8", factor=3, is_approximate=False),))
    cards = (
        a100,
        replace(a100, requested="l4"),
        replace(a100, requested="t4", time=exact),
        replace(a100, requested="v100", time=replace(step_time, gains=())),
        replace(a100, requested="p4", time=None),
    )
    assert faster(replace(estimate, gpus=cards)) == (
        "a100, l4: about x2.13 with --precision amp-bf16",
        "t4: x3.00 with --workers 8",
    )


def shown(estimate: Estimate, width: int) -> str:
    console = Console(width=width, force_terminal=False, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(render(estimate))
    return captured.get()


def test_every_card_has_step_time_and_bound_where_they_fit(
    estimate: Estimate, a100: DeviceEstimate, t4: DeviceEstimate
) -> None:
    survey = replace(estimate, is_survey=True, gpus=(a100, t4))
    wide, narrow = shown(survey, 120), shown(survey, 60)
    (line,) = (text for text in wide.splitlines() if text.startswith("t4"))
    assert line.split()[-4:] == ["100", "ms", "VRAM", "capacity"]
    assert "step time" in wide
    assert "bound" not in narrow.splitlines()[4]
    assert max(map(len, narrow.splitlines())) <= 60


def test_without_times_every_card_has_no_column_for_them(
    estimate: Estimate, a100: DeviceEstimate
) -> None:
    survey = replace(estimate, is_survey=True, gpus=(replace(a100, time=None),))
    assert "step time" not in shown(survey, 120)
    assert "largest batch" in shown(survey, 120)
