"""Advice: what is said about cards that are too small, and what is never said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.config.parallel import DataParallel, ParallelConfig
from planner.config.step import Mode, Precision, StepConfig
from planner.config.weights import WeightDtype
from planner.memory.peak import Breakdown, Held
from planner.render.terminal.advice import advice
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.units import GIB
from planner.wire.trace import Origin, Phase, TensorCategory


def on(card: DeviceEstimate, estimate: Estimate, **config: Any) -> str:
    """All advice for one card, with the step changed."""
    changed = StepConfig(**{"batch_size": 16, **config})
    return "\n".join(advice(replace(estimate, gpus=(card,), config=changed)))


def test_weights_in_half_precision_are_not_offered_it(
    estimate: Estimate, t4: DeviceEstimate
) -> None:
    offer = "--precision bf16 or fp16"
    half = WeightDtype(dtype="bfloat16", elements=100, size_bytes=200)
    built_in_half = replace(
        estimate, counts=replace(estimate.counts, weight_dtypes=(half,)), gpus=(t4,)
    )
    for precision in (Precision.AS_BUILT, Precision.AMP_BF16):
        assert offer not in on(t4, built_in_half, precision=precision)
        assert offer in on(t4, estimate, precision=precision)
    assert offer not in on(t4, estimate, precision=Precision.BF16)


def test_nothing_is_said_where_everything_fits(estimate: Estimate, a100: DeviceEstimate) -> None:
    assert advice(replace(estimate, gpus=(a100,))) == ()


def test_only_the_card_that_is_too_small_is_named(estimate: Estimate) -> None:
    first, *rest = advice(estimate)
    assert first.startswith("t4: batch 16 takes 22.2 GiB of 14.6 GiB, 7.63 GiB too much")
    assert not any("a100" in text for text in (first, *rest))


def test_largest_batch_and_how_to_keep_the_samples(estimate: Estimate, t4: DeviceEstimate) -> None:
    text = on(t4, estimate)
    assert "the largest batch that fits is 10" in text
    assert "to keep 16 samples a step, try --batch 8 --accumulate 2" in text


def test_samples_kept_count_the_accumulation_there_is(
    estimate: Estimate, t4: DeviceEstimate
) -> None:
    text = on(t4, estimate, batch_size=15, accumulate=4)
    assert "to keep 60 samples a step, try --batch 5 --accumulate 12" in text


@pytest.mark.parametrize(
    ("batch_1_missing_bytes", "said"),
    [(None, "batch 1 does not run either"), (2 * GIB, "does not run either: 2.00 GiB too much")],
)
def test_batch_1_does_not_fit(
    estimate: Estimate, t4: DeviceEstimate, batch_1_missing_bytes: int | None, said: str
) -> None:
    card = replace(t4, max_batch_size=0, batch_1_missing_bytes=batch_1_missing_bytes)
    assert advice(replace(estimate, gpus=(card,)))[0].endswith(said)


def test_asked_for_batch_1_says_it_once(estimate: Estimate, t4: DeviceEstimate) -> None:
    text = on(replace(t4, max_batch_size=0, batch_1_missing_bytes=8 * GIB), estimate, batch_size=1)
    assert "batch 1 takes 22.2 GiB of 14.6 GiB, 7.63 GiB too much" in text
    assert "either" not in text


def test_without_a_search_no_batch_is_promised(estimate: Estimate, t4: DeviceEstimate) -> None:
    text = on(replace(t4, max_batch_size=None), estimate)
    assert "largest batch" not in text
    assert "--batch" not in text


def test_reserve_is_counted_and_named(estimate: Estimate, t4: DeviceEstimate) -> None:
    text = on(replace(t4, reserve_bytes=GIB), estimate)
    assert "with 1.00 GiB kept free, 8.63 GiB too much" in text


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        ({"checkpoint_activations": True}, "--checkpoint-activations"),
        ({"precision": Precision.BF16}, "--precision"),
        ({"precision": Precision.FP16}, "--precision"),
        ({}, "--no-set-to-none"),
        ({}, "no --accumulate"),
    ],
    ids=str,
)
def test_what_is_in_use_is_not_advised(
    estimate: Estimate, t4: DeviceEstimate, config: dict[str, Any], missing: str
) -> None:
    assert missing not in on(t4, estimate, **config)


def test_everything_that_takes_less_is_named(estimate: Estimate, t4: DeviceEstimate) -> None:
    text = on(t4, estimate, accumulate=2, set_to_none=False)
    for option in (
        "--checkpoint-activations",
        "--precision bf16 or fp16",
        "--optimizer sgd",
        "no --accumulate",
        "no --no-set-to-none",
    ):
        assert option in text


def test_inference_knows_no_training(estimate: Estimate, t4: DeviceEstimate) -> None:
    text = on(t4, estimate, mode=Mode.INFER)
    assert "--precision bf16 or fp16 (weights in 2 bytes a value)" in text
    for option in ("--accumulate", "--optimizer", "--checkpoint-activations"):
        assert option not in text


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        ("AdamW (fused)", ["--optimizer adamw8bit", "AdamW keeps 2 values a parameter"]),
        ("Adam", ["--optimizer adamw8bit", "Adam keeps 2 values a parameter"]),
        ("AdamW8bit", ["--optimizer sgd (no state; AdamW8bit keeps 2 bytes a parameter)"]),
    ],
)
def test_state_that_can_be_smaller(
    estimate: Estimate, t4: DeviceEstimate, optimizer: str, words: list[str]
) -> None:
    text = "\n".join(advice(replace(estimate, gpus=(t4,), optimizer=optimizer)))
    assert all(one in text for one in words)
    assert ("adamw8bit" in text) is (optimizer != "AdamW8bit")


@pytest.mark.parametrize("optimizer", ["SGD", "PagedAdamW8bit", "Muon + AdamW", "Lion"])
def test_an_optimizer_with_little_state_is_left_alone(
    estimate: Estimate, t4: DeviceEstimate, optimizer: str
) -> None:
    changed = replace(estimate, gpus=(t4,), optimizer=optimizer)
    assert not any("--optimizer" in text for text in advice(changed))


@pytest.mark.parametrize(
    ("alloc_conf", "said"), [(None, True), ("roundup_power2_divisions:4", False)]
)
def test_fragmentation(
    estimate: Estimate, t4: DeviceEstimate, alloc_conf: str | None, said: bool
) -> None:
    card = replace(t4, peak_allocated_bytes=14 * GIB, peak_reserved_bytes=15 * GIB)
    assert ("expandable_segments:True" in on(card, estimate, alloc_conf=alloc_conf)) is said


@pytest.mark.parametrize(("held_bytes", "advised"), [(64 << 20, True), (512, False)])
def test_checkpointing_is_for_a_peak_that_holds_activations(
    estimate: Estimate, held_bytes: int, advised: bool
) -> None:
    held = Held(
        size_bytes=held_bytes,
        block_bytes=held_bytes,
        category=TensorCategory.SAVED_ACTIVATION,
        step=1,
        phase=Phase.FORWARD,
        origin=Origin(),
    )
    found = Breakdown(
        held=(held,), peak_step=1, peak_phase=Phase.BACKWARD, step_peak_bytes=(held_bytes,)
    )
    small = replace(estimate.gpus[1], fits=False, breakdown=found)
    said = " ".join(advice(replace(estimate, gpus=(small,))))
    assert ("--checkpoint-activations" in said) is advised


def test_several_gpus_that_each_keep_the_whole_are_offered_shards(
    estimate: Estimate, t4: DeviceEstimate
) -> None:
    shards, advise = "--parallel fsdp (parameters", "planner advise, with the same words"
    ddp = ParallelConfig(gpus=8, data=DataParallel.DDP, replicate=8)
    assert shards in on(t4, estimate, parallel=ddp)
    assert shards not in on(t4, estimate)
    assert shards not in on(t4, estimate, parallel=replace(ddp, data=DataParallel.FSDP))
    assert advise in on(t4, estimate)
    assert advise not in on(t4, estimate, parallel=ddp)  # it is about one GPU
