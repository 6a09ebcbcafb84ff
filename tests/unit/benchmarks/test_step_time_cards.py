"""Rows of step_time_cards.csv become cases as their columns say."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.record.rows import read_cases
from benchmarks.throughput.records import Case, Use
from benchmarks.throughput.sources import SOURCES, copy_s
from planner.hardware.database import load_gpus


def cases() -> dict[str, Case]:
    names = ("lambda-cards", "small-batches")
    return {one.name: one for name in names for one in read_cases(SOURCES[name])}


def test_all_rows_are_cases_and_doubtful_ones_say_why() -> None:
    found = cases()
    assert Counter(one.use for one in found.values()) == {
        Use.CLEAN: 48, Use.DOUBTFUL: 24, Use.LAUNCH_BOUND: 36
    }  # fmt: skip
    doubts = {one.doubt for one in found.values() if one.use is Use.DOUBTFUL}
    assert doubts == {"reads COCO through DALI, layout not told"}
    assert {one.step.model for one in found.values() if one.doubt} == {"ssd300-resnet50"}


def test_settings_are_those_of_the_row() -> None:
    squad = cases()["lambda-a10-bert-base-squad-fp16"]
    assert (squad.step.card, squad.step.batch_size, squad.tf32) == ("a10", 80, False)
    assert dict(squad.step.options)["precision"] == "fp16"
    assert cases()["lambda-a10-ncf-fp32"].tf32


def test_a_copy_is_waited_for() -> None:
    """12 images of 224 x 224 in float32 through half of the link's rate."""
    small = cases()["ryu-a100-sxm4-40gb-resnet18-float_model_inference"]
    card = load_gpus().find(small.step.card).spec
    assert small.copied_bytes == 12 * 3 * 224 * 224 * 4
    assert copy_s(small, card) == pytest.approx(small.copied_bytes / 12.5e9, rel=0.1)
    half = cases()["ryu-a100-sxm4-40gb-resnet18-half_model_inference"]
    assert copy_s(half, card) == pytest.approx(copy_s(small, card) / 2)
    assert copy_s(cases()["lambda-a10-ncf-fp32"], card) == 0.0
