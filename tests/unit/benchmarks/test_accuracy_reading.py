"""The published figures are read whole, sampled by a seed, and halved by model."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict

import pytest

from benchmarks.accuracy.predicting import decoded
from benchmarks.accuracy.reading import family, saturated
from benchmarks.accuracy.records import Quantity
from benchmarks.accuracy.sources import SOURCES
from benchmarks.record.emulated import config_of, target_of
from benchmarks.record.rows import MEASUREMENTS, fitting_half, read_cases, sample
from planner.config.step import BuildOn, Precision

GPUS = ("several-gpus", "several-gpus-fits")
# Rows of the files in benchmarks/measurements; two figures for each of the 19 runs on the H100.
NUMBERS = {
    "h100-peaks": 38,
    "timm-train": 348,
    "timm-infer": 516,
    "gpumemnet": 1284,
    "milabench": 153,
    "peft-metamath": 63,
    "vramcalc": 5,
    "fms-mistral": 6,
    "several-gpus": 17,
    "several-gpus-fits": 9,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_all_rows_are_cases(name: str) -> None:
    cases = read_cases(SOURCES[name])
    assert len(cases) == NUMBERS[name]
    assert len({case.name for case in cases}) == len(cases)


def test_two_figures_of_a_run_have_one_step() -> None:
    """The model file enters autocast itself: planner casts nothing for it."""
    of_peaks = read_cases(SOURCES["h100-peaks"])
    pair = [case for case in of_peaks if case.run == "vit-huge-64-autocast-fp16"]
    assert [case.quantity for case in pair] == [Quantity.PEAK_ALLOCATED, Quantity.PEAK_RESERVED]
    (step,) = {case.step for case in pair}
    config = config_of(step)
    assert (config.precision, config.steps, config.batch_size) == (Precision.FP32, 5, 64)
    assert config.build_on is BuildOn.DEVICE
    assert ("precision", "autocast-fp16") in target_of(step).arguments
    (half,) = {case.step for case in of_peaks if case.run == "vit-huge-64-fp16"}
    assert config_of(half).precision is Precision.FP16


def test_a_driver_figure_is_read_in_bytes() -> None:
    (case,) = [
        case
        for case in read_cases(SOURCES["gpumemnet"])
        if case.name == "gpumemnet-timm-bat_resnext26ts-b8"
    ]
    assert (case.measured_bytes, case.step.batch_size) == (6119 * 1024**2, 8)
    assert (case.step.card, case.family) == ("a100-sxm4-40gb", "bat")


def test_a_bracket_has_no_figure_and_its_settings() -> None:
    case = read_cases(SOURCES["timm-train"])[0]
    assert case.quantity is Quantity.FITS
    assert case.measured_bytes is None
    assert case.step.image_size == 224


def test_settings_that_change_the_model_make_another_group() -> None:
    cases = [case for case in read_cases(SOURCES["milabench"]) if case.step.model == "bert-base"]
    assert len({case.group for case in cases}) == 4  # two precisions, with and without TF32


def test_a_figure_in_bytes_is_taken_as_it_is() -> None:
    (case,) = [
        case
        for case in read_cases(SOURCES["peft-metamath"])
        if case.name == "lora--llama-3.2-3B-rank32"
    ]
    assert case.measured_bytes == 22_292_725_760
    assert case.quantity is Quantity.PEAK_RESERVED
    assert (case.family, case.step.card) == ("lora", "l40s")
    assert dict(case.step.arguments) == {"name": "lora", "experiment": case.name}
    assert dict(case.step.options)["precision"] == "as-built"


def test_switches_are_yes_or_no() -> None:
    case = read_cases(SOURCES["vramcalc"])[3]
    arguments = {"lora": True, "amp": True, "checkpointed": True}
    assert dict(case.step.arguments) == {"name": "llama-3.2-1b", **arguments}
    assert case.measured_bytes == 9_510_000_000


def test_each_run_of_an_adapter_has_its_configuration() -> None:
    path = MEASUREMENTS / "peft_metamath_adapters.json"
    adapters = json.loads(path.read_text(encoding="utf-8"))
    assert set(adapters) == {case.name for case in read_cases(SOURCES["peft-metamath"])}
    without = [name for name, one in adapters.items() if "peft_type" not in one.get("adapter", {})]
    assert without == ["full-finetuning--llama-3.2-3B-lr_0.00001"]
    assert all("lr" in one["optimizer_arguments"] for one in adapters.values())


def test_a_run_on_several_gpus_is_one_rank_of_it() -> None:
    (case,) = [
        case
        for case in read_cases(SOURCES["several-gpus"])
        if case.name == "torchtitan-165-FSDP2-TP2-op peak active"
    ]
    assert case.measured_bytes == round(0.7649 * 95.0396 * 1024**3)
    assert (case.quantity, case.run) == (Quantity.PEAK_ACTIVE, "torchtitan-165-FSDP2-TP2-op")
    config = config_of(case.step)
    assert config.parallel is not None
    assert config.parallel.dimensions == (("dp_shard", 4), ("tp", 2))
    assert (config.batch_size, config.steps, config.precision) == (16, 3, Precision.FP32)
    assert ("sequence_length", 2048) in target_of(case.step).arguments


def test_a_setting_that_was_not_stated_is_chosen_on_few_figures() -> None:
    cases = read_cases(SOURCES["several-gpus"])
    assert {case.name for case in cases if case.chosen_on} == {
        "torchtitan-2412-8b-8", "torchtitan-2412-8b-128", "pytorch-129721-after-step2",
        "torchtitan-165-FSDP1-full peak active", "torchtitan-165-FSDP1-full peak reserved",
        "torchtitan-165-FSDP2-TP2-full peak active", "torchtitan-165-FSDP2-TP2-op peak active",
    }  # fmt: skip


def test_every_published_row_of_several_gpus_is_a_case_or_has_a_reason() -> None:
    with (MEASUREMENTS / "several_gpus_published.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = {case.name for name in GPUS for case in read_cases(SOURCES[name])}
    assert len({row["id"] for row in rows}) == len(rows) == 84
    for row in rows:
        assert row["source_repository"]
        assert row["source_path"]
        assert (row["case"] in known) == (row["use"] == "case") == (not row["reason"])
    # The commit message has four figures more than the pull request.
    assert {name for name in known if "TP2" not in name} == {row["case"] for row in rows} - {""}


def test_a_published_throughput_is_of_a_run_that_has_a_case() -> None:
    with (MEASUREMENTS / "several_gpus_throughput.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = {case.run for name in GPUS for case in read_cases(SOURCES[name])}
    assert len(rows) == 17
    assert {row["run"] for row in rows} <= known
    assert all(float(row["tokens_per_s_per_gpu"]) > 0 and row["source_path"] for row in rows)


def test_full_cards_are_known() -> None:
    assert len(saturated(SOURCES["milabench"])) == 14
    assert not saturated(SOURCES["timm-train"])


def test_a_case_survives_the_way_to_a_worker() -> None:
    case = read_cases(SOURCES["milabench"])[0]
    assert decoded(json.loads(json.dumps(asdict(case)))) == case


@pytest.mark.parametrize(
    ("model", "expected"),
    [("tf_efficientnet_b0", "efficientnet"), ("vgg16_bn", "vgg"), ("resnet50d", "resnet")],
)
def test_family(model: str, expected: str) -> None:
    assert family(model) == expected


def test_a_sample_is_of_whole_models_and_reproducible() -> None:
    cases = read_cases(SOURCES["gpumemnet"])
    drawn = sample(cases, 20, seed=1)
    models = {case.step.model for case in drawn}
    assert len(drawn) >= 20
    assert drawn == [case for case in cases if case.step.model in models]
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
