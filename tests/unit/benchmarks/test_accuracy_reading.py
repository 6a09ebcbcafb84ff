"""The published figures are read whole, sampled by a seed, and halved by model."""

from __future__ import annotations

import pytest

from benchmarks.accuracy.reading import family, fitting_half, read_cases, sample, saturated
from benchmarks.accuracy.records import Quantity
from benchmarks.accuracy.sources import SOURCES
from benchmarks.accuracy.worker import decoded, encoded

# Rows of the files in benchmarks/measurements; two figures for each of the 19 runs on the H100.
NUMBERS = {
    "h100-peaks": 38,
    "timm-train": 348,
    "timm-infer": 516,
    "gpumemnet": 1284,
    "milabench": 153,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_all_rows_are_cases(name: str) -> None:
    cases = read_cases(SOURCES[name])
    assert len(cases) == NUMBERS[name]
    assert len({case.name for case in cases}) == len(cases)


def test_a_driver_figure_is_read_in_bytes() -> None:
    (case,) = [
        case
        for case in read_cases(SOURCES["gpumemnet"])
        if case.name == "gpumemnet-timm-bat_resnext26ts-b8"
    ]
    assert (case.measured_bytes, case.batch_size) == (6119 * 1024**2, 8)
    assert (case.card, case.family) == ("a100-sxm4-40gb", "bat")


def test_a_bracket_has_no_figure_and_its_settings() -> None:
    case = read_cases(SOURCES["timm-train"])[0]
    assert case.quantity is Quantity.FITS
    assert case.measured_bytes is None
    assert case.settings == (("image_size", 224),)


def test_settings_that_change_the_model_make_another_group() -> None:
    cases = [case for case in read_cases(SOURCES["milabench"]) if case.model == "bert-base"]
    assert len({case.group for case in cases}) == 4  # two precisions, with and without TF32


def test_full_cards_are_known() -> None:
    assert len(saturated(SOURCES["milabench"])) == 14
    assert not saturated(SOURCES["timm-train"])


def test_a_case_survives_the_way_to_a_worker() -> None:
    case = read_cases(SOURCES["milabench"])[0]
    assert decoded(encoded(case)) == case


@pytest.mark.parametrize(
    ("model", "expected"),
    [("tf_efficientnet_b0", "efficientnet"), ("vgg16_bn", "vgg"), ("resnet50d", "resnet")],
)
def test_family(model: str, expected: str) -> None:
    assert family(model) == expected


def test_a_sample_is_of_whole_models_and_reproducible() -> None:
    cases = read_cases(SOURCES["gpumemnet"])
    drawn = sample(cases, 20, seed=1)
    models = {case.model for case in drawn}
    assert len(drawn) >= 20
    assert drawn == [case for case in cases if case.model in models]
    assert drawn == sample(cases, 20, seed=1)
    assert drawn != sample(cases, 20, seed=2)


def test_a_larger_sample_holds_the_smaller_one() -> None:
    cases = read_cases(SOURCES["gpumemnet"])
    assert set(sample(cases, 20, seed=0)) < set(sample(cases, 60, seed=0))
    assert sample(cases, None, seed=0) == cases


def test_a_name_stays_in_its_half() -> None:
    names = [str(number) for number in range(1000)]
    half = fitting_half(names, seed=0)
    assert 450 < len(half) < 550
    assert fitting_half(names[:10], seed=0) == half & set(names[:10])
    assert fitting_half(names, seed=1) != half
