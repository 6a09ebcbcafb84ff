"""The ways to use a number of GPUs, and the micro-batches that keep the samples of a step."""

from __future__ import annotations

from math import prod

import pytest

from planner.config.parse import step_config
from planner.estimation.spread.micro_batches import (
    MOST_SAMPLES,
    MicroBatches,
    micro_batches,
    next_larger,
    share_of_rank,
)
from planner.estimation.spread.spreads import Spread, sizes_of_jobs, spreads


def words(gpus: int, hosts: int) -> list[str]:
    return [" ".join((one.parallel, *one.arguments)) for one in spreads(gpus, hosts)]


def test_one_gpu_is_not_spread() -> None:
    assert [one.parallel for one in spreads(1, 1)] == [""]
    assert spreads(1, 1)[0].options == {}


def test_the_gpus_of_one_machine() -> None:
    keeps = "fsdp=8 reshard_after_forward=false"
    assert words(8, 1) == [
        "ddp=8", "zero1=8", "fsdp=8", keeps, "fsdp=4,tp=2", "fsdp=4,cp=2", "fsdp=2,tp=4",
        "fsdp=2,cp=4", "tp=8", "fsdp=1,cp=8",
    ]  # fmt: skip


def test_hsdp_shards_over_whole_machines() -> None:
    found = {one.parallel for one in spreads(32, 4)}
    assert {"hsdp=4x8", "hsdp=2x16"} <= found
    assert not [one for one in found if one.startswith("hsdp=8x4,") and "tp" not in one]
    assert "hsdp=4x4,tp=2" in found


@pytest.mark.parametrize(("gpus", "hosts"), [(2, 1), (8, 1), (6, 2), (32, 4), (4096, 512)])
def test_every_spread_is_one_that_a_run_takes(gpus: int, hosts: int) -> None:
    for one in spreads(gpus, hosts):
        assert one.replicate * one.shard * one.context * one.tensor == gpus
        config = step_config(dict(one.options)).parallel
        assert config is not None
        degrees = (config.replicate, config.shard, config.context, config.tensor)
        assert degrees == (one.replicate, one.shard, one.context, one.tensor), one.parallel
        assert (config.gpus, config.hosts) == (gpus, hosts)
        assert prod(degrees) == gpus
        assert config.fsdp.reshard_after_forward is (False if one.keeps_gathered else None)


def test_state_is_divided_by_shards_and_not_by_replicas() -> None:
    one = Spread(gpus=32, hosts=4, replicate=4, shard=4, tensor=2)
    assert (one.state_ranks, one.sample_ranks) == (8, 16)


def test_numbers_of_cards_are_powers_of_two_then_whole_machines() -> None:
    found = list(sizes_of_jobs(8, 40))
    assert found == [(1, 1), (2, 1), (4, 1), (8, 1), (16, 2), (24, 3), (32, 4), (40, 5)]
    assert list(sizes_of_jobs(6, 12)) == [(1, 1), (2, 1), (4, 1), (6, 1), (12, 2)]
    assert list(sizes_of_jobs(8, 3)) == [(1, 1), (2, 1)]


@pytest.mark.parametrize(
    ("share", "largest", "found"),
    [
        (64, 10, (8, 8)),
        (64, 64, (64, 1)),
        (64, 100, (64, 1)),
        (7, 3, (1, 7)),
        (None, 10, (10, 1)),
        (None, 10 * MOST_SAMPLES, (MOST_SAMPLES, 1)),
    ],
)
def test_micro_batches_keep_the_samples(
    share: int | None, largest: int, found: tuple[int, int]
) -> None:
    size, times = found
    assert micro_batches(share, largest) == MicroBatches(batch_size=size, accumulate=times)


def test_no_micro_batch_has_no_sample() -> None:
    assert micro_batches(8, 0) is None


def test_samples_are_dealt_out_equally_or_not_at_all() -> None:
    assert share_of_rank(64, 8) == 8
    assert share_of_rank(60, 8) == 0
    assert share_of_rank(None, 8) is None


def test_the_next_larger_micro_batch_is_one_that_could_be_taken() -> None:
    assert next_larger(64, 8) == 16
    assert next_larger(64, 64) is None
    assert next_larger(None, 8) == 9
    assert next_larger(None, MOST_SAMPLES) is None
