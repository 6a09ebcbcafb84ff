"""Batches by hand: cores, workers, hand-over, storage, PCIe, and what overlaps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import UsageError
from planner.input_pipeline import rates as input_pipeline
from planner.input_pipeline.data_item import DataItem, parse_data, with_batch
from planner.input_pipeline.feeding import cores_needed, workers_needed
from planner.input_pipeline.host_budget import (
    HostBudget,
    PcieLink,
    effective_cores,
    h2d_bytes_per_s,
    narrower,
)
from planner.input_pipeline.loader import Loader
from planner.input_pipeline.rates import InputLimit, InputTimes, input_times, step_with_input


@pytest.fixture(autouse=True)
def alike_in_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items cost in a worker what they cost elsewhere, for arithmetic by hand."""
    monkeypatch.setattr(input_pipeline, "_IN_WORKER", 1.0)


GEN4 = PcieLink(generation=4, lanes=16)


def host(**changes: Any) -> HostBudget:
    given: dict[str, Any] = {
        "requested": "test",
        "cores": 4.0,
        "threads": 8,
        "core_speed": 1.0,
        "ram_bytes": 64 << 30,
        "shm_bytes": None,
        "storage_bytes_per_s": None,
        "pcie_generation": 4,
        "pcie_lanes": 16,
        **changes,
    }
    return HostBudget(**given)


def item(prepare_s: float = 5e-3, item_bytes: int = 0, stored_bytes: int = 0) -> DataItem:
    """Items that cost nothing beside their preparation, unless they have bytes."""
    return DataItem(
        name="test",
        prepare_s=prepare_s,
        item_bytes=item_bytes,
        stored_bytes=stored_bytes,
        basis="test",
    )


def times(workers: int, one: DataItem | None = None, **changes: Any) -> InputTimes:
    loader = Loader(workers=workers, pin_memory=False)
    return input_times(one or item(), 100, loader, host(**changes), GEN4)


@pytest.mark.parametrize(
    ("busy", "cores", "threads", "expected"),
    [
        (1, 4.0, 8, 1.0),
        (4, 4.0, 8, 4.0),
        (6, 4.0, 8, 4.6),  # two siblings, 0.3 each
        (8, 4.0, 8, 5.2),
        (20, 4.0, 8, 5.2),
        (3, 2.0, 2, 2.0),
        (2, 1.5, 2, 1.5),  # a cgroup's half core has no sibling
        (1, 0.5, 1, 0.5),
    ],
)
def test_a_core_each_then_siblings(busy: int, cores: float, threads: int, expected: float) -> None:
    found = effective_cores(host(cores=cores, threads=threads), busy)
    assert found == pytest.approx(expected)


def test_one_two_and_four_workers_of_many_cores() -> None:
    """100 items of 5 ms and 0.66 ms to send."""
    for workers in (1, 2, 4):
        found = times(workers)
        assert found.loader_s == pytest.approx((0.5 + 0.66e-3) / workers)
        assert found.limit is InputLimit.WORKERS


def test_workers_share_the_cores_with_the_process_that_trains() -> None:
    found = times(2, cores=2.0, threads=2)
    assert found.loader_s == pytest.approx((0.5 + 0.66e-3 + 0.51e-3) / 2)
    assert found.limit is InputLimit.CORES
    loader = Loader(workers=2, pin_memory=False)
    busy = input_times(item(), 100, loader, host(cores=2.0, threads=2), GEN4, trainer_s=0.2)
    assert busy.loader_s == pytest.approx(found.loader_s + 0.1)


def test_no_workers_means_no_overlap() -> None:
    found = times(0, item(item_bytes=261_000))
    copied = 26_100_000 / 26.1e9 * 2  # pageable: half the rate
    assert found.copy_s == pytest.approx(copied)
    assert found.loader_s == pytest.approx(0.5 + 26.1e6 / 1.4e9)
    assert (found.limit, found.take_s, found.send_s) == (InputLimit.NO_WORKERS, 0, 0)
    assert step_with_input(0.3, found) == pytest.approx(found.loader_s + copied + 0.3)


def test_storage_and_the_hand_over_limit() -> None:
    slow = times(4, item(stored_bytes=100_000), storage_bytes_per_s=1e7)
    assert (slow.loader_s, slow.limit) == (pytest.approx(1.0), InputLimit.STORAGE)
    large = times(8, item(1e-6, 7_900_000), cores=64.0, threads=128)
    assert large.limit is InputLimit.HAND_OVER
    assert large.loader_s == pytest.approx(0.1 + 0.51e-3)


def test_a_core_twice_as_fast_takes_half() -> None:
    assert times(2, core_speed=2.0).loader_s == pytest.approx(times(2).loader_s / 2)


@pytest.mark.parametrize(
    ("card", "slot", "expected"),
    [
        ((4, 16), (4, 16), 26.1e9),
        ((4, 16), (3, 16), 12.4e9),  # the slot decides
        ((4, 8), (5, 16), 13.05e9),  # the card decides
        ((3, 8), (None, None), 6.2e9),
        ((None, None), (5, 16), 52e9),
        ((9, 16), (9, 16), 100e9),
        ((None, 16), (None, 16), None),
    ],
)
def test_the_narrower_link(
    card: tuple[int | None, int | None],
    slot: tuple[int | None, int | None],
    expected: float | None,
) -> None:
    one, other = (PcieLink(generation=gen, lanes=lanes) for gen, lanes in (card, slot))
    rate = h2d_bytes_per_s(narrower(one, other), pinned=True)
    assert rate == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("gpu_s", "pin", "overlap", "expected"),
    [
        (1.0, True, True, 1.0),  # bound by the card
        (0.01, True, True, 0.1),  # by the copy
        (1.0, True, False, 1.1),
        (1.0, False, True, 1.2),  # pageable
    ],
)
def test_what_overlaps_is_hidden(gpu_s: float, pin: bool, overlap: bool, expected: float) -> None:
    loader = Loader(workers=60, pin_memory=pin, copies_overlap=overlap)
    one = item(1e-9, 26_100_000)
    fast = host(core_speed=100.0, cores=64.0)
    found = input_times(one, 100, loader, fast, GEN4)
    assert step_with_input(gpu_s, found) == pytest.approx(expected)


def test_a_slow_loader_bounds_the_step() -> None:
    found = times(1)
    assert step_with_input(0.1, found) == found.loader_s


def test_an_unknown_link_counts_as_no_copy() -> None:
    unknown = PcieLink(generation=None, lanes=None)
    blind = host(pcie_generation=None, pcie_lanes=None)
    found = input_times(item(), 100, Loader(workers=1), blind, unknown)
    assert found.copy_s is None
    assert step_with_input(9.0, found) == 9.0


def test_cores_for_a_card() -> None:
    """A ResNet-50 on an A100: 2470 pictures a second, 12 to 13 cores that decode 420 a second."""
    slow = host(core_speed=420 / 537)
    needed = cores_needed(parse_data("imagenet-jpeg"), 2470, slow, pin_memory=False)
    assert needed.cores == pytest.approx(2470 * 4.8e-3, rel=0.15)
    assert needed.limit is None


def test_what_no_number_of_cores_feeds() -> None:
    jpeg = parse_data("imagenet-jpeg")
    disk = cores_needed(jpeg, 2000, host(storage_bytes_per_s=100e6))
    assert (disk.cores, disk.limit) == (None, InputLimit.STORAGE)
    hand = cores_needed(jpeg, 50_000, host())
    assert (hand.cores, hand.limit) == (None, InputLimit.HAND_OVER)


def test_workers_for_a_card() -> None:
    found = workers_needed(item(), 399.6, host(cores=8.0), pin_memory=False)
    assert (found.workers, found.limit) == (3, None)  # 2 give 399.5: 100 in 0.50066 s each
    none = workers_needed(item(), 4000.0, host(), pin_memory=False)
    assert (none.workers, none.limit) == (None, InputLimit.CORES)


@given(
    prepare_s=st.floats(1e-6, 1.0),
    size=st.integers(0, 10**7),
    cores=st.floats(0.5, 64),
    smt=st.booleans(),
    workers=st.integers(1, 63),
)
def test_more_workers_are_never_slower_and_dearer_items_never_faster(
    prepare_s: float, size: int, cores: float, smt: bool, workers: int
) -> None:
    there = {"cores": cores, "threads": int(cores * (1 + smt)) + 1}
    one = item(prepare_s, size)
    before = times(workers, one, **there).loader_s
    assert times(workers + 1, one, **there).loader_s <= before * (1 + 1e-9)
    assert times(workers, item(prepare_s * 1.5, size), **there).loader_s >= before


def test_words_of_a_data_item() -> None:
    jpeg = parse_data(" ImageNet-JPEG ")
    assert jpeg.prepare_s == pytest.approx(4.8e-3 * 420 / 537)
    assert jpeg.item_bytes == 3 * 224 * 224 * 4
    assert parse_data("5").prepare_s == pytest.approx(5e-3)
    assert parse_data("5", core_speed=2.0).prepare_s == pytest.approx(10e-3)
    assert with_batch(parse_data("tensor"), 1000, 3).item_bytes == 334


@pytest.mark.parametrize("text", ["-1", "0", "nan", "inf", "jpeg", ""])
def test_a_word_that_is_no_item_says_what_is(text: str) -> None:
    with pytest.raises(UsageError, match="imagenet-jpeg, tokens, tensor, or milliseconds"):
        parse_data(text)


@pytest.mark.parametrize(
    "options",
    [
        {"workers": -1},
        {"workers": 1, "prefetch_factor": 0},
        {"workers": 0, "persistent_workers": 1},
    ],
    ids=str,
)
def test_settings_that_no_loader_has(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Loader(**options)


def test_an_item_costs_more_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    alike = times(1)
    monkeypatch.setattr(input_pipeline, "_IN_WORKER", 1.5)
    assert times(1).prepare_s == pytest.approx(1.5 * alike.prepare_s)
    assert times(0).prepare_s == pytest.approx(alike.prepare_s)
