"""The verdict on top of a report: it says what the rows say, and no more than is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.config.step import Mode, StepConfig
from planner.input_pipeline.host_ram import Room
from planner.render.terminal.verdict import fit_words, verdict
from planner.results.device_estimate import DeviceEstimate, FitVerdict
from planner.results.estimate import Estimate
from planner.results.step_time import HostNeeds
from planner.results.values import ValuesResult
from planner.timing.bottleneck import Bound, without_room
from planner.units import GIB, MIB
from planner.wire.value_reads import Decision, ValueRead


def said(estimate: Estimate) -> dict[str, str]:
    return {name: text.plain for name, text in verdict(estimate)}


def of_card(estimate: Estimate, entry: DeviceEstimate, **change: Any) -> str:
    return said(replace(estimate, gpus=(replace(entry, host=None, **change),)))[entry.requested]


def test_a_card_that_fits_and_one_that_does_not(estimate: Estimate) -> None:
    found = said(estimate)
    assert found["a100"].startswith(
        "fits, 22.5 of 79.1 GiB; largest batch 57; about 160 samples/s, bound by compute"
    )
    assert found["t4"] == (
        "probably does not fit, 22.2 of 14.6 GiB, 7.63 GiB too much (interval not known); largest "
        "batch 10"
    )
    assert found["may help"] == (
        "--checkpoint-activations; --precision bf16 or fp16; --optimizer adamw8bit; --optimizer sgd"
    )
    assert found["warnings"] == "1, see below"
    assert list(found) == ["a100", "t4", "may help", "warnings"]


def test_where_all_fits_nothing_is_said_of_help(estimate: Estimate) -> None:
    assert list(said(replace(estimate, gpus=estimate.gpus[:1], warnings=()))) == ["a100"]


@pytest.mark.parametrize(
    ("change", "words", "verdict_of_the_row"),
    [
        ({}, "fits, 22.5 of 79.1 GiB", FitVerdict.FITS),
        (
            {"device_total_interval_bytes": (70 * GIB, 80 * GIB)},
            "probably fits, 22.5 of 79.1 GiB; it may take up to 80.0 GiB (90 % interval)",
            FitVerdict.TIGHT,
        ),
        (
            {"device_total_interval_bytes": (22 * GIB, 24 * GIB), "reserve_bytes": 56 * GIB},
            "probably fits, 22.5 of 79.1 GiB with 56.0 GiB kept free; it may take up to 24.0 GiB "
            "(90 % interval)",
            FitVerdict.TIGHT,
        ),
        (
            {"device_total_interval_bytes": None, "interval_coverage": None},
            "probably fits, 22.5 of 79.1 GiB (interval not known)",
            FitVerdict.FITS,
        ),
        (
            {"fits": False, "usable_memory_bytes": 22 * GIB},
            "probably does not fit, 22.5 of 22.0 GiB, 512 MiB too much; it may take as little as "
            "22.0 GiB (90 % interval)",
            FitVerdict.DOES_NOT_FIT,
        ),
        (
            {"fits": False, "usable_memory_bytes": 22 * GIB - 1},
            "does not fit, 22.5 of 22.0 GiB, 512 MiB too much",
            FitVerdict.DOES_NOT_FIT,
        ),
        (
            {"peak_reserved_bytes": 100 * MIB, "context_overhead_bytes": 28 * MIB},
            "fits, 128 MiB of 79.1 GiB",
            FitVerdict.FITS,
        ),
    ],
    ids=["fits", "upper end", "kept free", "no interval", "lower end", "does not", "units"],
)
def test_whether_it_fits_is_said_with_what_is_known(
    a100: DeviceEstimate, change: dict[str, Any], words: str, verdict_of_the_row: FitVerdict
) -> None:
    entry = replace(a100, **change)
    assert fit_words(entry) == words
    assert entry.verdict is verdict_of_the_row


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_batch_confirmed": False}, "largest batch 57, not confirmed"),
        ({"max_batch_is_bound": True}, "largest batch 57 or more"),
        ({"max_sequence_length": 1024}, "largest batch 57; longest sequence 1024"),
        ({"max_image": (768, 512)}, "largest batch 57; largest image 768x512"),
        ({"max_frames": 81}, "largest batch 57; most frames 81"),
        ({"max_batch_size": 0}, "not even batch 1 fits"),
        (
            {"max_batch_size": 0, "batch_1_missing_bytes": 3 * GIB},
            "not even batch 1 fits (3.00 GiB too much)",
        ),
    ],
)
def test_the_largest_batch_is_said_as_in_its_row(
    estimate: Estimate, a100: DeviceEstimate, change: dict[str, Any], words: str
) -> None:
    text = of_card(estimate, a100, **change)
    assert text == f"fits, 22.5 of 79.1 GiB; {words}; about 160 samples/s, bound by compute"


def test_what_is_not_known_is_left_out(estimate: Estimate, a100: DeviceEstimate) -> None:
    assert of_card(estimate, a100, max_batch_size=None, time=None) == "fits, 22.5 of 79.1 GiB"


def test_operators_without_a_rule_are_named(estimate: Estimate, a100: DeviceEstimate) -> None:
    assert a100.time is not None
    time = replace(a100.time, uncounted_operators=("aten::fft_rfft",))
    text = of_card(estimate, a100, time=time)
    assert text.endswith("bound by compute, 1 operator without a rule for FLOPs")
    time = replace(time, uncounted_operators=("aten::fft_rfft", "own::kernel"))
    assert of_card(estimate, a100, time=time).endswith("2 operators without a rule for FLOPs")


def test_a_host_without_room_is_no_bound_of_speed(
    estimate: Estimate, a100: DeviceEstimate, host_needs: HostNeeds
) -> None:
    assert a100.time is not None
    time = replace(a100.time, bottleneck=without_room(a100.time.bottleneck, Bound.HOST_RAM))
    host = replace(host_needs, ram_room=Room.DOES_NOT_FIT, usable_ram_bytes=GIB, shm_room=Room.FITS)
    found = said(replace(estimate, gpus=(replace(a100, time=time, host=host),)))
    assert found["a100"].endswith("; about 160 samples/s; host memory: no, 3.00 GiB over 1.00 GiB")


def test_help_is_what_the_step_can_still_do(estimate: Estimate, t4: DeviceEstimate) -> None:
    config = StepConfig(batch_size=16, mode=Mode.INFER)
    found = said(replace(estimate, gpus=(t4,), config=config))
    assert found["may help"] == "--precision bf16 or fp16"
    fragmented = replace(t4, peak_allocated_bytes=GIB)
    found = said(replace(estimate, gpus=(fragmented,), config=config))
    assert found["may help"].startswith("--alloc-conf expandable_segments:True; ")


def survey(estimate: Estimate, *cards: DeviceEstimate) -> str:
    return said(replace(estimate, gpus=cards, is_survey=True))["all cards"]


def test_all_cards_have_one_line(
    estimate: Estimate, a100: DeviceEstimate, t4: DeviceEstimate
) -> None:
    assert a100.time is not None
    fast = replace(
        a100, requested="h200", usable_memory_bytes=140 * GIB,
        time=replace(a100.time, samples_per_s=320.0),
    )  # fmt: skip
    tight = replace(a100, requested="tight", device_total_interval_bytes=(22 * GIB, 80 * GIB))
    assert survey(estimate, t4, a100, fast) == (
        "fits on 2 of 3 cards; smallest a100, 79.1 GiB; fastest h200, about 320 samples/s"
    )
    assert survey(estimate, t4, a100, tight) == (
        "fits on 1 of 3 cards, probably on 1 more; smallest a100, 79.1 GiB"
    ), "two that are as fast: none is named"
    assert survey(estimate, t4, replace(t4, requested="l4", usable_memory_bytes=22 * GIB)) == (
        "probably fits on 0 of 2 cards (interval not known); the nearest is l4, 198 MiB too much"
    )


def test_what_rests_on_drawn_numbers_is_probable(estimate: Estimate, a100: DeviceEstimate) -> None:
    read = ValueRead(
        file="moe.py", line=41, function="route", operator="nonzero", count=2, assumed=2,
        decision=Decision.SIZE,
    )  # fmt: skip
    drawn = replace(estimate, values=ValuesResult(reads=(read,)))
    assert drawn.values.are_decided
    assert of_card(drawn, a100).startswith(
        "probably fits, 22.5 of 79.1 GiB (sizes rest on drawn numbers); largest batch 57"
    )
    tight = {"device_total_interval_bytes": (70 * GIB, 80 * GIB)}
    assert of_card(drawn, a100, **tight).startswith(
        "probably fits, 22.5 of 79.1 GiB; it may take up to 80.0 GiB (90 % interval) "
        "(sizes rest on drawn numbers); "
    )
    assert survey(drawn, a100).startswith(
        "probably fits on 1 of 1 cards (sizes rest on drawn numbers); "
    )
