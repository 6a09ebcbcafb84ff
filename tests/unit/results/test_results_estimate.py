"""Estimate: the figures that follow from others, names of cards, the JSON contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import pytest

from planner.config.step import InputSpec, OptimizerName, Precision, StepConfig
from planner.errors import UsageError
from planner.hardware.database import load_gpus
from planner.results.device_estimate import DeviceEstimate, FitVerdict
from planner.results.estimate import Estimate
from planner.units import GIB, MIB


def test_device_total_is_reserved_plus_context(t4: DeviceEstimate) -> None:
    assert t4.device_total_bytes == 22 * GIB + 198 * MIB


def test_missing_is_what_total_and_reserve_exceed_the_card_by(
    a100: DeviceEstimate, t4: DeviceEstimate
) -> None:
    assert a100.missing_bytes == 0
    assert t4.missing_bytes == 22 * GIB + 198 * MIB - 14909 * MIB
    assert replace(t4, reserve_bytes=GIB).missing_bytes == t4.missing_bytes + GIB


def test_what_does_not_fit_is_missing_something(t4: DeviceEstimate) -> None:
    """Also where the allocator fails although the sum would fit, by a fragment."""
    assert replace(t4, peak_reserved_bytes=GIB).missing_bytes == 1


def test_device_total_holds_what_past_runs_correct(t4: DeviceEstimate) -> None:
    corrected = replace(t4, reserved_offset_bytes=-64 * MIB)
    assert corrected.device_total_bytes == 22 * GIB + (198 - 64) * MIB
    assert corrected.missing_bytes == t4.missing_bytes - 64 * MIB


@pytest.mark.parametrize(
    ("upper_bytes", "reserve_bytes", "verdict"),
    [
        (None, 0, FitVerdict.FITS),
        (81049 * MIB, 0, FitVerdict.FITS),
        (81049 * MIB + 1, 0, FitVerdict.TIGHT),
        (80 * 1000 * MIB, 1049 * MIB, FitVerdict.FITS),
        (80 * 1000 * MIB, 1050 * MIB, FitVerdict.TIGHT),
    ],
)
def test_it_is_tight_where_only_the_upper_end_does_not_fit(
    a100: DeviceEstimate, upper_bytes: int | None, reserve_bytes: int, verdict: FitVerdict
) -> None:
    interval = None if upper_bytes is None else (20 * GIB, upper_bytes)
    entry = replace(a100, device_total_interval_bytes=interval, reserve_bytes=reserve_bytes)
    assert entry.verdict is verdict
    assert entry.to_dict()["verdict"] == verdict.value
    assert replace(entry, fits=False).verdict is FitVerdict.DOES_NOT_FIT


def test_the_first_card_answers_unless_another_is_named(estimate: Estimate) -> None:
    assert estimate.fits() is True
    assert estimate.fits("t4") is False
    assert estimate.total_bytes == estimate.gpus[0].device_total_bytes
    assert estimate.max_batch_size == 57


@pytest.mark.parametrize("name", ["t4", "T4", "Tesla T4", "tesla-t4"])
def test_cards_by_any_spelling(estimate: Estimate, name: str) -> None:
    assert estimate.gpu(name) is estimate.gpus[1]


@pytest.mark.parametrize(
    "name",
    [
        "a100", "A100-SXM4-80GB", "a100_sxm4_80gb", "NVIDIA A100-SXM4-80GB", "nvidia a100 80GB SXM",
        "A100 80GB SXM",
    ],
)  # fmt: skip
def test_a_card_by_every_name_that_the_database_knows(estimate: Estimate, name: str) -> None:
    assert estimate.gpu(name) is estimate.gpus[0]
    assert estimate.gpu(name).id == "a100-sxm4-80gb"


def test_every_card_by_all_of_its_names(estimate: Estimate, t4: DeviceEstimate) -> None:
    """In an estimate of all cards a name leads to the card that it leads to in the database."""
    database = load_gpus()
    found = replace(
        estimate,
        gpus=tuple(
            replace(t4, requested=f"card {number}", id=spec.id, name=spec.name,
                    other_names=spec.other_names)
            for number, spec in enumerate(database.all())
        ),
    )  # fmt: skip
    for spec in database.all():
        for name in (spec.id, spec.id.upper(), *spec.other_names):
            assert found.gpu(name).id == database.find(name).spec.id, name
        assert found.gpu(spec.name).name == spec.name


def test_one_card_asked_for_by_two_names(estimate: Estimate, a100: DeviceEstimate) -> None:
    both = replace(estimate, gpus=(a100, replace(a100, requested="a100-sxm4-80gb")))
    assert both.gpu("a100") is both.gpus[0]
    assert both.gpu("A100 SXM4 80GB") is both.gpus[1]
    assert both.gpu("NVIDIA A100 80GB SXM") is both.gpus[0]


@pytest.mark.parametrize("name", ["0", "1", "", "h100", "a100-pcie-40gb"])
def test_what_is_no_name_of_a_card_of_the_estimate(estimate: Estimate, name: str) -> None:
    with pytest.raises(UsageError, match="it holds a100, t4"):
        estimate.gpu(name)


def test_a_run_on_the_cpu_has_an_entry_without_an_id(
    estimate: Estimate, t4: DeviceEstimate
) -> None:
    entry = replace(t4, requested="cpu", name="AMD EPYC 7B13", id=None, other_names=())
    on_cpu = replace(estimate, gpus=(entry,), engine="cpu")
    assert on_cpu.gpu("cpu") is on_cpu.gpu("amd epyc 7b13") is entry
    assert entry.to_dict()["id"] is None


def test_a_card_that_was_not_asked_for(estimate: Estimate) -> None:
    with pytest.raises(UsageError, match="it holds a100, t4"):
        estimate.fits("h100")


def test_an_estimate_cannot_be_changed(estimate: Estimate) -> None:
    with pytest.raises(FrozenInstanceError):
        estimate.target = "other"  # type: ignore[misc] # that is what is tested


def test_json_document(estimate: Estimate, golden: Callable[[str, str], None]) -> None:
    """The contract: a key may be added; a diff here that removes or renames one breaks users."""
    config = StepConfig(
        precision=Precision.FP32,
        batch_size=16,
        optimizer=OptimizerName.SGD,
        optimizer_arguments=(("lr", 0.1), ("nesterov", True)),
        inputs=(InputSpec(shape=(3, 224, 224)), InputSpec(shape=(8,), dtype="int64", name="ids")),
    )
    document = replace(estimate, config=config, optimizer="SGD").to_dict()
    golden("estimate.json", json.dumps(document, indent=2) + "\n")


def test_the_arguments_of_the_model_are_in_the_document(estimate: Estimate) -> None:
    given = replace(estimate, model_arguments=(("width", 64), ("deep", True)))
    assert given.to_dict()["model_arguments"] == {"width": 64, "deep": True}


def test_json_has_plain_types_only(estimate: Estimate) -> None:
    document = estimate.to_dict()
    assert json.loads(json.dumps(document)) == document


def test_json_keys_that_users_were_promised(estimate: Estimate) -> None:
    document = estimate.to_dict()
    assert document["schema_version"] == 1
    assert document["engine"] == "emulated"
    assert set(document) >= {
        "schema_version", "target", "engine", "versions", "config", "counts", "gpus",
        "assumptions", "warnings",
    }  # fmt: skip
    assert set(document["versions"]) >= {"torch", "cuda", "planner"}
    assert set(document["config"]) >= {"batch_size", "precision", "optimizer", "mode"}
    assert set(document["counts"]) == {
        "parameters", "trainable_parameters", "buffers", "weight_dtypes",
        "forward_flops_per_sample", "step_flops", "recomputed_flops", "activations_per_sample",
        "uncounted_operators",
    }  # fmt: skip
    for card in document["gpus"]:
        assert set(card) >= {
            "name", "requested", "usable_memory_bytes", "context_overhead_bytes",
            "peak_allocated_bytes", "peak_reserved_bytes", "device_total_bytes", "fits",
            "max_batch_size", "attention_backends",
        }  # fmt: skip
