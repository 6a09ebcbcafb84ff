"""Sizes, counts and durations: in and out of text."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from planner.errors import UsageError
from planner.units import (
    GIB,
    KIB,
    MIB,
    TIB,
    format_bytes,
    format_count,
    format_duration,
    format_flops,
    format_percent,
    format_range,
    format_significant,
    parse_bytes,
    parse_dataset_size,
    parse_memory,
    parse_reserve,
    parse_seconds,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0), ("1048576", MIB), ("24GiB", 24 * GIB), ("24 GB", 24 * GIB), ("24g", 24 * GIB),
        ("500M", 500 * MIB), ("1.5 GiB", 3 * GIB // 2), (".5k", 512), ("2TiB", 2 * TIB),
        ("1.5 PiB", 1536 * TIB), ("1EiB", 1 << 60),
        (" 8 b ", 8), ("0.1GiB", GIB // 10), ("9007199254740993", 9007199254740993),
    ],
)  # fmt: skip
def test_parse_bytes(text: str, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "GiB", "-1", "1e9", "24 giga", "1,5G", "nan", "inf", "0x10", "9" * 400, "1 G 2", "2EiB"],
)
def test_parse_bytes_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="24GiB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("1GiB", GIB), ("0", 0), ("5%", 50), ("0%", 0), (" 2.5 %", 25)]
)
def test_parse_reserve(text: str, size_bytes: int) -> None:
    assert parse_reserve(text, of_bytes=1000) == size_bytes


@pytest.mark.parametrize("text", ["24", " 24 ", "1.5", "16.0", "1000"])
def test_a_memory_without_a_unit_is_no_memory_of_bytes(text: str) -> None:
    with pytest.raises(UsageError, match=rf"has no unit.*write {text.strip()}GiB"):
        parse_memory(text, "gpu memory")
    with pytest.raises(UsageError, match=rf"has no unit.*write {text.strip()}GiB"):
        parse_reserve(text, of_bytes=GIB)


def test_a_memory_in_bytes_is_one() -> None:
    assert parse_memory("25769803776", "gpu memory") == 24 * GIB
    assert parse_memory(24, "gpu memory") == 24  # of a caller who computes
    assert parse_memory("24 B", "gpu memory") == 24
    assert parse_reserve("1048576", of_bytes=GIB) == MIB


@pytest.mark.parametrize("text", ["100%", "-1%", "nan%", "%", "a%", "much"])
def test_parse_reserve_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reserve(text, of_bytes=1000)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("600", 600.0),
        ("90s", 90.0),
        ("10m", 600.0),
        ("1.5h", 5400.0),
        ("2 MIN", 120.0),
        (".5", 0.5),
    ],
)
def test_parse_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "soon", "inf", "nan", "10d", "9999h", "9" * 400])
def test_parse_seconds_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="10m"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"), (8, "8 B"), (1023, "1023 B"), (KIB, "1.00 KiB"), (512 * MIB, "512 MiB"),
        (1023 * MIB, "1023 MiB"), (GIB - 1, "1.00 GiB"), (3 * GIB // 2, "1.50 GiB"),
        (10 * GIB - 1, "10.0 GiB"), (100 * GIB - 1, "100 GiB"), (3 * TIB, "3.00 TiB"),
        (-512 * MIB, "-512 MiB"),
    ],
)  # fmt: skip
def test_format_bytes(size_bytes: int, text: str) -> None:
    assert format_bytes(size_bytes) == text


@given(st.integers(min_value=0, max_value=1 << 50))
@example(1152)  # 1.12 KiB, which is 1146.88 bytes
def test_format_bytes_is_close_and_short(size_bytes: int) -> None:
    text = format_bytes(size_bytes)
    assert len(text) <= 8
    whole_bytes = 1  # parse_bytes leaves the rest of a byte away
    assert abs(parse_bytes(text) - size_bytes) <= 0.005 * size_bytes + whole_bytes


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"), (999, "999"), (1000, "1.0 k"), (999_949, "999.9 k"), (999_950, "1.0 M"),
        (25_557_032, "25.6 M"), (70_553_706_496, "70.6 B"), (10**12, "1.0 T"),
    ],
)  # fmt: skip
def test_format_count(count: int, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("part", "text"), [(0, "0.0 %"), (53, "5.3 %"), (99, "9.9 %"), (100, "10 %"), (22020, "2202 %")]
)
def test_format_percent(part: int, text: str) -> None:
    assert format_percent(part, 1000) == text


@pytest.mark.parametrize(
    ("flops", "text"),
    [
        (0, "0 FLOPs"),
        (512, "512 FLOPs"),
        (8_260_000_000, "8.26 GFLOPs"),
        (66_100_000_000, "66.1 GFLOPs"),
        (563_000_000_000_000, "563 TFLOPs"),
        (999_960, "1.00 MFLOPs"),
        (1_722_000_000_000_000, "1.72 PFLOPs"),
    ],
)
def test_format_flops(flops: int, text: str) -> None:
    assert format_flops(flops) == text


@pytest.mark.parametrize(
    ("text", "samples"),
    [
        ("1281167", 1_281_167), ("1.28M", 1_280_000), ("50k", 50_000), ("50 K", 50_000),
        ("0.5k", 500), ("1b", 10**9), (" 1 ", 1),
    ],
)  # fmt: skip
def test_parse_dataset_size(text: str, samples: int) -> None:
    assert parse_dataset_size(text) == samples


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "1.5", "1.2345k", "many", "1e6", "1,281,167", "inf", "9" * 400, "5 T"]
)
def test_parse_dataset_size_refuses(text: str) -> None:
    with pytest.raises(UsageError, match=r"dataset size .* write it like 1281167, 1\.28M or 50k"):
        parse_dataset_size(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.01234, "0.0123"), (0.5, "0.500"), (0.9996, "1.00"), (9.996, "10.0"),
        (99.96, "100"), (12345.6, "12346"), (1e-7, "1.00e-07"), (-1.5, "-1.50"),
    ],
)  # fmt: skip
def test_format_significant(value: float, text: str) -> None:
    assert format_significant(value) == text


def test_format_range() -> None:
    assert format_range((0.312, 0.42), "J") == "0.312 to 0.420 J"
    assert format_range((2.79, 2.7901), "USD/h") == "2.79 USD/h"
    assert format_range((1.0, 2.0)) == "1.00 to 2.00"


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0, "0 us"), (0.00085, "850 us"), (0.0123, "12.3 ms"), (0.9996, "1.00 s"), (59, "59.0 s"),
        (59.98, "1.00 min"), (210, "3.50 min"), (43_200, "12.0 h"),
    ],
)  # fmt: skip
def test_format_duration(duration_s: float, text: str) -> None:
    assert format_duration(duration_s) == text
