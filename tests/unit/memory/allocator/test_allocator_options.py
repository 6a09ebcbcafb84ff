"""PYTORCH_CUDA_ALLOC_CONF as each version of torch reads it, and what each refuses."""

from __future__ import annotations

import pytest

from planner.errors import UsageError
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.settings import Backend
from planner.units import GIB, KIB, MIB

NEWEST, NEW, OLD = "2.15.0+cu132", "2.14.1+cu130", "2.6.0+cu124"


@pytest.mark.parametrize("version", [NEW, OLD])
@pytest.mark.parametrize("text", [None, "", " "])
def test_nothing_said_gives_the_defaults(version: str, text: str | None) -> None:
    settings = parse_alloc_conf(text, version)
    assert not settings.expandable_segments
    assert settings.large_segment_bytes == settings.max_non_split_rounding_bytes == 20 * MIB
    assert settings.max_split_bytes is None
    assert settings.memory_fraction is None
    assert settings.garbage_collection_threshold == 0
    assert set(settings.roundup_divisions) == {0}
    assert settings.backend is Backend.NATIVE


def test_every_option_that_matters() -> None:
    settings = parse_alloc_conf(
        "max_split_size_mb:256, expandable_segments:True,garbage_collection_threshold:0.8,"
        "large_segment_size_mb:64,max_non_split_rounding_mb:100,roundup_power2_divisions:4,"
        "per_process_memory_fraction:0.5,throw_on_cudamalloc_oom:True,backend:native",
        NEW,
    )
    assert settings.max_split_bytes == 256 * MIB
    assert settings.expandable_segments
    assert settings.garbage_collection_threshold == 0.8
    assert settings.large_segment_bytes == 64 * MIB
    assert settings.max_non_split_rounding_bytes == 100 * MIB
    assert set(settings.roundup_divisions) == {4}
    assert settings.memory_fraction == 0.5
    assert settings.reject_above_fraction


def test_options_without_a_byte_on_the_card_are_taken() -> None:
    text = (
        "pinned_use_background_threads:True,release_lock_on_cudamalloc:False,"
        "pinned_num_register_threads:8,pinned_use_cuda_host_register:True"
    )
    for version in (NEW, OLD):
        assert parse_alloc_conf(text, version) == parse_alloc_conf("", version)


@pytest.mark.parametrize(
    ("value", "addresses_bytes"),
    [
        (None, 90 * GIB),  # 9/8 of the card
        ("0.5", 40 * GIB),
        ("+.5", 40 * GIB),
        ("5e-1", 40 * GIB),
        ("0.1", 8 * GIB),
        ("30G", 30 * GIB),
        ("0.5g", GIB // 2),
        ("1.2", 90 * GIB),  # never more than torch's own
        ("1e9G", 90 * GIB),
        ("1e300", 90 * GIB),
    ],
)
def test_what_an_expandable_segment_may_grow_to(value: str | None, addresses_bytes: int) -> None:
    text = "" if value is None else f"expandable_segments_reserve:{value}"
    settings = parse_alloc_conf(text, NEWEST)
    assert settings.segment_addresses_bytes(80 * GIB) == addresses_bytes


def test_the_last_word_on_the_addresses_holds() -> None:
    name = "expandable_segments_reserve"
    size_last = parse_alloc_conf(f"{name}:0.5,{name}:30G", NEWEST)
    share_last = parse_alloc_conf(f"{name}:30G,{name}:0.5", NEWEST)
    assert size_last.segment_addresses_bytes(80 * GIB) == 30 * GIB
    assert share_last.segment_addresses_bytes(80 * GIB) == 40 * GIB


def test_classes_of_streams_are_checked_and_left_aside() -> None:
    text = "expandable_segments_reserve_by_class:[serving:0.25,loading:8G]"
    assert parse_alloc_conf(text, NEWEST) == parse_alloc_conf("", NEWEST)


def test_minus_one_is_no_limit() -> None:
    assert parse_alloc_conf("max_split_size_mb:-1", NEW).max_split_bytes is None


def test_another_backend_is_a_setting() -> None:
    settings = parse_alloc_conf("backend:cudaMallocAsync", NEW)
    assert settings.backend is Backend.CUDA_MALLOC_ASYNC


@pytest.mark.parametrize(
    ("version", "text", "message"),
    [
        (NEW, "expandable_segment:True", "'expandable_segment'.*it knows.*expandable_segments"),
        (NEW, "max_split_size_mb=128", "has no value"),
        (NEW, "max_split_size_mb", "has no value"),
        (NEW, "max_split_size_mb:", "has no value"),
        (NEW, "max_split_size_mb:128 expandable_segments:True", "comma"),
        (NEW, "max_split_size_mb:big", "whole number"),
        (NEW, "max_split_size_mb:-2", "whole number"),
        (NEW, "max_split_size_mb:19", "at least 20"),
        (OLD, "max_split_size_mb:20", "above 20"),
        (NEW, "max_non_split_rounding_mb:19", "at least 20"),
        (NEW, "max_split_size_mb:30,large_segment_size_mb:40", r"at least 40 \(large_segment"),
        (NEW, "large_segment_size_mb:10", "above 10"),
        (OLD, "large_segment_size_mb:64", "it came with 2.11"),
        (OLD, "per_process_memory_fraction:0.5", "it came with 2.10"),
        (NEW, "expandable_segments:true", "True or False"),
        (NEW, "expandable_segments:[True]", "one value"),
        (NEW, "garbage_collection_threshold:1", "below 1"),
        (NEW, "garbage_collection_threshold:0", "above 0"),
        (NEW, "garbage_collection_threshold:nan", "above 0"),
        (NEW, "garbage_collection_threshold:x", "a number"),
        (NEW, "per_process_memory_fraction:1.5", "from 0 to 1"),
        (NEW, "roundup_power2_divisions:3", "power of two"),
        (NEW, "roundup_power2_divisions:0", "power of two"),
        (NEW, "roundup_power2_divisions:[256:3]", "3 divisions"),
        (NEW, "roundup_power2_divisions:[100:2]", "the bound 100"),
        (NEW, "roundup_power2_divisions:[256]", "not a list"),
        (NEW, "roundup_power2_divisions:[256:1,>:8", "not closed"),
        (NEW, "pinned_num_register_threads:3", "power of two"),
        (NEW, "pinned_num_register_threads:256", "up to 128"),
        (NEW, "pinned_reserve_segment_size_mb:0", "above 0"),
        (NEW, "expandable_segments_reserve:0.5", "it came with 2.15"),
        (NEW, "expandable_segments_reserve_by_class:[a:0.5]", "it came with 2.15"),
        (NEWEST, "expandable_segments_reserve:0", "above 0; torch ignores '0'"),
        (NEWEST, "expandable_segments_reserve:-1", "torch ignores '-1'"),
        (NEWEST, "expandable_segments_reserve:40M", "a size like 40G"),
        (NEWEST, "expandable_segments_reserve:G", "torch ignores 'G'"),
        (NEWEST, "expandable_segments_reserve:inf", "torch ignores 'inf'"),
        (NEWEST, "expandable_segments_reserve:1e400", "torch ignores '1e400'"),
        (NEWEST, "expandable_segments_reserve:[0.5]", "takes one value"),
        (NEWEST, "expandable_segments_reserve_by_class:0.5", r"a list like \[serving:0.25"),
        (NEWEST, "expandable_segments_reserve_by_class:[a]", r"a list like \[serving:0.25"),
        (NEWEST, "expandable_segments_reserve_by_class:[a:0]", "torch ignores '0'"),
        (NEW, "backend:fast", "native or cudaMallocAsync"),
        (NEW, "expandable_segments:True,large_segment_size_mb:15", "contradicts"),
        ("new", "", "is not a version"),
    ],
)
def test_what_torch_refuses_is_said(version: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_alloc_conf(text, version)


def test_a_trailing_comma_is_taken_as_torch_takes_it() -> None:
    assert parse_alloc_conf("max_split_size_mb:128,", NEW).max_split_bytes == 128 * MIB


@pytest.mark.parametrize(
    ("size", "rounded"),
    [
        (100, 512),
        (1100, 1536),
        (2048, 2048),
        (2049, 2560),  # four divisions start above 4 * 512 bytes
        (5 * KIB + 1, 6 * KIB),  # steps of 1 KiB between 4 and 8 KiB
        (6 * MIB, 6 * MIB),
        (6 * MIB + 1, 7 * MIB),
        (8 * MIB, 8 * MIB),
        (1200 * MIB, 1280 * MIB),
        (100 * GIB, 112 * GIB),
    ],
)
def test_four_divisions_of_each_power_of_two(size: int, rounded: int) -> None:
    assert parse_alloc_conf("roundup_power2_divisions:4", NEW).rounded(size) == rounded


@pytest.mark.parametrize(
    ("size_mib", "rounded_mib"),
    [
        (0.9, 0.90625),  # below the first bound its value holds: 16 steps of 32 KiB
        (101, 104),  # 16 steps of 4 MiB
        (300, 300),  # off
        (600, 640),  # 4 steps of 128 MiB
        (1100, 1152),  # beyond the last bound: 8 steps of 128 MiB
    ],
)
def test_divisions_by_size(size_mib: float, rounded_mib: float) -> None:
    settings = parse_alloc_conf("roundup_power2_divisions:[128:16,256:0,512:4,>:8]", NEW)
    assert settings.rounded(int(size_mib * MIB)) == rounded_mib * MIB


def test_old_versions_overwrite_the_last_bound() -> None:
    text = "roundup_power2_divisions:[512:2,>:8]"
    assert parse_alloc_conf(text, NEW).rounded(600 * MIB) == 768 * MIB
    assert parse_alloc_conf(text, OLD).rounded(600 * MIB) == 640 * MIB
