"""Times of fused attention by tables: hand arithmetic, published figures, properties."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec
from planner.timing.measured.attention import BACKWARD_SHARE, KERNEL_S, attention_time
from planner.timing.measured.attention_form import Form, Work, busy_s, roofs_s
from planner.timing.measured.attention_tables import FILE, choose, nearest_kin, tables
from planner.timing.measured.kernel_time import KernelTime, TimeSource
from planner.timing.rates import arithmetic_rate
from planner.wire.kernel_facts import AttentionFacts

_PUBLISHED = Path(__file__).parents[3] / "benchmarks" / "measurements" / "flash_attention_3.csv"
_LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
_CARDS = ("a100-sxm4-80gb", "h100-sxm5-80gb", "l40s", "rtx-3090", "rtx-4090", "t4", "b200-sxm")
_PLAIN = Form(
    tile=128, share=0.5, first_keys=0.0, fixed_s=0.0, wave=1.0, lone=1.0, bandwidth=1.0,
    power=64.0, spread=0.0, is_measured=True,
)  # fmt: skip


@cache
def _card(name: str) -> GpuSpec:
    return load_gpus().find(name).spec


def _facts(**changes: object) -> AttentionFacts:
    plain = AttentionFacts(
        backend="flash", batch=8, query_heads=16, key_heads=16, queries=2048, keys=2048,
        head_width=64, value_width=64, is_causal=False,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def _time(
    card: str, facts: AttentionFacts, *, dtype: str = "bfloat16", is_backward: bool = False
) -> KernelTime:
    rate = arithmetic_rate(_card(card), dtype, tf32=False, is_product=True)
    found = attention_time(facts, dtype, _card(card), rate=rate, is_backward=is_backward)
    assert found is not None
    return found


def _work(**changes: object) -> Work:
    plain = Work(
        batch=1, heads=10, key_heads=10, queries=1280, keys=1280, width=64, is_causal=False
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_full_waves_take_the_flops_over_the_share_of_the_peak() -> None:
    # 10 heads x 10 tiles on 100 multiprocessors: one whole wave.
    compute_s, memory_s = roofs_s(
        _PLAIN, _work(), flops_per_s=100e12, multiprocessors=100, bytes_per_s=1e12
    )
    assert compute_s == pytest.approx(4 * 10 * 1280 * 1280 * 64 / 50e12, rel=0.02)
    # Queries and results, keys and values: 4 tensors of 10 x 1280 x 64 halves.
    assert memory_s == pytest.approx(4 * 2 * 10 * 1280 * 64 / 1e12)


def test_a_tile_beyond_the_wave_costs_a_whole_wave() -> None:
    shared = {"flops_per_s": 100e12, "multiprocessors": 100, "bytes_per_s": 1e12}
    one, _ = roofs_s(_PLAIN, _work(), **shared)  # type: ignore[arg-type]
    two, _ = roofs_s(_PLAIN, _work(heads=11), **shared)  # type: ignore[arg-type]
    assert two == pytest.approx(2 * one, rel=0.02)


def test_a_causal_query_sees_half_of_the_keys_and_a_window_no_more_than_its_width() -> None:
    assert _work(is_causal=True).mean_keys == pytest.approx((1280 + 1) / 2)
    # 1 + 2 + ... + 128 keys for the first 128 queries, 128 for the other 1152.
    window = _work(is_causal=True, window=128)
    assert window.mean_keys == pytest.approx((128 * 129 / 2 + 1152 * 128) / 1280)


def test_both_roofs_are_added_at_power_one_and_the_longer_counts_at_a_great_one() -> None:
    assert busy_s(replace(_PLAIN, power=1.0), 3.0, 2.0) == pytest.approx(5.0)
    assert busy_s(_PLAIN, 3.0, 2.0) == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("card", _CARDS)
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("is_backward", [False, True])
def test_more_tokens_never_take_less(card: str, is_causal: bool, is_backward: bool) -> None:
    backend = "efficient" if card == "t4" else "flash"
    times = [
        _time(
            card,
            _facts(backend=backend, queries=length, keys=length, is_causal=is_causal),
            dtype="float16",
            is_backward=is_backward,
        ).total_s
        for length in (16, 64, 100, 128, 129, 512, 1000, 1024, 1025, 4096, 16384)
    ]
    assert times == sorted(times)


@pytest.mark.parametrize("card", _CARDS[:5])
@pytest.mark.parametrize("width", [40, 64, 80, 128, 192, 256])
def test_no_time_is_below_a_roof_of_the_card(card: str, width: int) -> None:
    spec = _card(card)
    peak = spec.peak_flops_per_s.bf16
    assert peak is not None
    for length in _LENGTHS:
        facts = _facts(queries=length, keys=length, head_width=width, value_width=width)
        flops = 4 * 8 * 16 * length * length * width
        moved = 4 * 2 * 8 * 16 * length * width
        for is_backward in (False, True):
            busy = _time(card, facts, is_backward=is_backward).busy_s
            assert busy > (2.5 if is_backward else 1.0) * flops / peak
            assert busy > moved / spec.memory_bandwidth_bytes_per_s


@pytest.mark.parametrize("card", _CARDS[:5])
@pytest.mark.parametrize("width", [64, 128])
def test_causal_is_between_half_and_whole_of_long_sequences(card: str, width: int) -> None:
    for length in (1024, 4096, 16384):
        facts = _facts(queries=length, keys=length, head_width=width, value_width=width)
        whole = _time(card, facts).busy_s
        causal = _time(card, replace(facts, is_causal=True)).busy_s
        assert 0.5 * whole < causal < whole


def test_fewer_heads_of_keys_move_fewer_bytes() -> None:
    few, many = (_time("l40s", _facts(key_heads=heads, queries=128, keys=128)) for heads in (2, 16))
    assert few.busy_s <= many.busy_s


def _published() -> list[dict[str, str]]:
    with _PUBLISHED.open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["library"] != "flash3"]


@pytest.mark.parametrize("row", _published(), ids=lambda row: "-".join(list(row.values())[:4]))
def test_hopper_is_as_published(row: dict[str, str]) -> None:
    width = int(row["head_width"])
    for length in _LENGTHS:
        batch, heads, is_backward = 16384 // length, 2048 // width, row["pass"] == "backward"
        facts = _facts(
            backend=row["library"], batch=batch, query_heads=heads, key_heads=heads,
            queries=length, keys=length, head_width=width, value_width=width,
            is_causal=row["mask"] == "causal",
        )  # fmt: skip
        flops = 4 * batch * heads * length * length * width
        flops *= (0.5 if facts.is_causal else 1.0) * (2.5 if is_backward else 1.0)
        found = _time("h100-sxm5-80gb", facts, is_backward=is_backward)
        assert flops / found.total_s / 1e12 == pytest.approx(float(row[str(length)]), rel=0.09)
        assert found.source is TimeSource.TABLE


def test_flash_attention_2_reaches_what_its_paper_says_of_an_a100() -> None:
    facts = _facts(
        batch=1, query_heads=16, key_heads=16, queries=16384, keys=16384, head_width=128,
        value_width=128,
    )  # fmt: skip
    flops = 4 * 16 * 16384 * 16384 * 128
    # 73 % and 63 % of 312 TFLOP/s at best.
    forward, backward = (_time("a100-sxm4-80gb", facts, is_backward=one) for one in (False, True))
    assert flops / forward.total_s / 312e12 == pytest.approx(0.73, abs=0.03)
    assert 2.5 * flops / backward.total_s / 312e12 == pytest.approx(0.63, abs=0.03)


def test_backward_has_five_products_for_two_and_its_share() -> None:
    long = _facts(batch=1, queries=16384, keys=16384)
    forward, backward = (_time("l40s", long, is_backward=one) for one in (False, True))
    least = 2.5 / BACKWARD_SHARE
    assert least < backward.busy_s / forward.busy_s < 1.05 * least
    assert backward.fixed_s == pytest.approx(3 * KERNEL_S)


def test_a_card_without_a_table_takes_its_nearest_kin() -> None:
    found = tables()
    kin = {
        name: nearest_kin(found, _card(name)).card
        for name in ("a100-pcie-40gb", "rtx-3090", "rtx-4090", "rtx-5090", "h100-pcie")
    }
    assert kin == {
        "a100-pcie-40gb": "a100-sxm4-80gb",
        "rtx-3090": "l40s",
        "rtx-4090": "l40s",
        "rtx-5090": "rtx-pro-6000-blackwell",
        "h100-pcie": "h100-sxm5-80gb",
    }
    assert _time("l40s", _facts()).source is TimeSource.TABLE
    assert _time("rtx-4090", _facts()).source is TimeSource.RELATED
    assert _time("rtx-3090", _facts()).source is TimeSource.FALLBACK
    assert _time("rtx-3090", _facts()).spread > _time("l40s", _facts()).spread


def test_a_card_left_out_is_timed_by_another() -> None:
    found = choose(tables(), _card("l40s"), 64, is_causal=True, without="l40s")
    assert found is not None
    assert found.kin.card == "rtx-pro-6000-blackwell"
    assert found.source is TimeSource.FALLBACK


def test_what_no_table_has_is_less_certain() -> None:
    plain = _time("a100-sxm4-80gb", _facts(is_causal=True, head_width=128, value_width=128))
    for changes in ({"dropout": 0.1}, {"has_bias": True}, {"backend": "efficient"}):
        facts = _facts(is_causal=True, head_width=128, value_width=128, **changes)
        assert _time("a100-sxm4-80gb", facts).spread > plain.spread


def test_one_query_reads_keys_and_values_once() -> None:
    facts = _facts(queries=1, keys=32768)
    found = _time("h100-sxm5-80gb", facts)
    ideal_s = 2 * 2 * 8 * 32768 * 16 * 64 / _card("h100-sxm5-80gb").memory_bandwidth_bytes_per_s
    assert 1.0 < found.busy_s / ideal_s < 1.25
    assert not found.is_compute_bound


def test_heads_wider_than_any_measured_and_other_makers_have_no_time() -> None:
    rate = arithmetic_rate(_card("l40s"), "bfloat16", tf32=False)
    wide = _facts(head_width=512, value_width=512)
    assert attention_time(wide, "bfloat16", _card("l40s"), rate=rate, is_backward=False) is None
    amd = next(card for card in load_gpus().all() if card.vendor.value == "amd")
    assert attention_time(_facts(), "bfloat16", amd, rate=rate, is_backward=False) is None


def test_the_file_is_small_and_its_shares_are_below_the_peak() -> None:
    assert FILE.stat().st_size < 20_000
    for one in json.loads(FILE.read_text(encoding="utf-8"))["cards"].values():
        for mask in ("causal", "whole"):
            assert all(0 < values[1] <= 1 and 0 < values[6] <= 1 for values in one[mask].values())
