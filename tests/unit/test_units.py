"""Sizes, counts and durations: in and out of text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import UsageError
from planner.units import (
    GIB,
    KIB,
    MIB,
    TIB,
    format_bytes,
    format_count,
    format_flops,
    format_percent,
    parse_bytes,
    parse_reserve,
    parse_seconds,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0), ("1048576", MIB), ("24GiB", 24 * GIB), ("24 GB", 24 * GIB), ("24g", 24 * GIB),
        ("500M", 500 * MIB), ("1.5 GiB", 3 * GIB // 2), (".5k", 512), ("2TiB", 2 * TIB),
        (" 8 b ", 8), ("0.1GiB", GIB // 10), ("9007199254740993", 9007199254740993),
    ],
)  # fmt: skip
def test_parse_bytes(text: str, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "GiB", "-1", "1e9", "24 giga", "1,5G", "nan", "inf", "0x10", "9" * 400, "1 G 2"]
)
def test_parse_bytes_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="24GiB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("1GiB", GIB), ("0", 0), ("5%", 50), ("0%", 0), (" 2.5 %", 25)]
)
def test_parse_reserve(text: str, size_bytes: int) -> None:
    assert parse_reserve(text, of_bytes=1000) == size_bytes


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
def test_format_bytes_is_close_and_short(size_bytes: int) -> None:
    text = format_bytes(size_bytes)
    assert len(text) <= 8
    assert abs(parse_bytes(text) - size_bytes) <= max(0.005 * size_bytes, 0)


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
