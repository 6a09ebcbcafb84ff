"""RAM and time of what is kept on the host, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.estimation.job import JobConfig
from planner.estimation.offload import offload_times, offload_words, offloaded_bytes
from planner.estimation.operator_scaling import Counted, counts_at
from planner.input_pipeline.host_budget import HostBudget, PcieLink
from planner.input_pipeline.loader import Loader
from planner.wire.module_counts import FlopRules, ModelCounts, StepCounts, Structure
from planner.wire.offload import Offloaded, OffloadedActivations, OffloadedOptimizer
from planner.wire.trace import Counts

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


BOTH = counted(Offloaded(activations=ACTIVATIONS, optimizer=OPTIMIZER))


def test_pinned_copies_are_powers_of_two_and_states_are_not() -> None:
    assert offloaded_bytes(counted(None)) == 0
    assert offloaded_bytes(counted(Offloaded(activations=ACTIVATIONS))) == 1024 + 32
    assert offloaded_bytes(BOTH) == (1024 + 32) + (1024 + 16) + 1024 + 2032


def test_copies_go_at_the_rate_of_the_narrower_link() -> None:
    times = offload_times(BOTH, GEN4, ANY)
    assert times.activations_s == pytest.approx(5000 / GEN4_BYTES_PER_S)
    assert times.optimizer_copy_s == pytest.approx((1000 + 1016) / GEN4_BYTES_PER_S)
    assert times.update_s == pytest.approx(50_000 / 204.8e9)
    named = replace(ANY, host=SLOT_OF_GEN3, memory_bytes_per_s=10e9)
    times = offload_times(BOTH, GEN4, named, grown=2.0)
    assert times.activations_s == pytest.approx(2 * 5000 / GEN3_BYTES_PER_S)
    assert times.optimizer_copy_s == pytest.approx(2016 / GEN3_BYTES_PER_S)
    assert times.update_s == pytest.approx(50_000 / 10e9)


def test_an_unknown_link_is_named() -> None:
    unknown = PcieLink(generation=None, lanes=None)
    assert offload_times(BOTH, unknown, ANY).activations_s == 0.0
    assert "the step time lacks its copies" in " ".join(offload_words(BOTH, unknown, ANY))
    assert offload_words(counted(None), unknown, ANY) == ()


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
