"""RAM and time of what is kept on the host, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.config.parse import step_config
from planner.config.step import StepConfig
from planner.estimation.job import JobConfig
from planner.estimation.offload import offload_times, offload_words, offloaded_bytes
from planner.estimation.operator_scaling import Counted, counts_at
from planner.input_pipeline.host_budget import HostBudget, PcieLink
from planner.input_pipeline.loader import Loader
from planner.wire.module_counts import FlopRules, ModelCounts, StepCounts, Structure
from planner.wire.offload import (
    Offloaded,
    OffloadedActivations,
    OffloadedOptimizer,
    OffloadedShards,
)
from planner.wire.trace import Counts, Phase

GEN4 = PcieLink(generation=4, lanes=16)
GEN4_BYTES_PER_S, GEN3_BYTES_PER_S = 26.1e9, 12.4e9
ANY = JobConfig(loader=Loader(workers=1))
SLOT_OF_GEN3 = HostBudget(
    requested="host", cores=4.0, threads=4, core_speed=1.0, ram_bytes=2**30, shm_bytes=None,
    storage_bytes_per_s=None, pcie_generation=3, pcie_lanes=16,
)  # fmt: skip
ACTIVATIONS = OffloadedActivations(sizes_bytes=(1000, 24), to_host_bytes=2000, to_card_bytes=3000)
OPTIMIZER = OffloadedOptimizer(
    weight_sizes_bytes=(1000, 16), gradient_sizes_bytes=(1000,), state_bytes=2032,
    update_bytes=50_000,
)  # fmt: skip


def counted(offloaded: Offloaded | None) -> ModelCounts:
    return ModelCounts(
        counts=Counts(parameters=1, trainable_parameters=1, buffers=0),
        step=StepCounts(forward_flops_per_sample=0, step_flops=0, activations_per_sample=0),
        modules=(),
        structure=Structure.WHOLE_MODEL,
        flop_rules=FlopRules.TORCH,
        forward_flops_by_torch=0,
        build_on="meta",
        offloaded=offloaded,
    )


ALONE = StepConfig()
BOTH = counted(Offloaded(activations=ACTIVATIONS, optimizer=OPTIMIZER))


def test_pinned_copies_are_powers_of_two_and_states_are_not() -> None:
    assert offloaded_bytes(counted(None)) == 0
    assert offloaded_bytes(counted(Offloaded(activations=ACTIVATIONS))) == 1024 + 32
    assert offloaded_bytes(BOTH) == (1024 + 32) + (1024 + 16) + 1024 + 2032


def test_copies_go_at_the_rate_of_the_narrower_link() -> None:
    times = offload_times(BOTH, GEN4, ANY, ALONE)
    assert times.activations_s == pytest.approx(5000 / GEN4_BYTES_PER_S)
    assert times.optimizer_copy_s == pytest.approx((1000 + 1016) / GEN4_BYTES_PER_S)
    assert times.update_s == pytest.approx(50_000 / 204.8e9)
    named = replace(ANY, host=SLOT_OF_GEN3, memory_bytes_per_s=10e9)
    times = offload_times(BOTH, GEN4, named, ALONE, grown=2.0)
    assert times.activations_s == pytest.approx(2 * 5000 / GEN3_BYTES_PER_S)
    assert times.optimizer_copy_s == pytest.approx(2016 / GEN3_BYTES_PER_S)
    assert times.update_s == pytest.approx(50_000 / 10e9)


def test_an_unknown_link_is_named() -> None:
    unknown = PcieLink(generation=None, lanes=None)
    assert offload_times(BOTH, unknown, ANY, ALONE).activations_s == 0.0
    assert "the step time lacks its copies" in " ".join(offload_words(BOTH, unknown, ANY, ALONE))
    assert offload_words(counted(None), unknown, ANY, ALONE) == ()


def test_saved_tensors_at_another_batch() -> None:
    def at(batch: int) -> ModelCounts:
        sizes = (100 * batch, 64)
        saved = OffloadedActivations(
            sizes_bytes=sizes, to_host_bytes=sum(sizes), to_card_bytes=sum(sizes)
        )
        return counted(Offloaded(activations=saved, optimizer=OPTIMIZER))

    first, second = (Counted(batch_size=batch, counts=at(batch)) for batch in (8, 24))
    found = counts_at(first, second, 30)
    assert found is not None
    assert found.offloaded == at(30).offloaded
    other = counted(Offloaded(activations=replace(ACTIVATIONS, sizes_bytes=(1, 2, 3))))
    assert counts_at(first, Counted(batch_size=24, counts=other), 30) is None


SHARDS = OffloadedShards(
    parameter_sizes_bytes=(1000, 16), gradient_sizes_bytes=(1000,), state_bytes=2032,
    update_bytes=50_000, to_card_forward_bytes=1016, to_card_backward_bytes=16,
    largest_unit_bytes=1000,
)  # fmt: skip
EIGHT_RANKS = step_config({"parallel": "fsdp=8"})
# A usual machine with several cards has two sockets, and its ranks share their memory.
SHARE_BYTES_PER_S = 2 * 204.8e9 / 8


def test_shards_on_the_host() -> None:
    pinned = counted(Offloaded(shards=SHARDS))
    assert offloaded_bytes(pinned) == (1024 + 16) + 1024 + 2032
    pageable = counted(Offloaded(shards=replace(SHARDS, pinned=False)))
    assert offloaded_bytes(pageable) == 1016 + 1000 + 2032
    times = offload_times(pinned, GEN4, ANY, EIGHT_RANKS)
    assert times.update_s == pytest.approx(50_000 / SHARE_BYTES_PER_S)
    assert (times.activations_s, times.optimizer_copy_s) == (0.0, 0.0)
    assert times.shards is not None
    assert times.shards.overlap
    assert dict(times.shards.phases_s) == pytest.approx(
        {
            Phase.FORWARD: 1016 / GEN4_BYTES_PER_S,
            Phase.BACKWARD: 1000 / GEN4_BYTES_PER_S,  # both ways at once: the longer one
        }
    )
    assert times.shards.unit_s == pytest.approx(1000 / GEN4_BYTES_PER_S)


def test_copies_of_several_ranks_are_not_faster_than_their_memory() -> None:
    slow = replace(ANY, memory_bytes_per_s=80e9)  # 10 GB/s for each of 8
    times = offload_times(counted(Offloaded(shards=SHARDS)), GEN4, slow, EIGHT_RANKS)
    assert times.shards is not None
    assert dict(times.shards.phases_s) == pytest.approx(
        {Phase.FORWARD: 1016 / 10e9, Phase.BACKWARD: (16 + 1000) / 10e9}
    )


def test_shards_in_pageable_memory_are_waited_for() -> None:
    pageable = counted(Offloaded(shards=replace(SHARDS, pinned=False)))
    times = offload_times(pageable, GEN4, ANY, EIGHT_RANKS)
    assert times.shards is not None
    assert not times.shards.overlap
    rate = GEN4_BYTES_PER_S / 2
    assert dict(times.shards.phases_s) == pytest.approx(
        {Phase.FORWARD: 1016 / rate, Phase.BACKWARD: 1016 / rate}
    )


def test_gradients_of_later_micro_batches_are_added_on_the_host() -> None:
    thrice = replace(EIGHT_RANKS, accumulate=3)
    times = offload_times(counted(Offloaded(shards=SHARDS)), GEN4, ANY, thrice)
    assert times.update_s == pytest.approx((50_000 + 2 * 3 * 1000) / SHARE_BYTES_PER_S)
    assert times.optimizer_copy_s == pytest.approx(2 * 1000 / (GEN4_BYTES_PER_S / 2))
    clipped = replace(thrice, clip_grad_norm=1.0)
    words = " ".join(offload_words(counted(Offloaded(shards=SHARDS)), GEN4, ANY, clipped))
    assert "the share of one of 8 ranks" in words
    assert "OMP_NUM_THREADS" in words
    assert "cpu:gloo" in words
