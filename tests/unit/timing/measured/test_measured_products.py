"""Times of matrix products: the net's arithmetic, where a time is from, sane answers anywhere."""

from __future__ import annotations

from math import ceil, exp, log

import pytest

from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec
from planner.timing.kernels import Product
from planner.timing.measured.kernel_time import KernelTime, TimeSource
from planner.timing.measured.product_form import BEGIN_END_CYCLES, CardFigures, form_of
from planner.timing.measured.products import FILE, WIDTHS, Net, nets, product_time, time_by
from planner.timing.rates import Path, Rate, arithmetic_rate, peak_rate

MOST_FILE_BYTES = 150_000
CARDS = ("a100-sxm4-80gb", "h100-sxm5-80gb", "b200-sxm", "l40s", "rtx-4090", "rtx-3090", "t4")
# Of networks, of decoding, tiny ones, and some beyond every table.
SHAPES = (
    (1, 1, 4096, 4096), (1, 8, 11008, 4096), (1, 16, 16, 16), (1, 128, 768, 768),
    (1, 1000, 2304, 768), (1, 4096, 4096, 4096), (1, 8192, 28672, 8192), (1, 65536, 50264, 768),
    (1, 262144, 64, 64), (192, 512, 512, 64), (4096, 64, 32, 64), (16, 8, 131072, 128),
)  # fmt: skip
# A net of one unit in each layer: two features in, the token 0.5.
TINY = Net(
    low=(0.0, 0.0),
    high=(1.0, 2.0),
    layers=((((2.0, 1.0, 4.0), -1.0),), (((3.0,), 0.0),), (((0.1,), 0.25),)),
    tokens={},
    is_after_begin=False,
    spreads={},
)


def card(name: str) -> GpuSpec:
    return load_gpus().find(name).spec


def product(batch: int, m: int, n: int, k: int) -> Product:
    return Product(batch=batch, m=m, n=n, k=k)


def timed(one: Product, dtype: str, name: str, *, tf32: bool = False) -> KernelTime:
    rate = arithmetic_rate(card(name), dtype, tf32=tf32, is_product=True)
    found = product_time(one, dtype, card(name), rate=rate)
    assert found is not None
    return found


def test_a_net_multiplies_adds_and_keeps_to_the_range_of_its_tables() -> None:
    # 2 x 0.5 + 1 x 1 + 4 x 0.5 - 1 = 3; x 3 = 9; x 0.1 + 0.25 = 1.15.
    assert TINY.log_factor((0.5, 1.0), (0.5,)) == pytest.approx(1.15)
    # Features beyond the tables count as at their edges: 2 + 2 + 2 - 1 = 5; 15; 1.75.
    assert TINY.log_factor((9.0, 9.0), (0.5,)) == pytest.approx(1.75)
    # A negative sum gives nothing on: -1 + 0 - 4 < 0, so the last bias alone.
    assert TINY.log_factor((0.0, 0.0), (-1.0,)) == pytest.approx(0.25)


def test_the_form_by_hand() -> None:
    figures = CardFigures(
        flops_per_s=1e12,
        bytes_per_s=1e12,
        peak_flops_per_s=2e12,
        peak_bytes_per_s=2e12,
        multiprocessors=10,
        l2_bytes=6_000_000,
        clock_hz=1e9,
    )
    one = product(1, 1000, 1000, 1000)
    form = form_of(one, figures, in_bytes=2, out_bytes=2, on_tensor_cores=True)
    assert form.compute_s == pytest.approx(2e9 / 1e12)
    # 6 MB from the cache, of 32 bytes in a cycle for each multiprocessor; beyond a sixth of it,
    # 5 MB from memory, which take less: 5 us.
    assert form.memory_s == pytest.approx(6e6 / (32 * 10 * 1e9))
    assert form.begin_end_s == pytest.approx(BEGIN_END_CYCLES / 1e9)
    assert form.base_s == pytest.approx(2e-3 + 4e-6)
    assert form.floor_s == pytest.approx(2e9 / 2e12)
    # 64 tiles of 128 x 128 on 10 multiprocessors: 7 waves.
    waves = ceil(64 / 10)
    assert form.features[12] == pytest.approx(log(waves * 10 * 128 * 128 / 1e6, 2) / 2)


def test_rows_that_are_not_of_16_bytes_halve_the_rate_of_tensor_cores() -> None:
    whole = timed(product(1, 4096, 4096, 4096), "bfloat16", "a100-sxm4-80gb")
    odd = timed(product(1, 4096, 4097, 4096), "bfloat16", "a100-sxm4-80gb")
    # A column more begins another tile in each row of tiles: that alone is 1.14 times.
    assert 1.8 < odd.busy_s / whole.busy_s < 2.6


@pytest.mark.parametrize(
    ("dtype", "name", "source"),
    [
        ("bfloat16", "a100-sxm4-80gb", TimeSource.TABLE),
        ("float16", "l40s", TimeSource.TABLE),
        ("float8_e4m3fn", "h100-sxm5-80gb", TimeSource.TABLE),
        ("float32", "t4", TimeSource.TABLE),
        ("bfloat16", "a100-pcie-40gb", TimeSource.RELATED),
        ("bfloat16", "rtx-4090", TimeSource.RELATED),
        ("float16", "v100-sxm2-16gb", TimeSource.FALLBACK),
        ("bfloat16", "rtx-3090", TimeSource.FALLBACK),
        ("float64", "a100-pcie-40gb", TimeSource.FALLBACK),
    ],
)
def test_a_time_says_where_it_is_from(dtype: str, name: str, source: TimeSource) -> None:
    assert timed(product(1, 512, 512, 512), dtype, name).source is source


def test_tf32_is_related_to_half_precision_and_less_certain() -> None:
    one = product(1, 4096, 4096, 4096)
    rounded = timed(one, "float32", "a100-sxm4-80gb", tf32=True)
    half = timed(one, "bfloat16", "a100-sxm4-80gb")
    assert rounded.source is TimeSource.RELATED
    assert rounded.spread > half.spread
    assert 1.5 < rounded.busy_s / half.busy_s < 3  # half the rate, twice the bytes


def test_a_card_without_a_table_is_less_certain() -> None:
    one = product(1, 4096, 4096, 4096)
    known, unknown = (timed(one, "bfloat16", name) for name in ("a100-sxm4-80gb", "rtx-3090"))
    assert unknown.spread > known.spread > 0


def test_no_answer_where_no_form_covers_it() -> None:
    rate = Rate(flops_per_s=1e13, path=Path.CUDA_CORES)
    assert product_time(product(1, 8, 8, 8), "int8", card("t4"), rate=rate) is None
    assert product_time(product(1, 0, 8, 8), "float32", card("t4"), rate=rate) is None


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_nothing_is_faster_than_the_peak_and_the_bandwidth(name: str, dtype: str) -> None:
    spec = card(name)
    rate = arithmetic_rate(spec, dtype, tf32=False, is_product=True)
    peak = max(peak_rate(spec, dtype, rate.path) or 0, rate.flops_per_s)
    if dtype == "bfloat16" and rate.path is Path.EMULATED:
        peak = rate.flops_per_s / 0.8
    width = WIDTHS[dtype][0]
    for batch, m, n, k in SHAPES:
        moved = width * batch * (m * k + k * n + m * n)
        found = timed(product(batch, m, n, k), dtype, name).total_s
        assert found > 2 * batch * m * n * k / peak
        assert found > (moved - spec.l2_bytes) / spec.memory_bandwidth_bytes_per_s


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_twice_the_work_takes_no_less_time(name: str, dtype: str) -> None:
    for shape in SHAPES:
        before = timed(product(*shape), dtype, name).total_s
        for at in range(4):
            larger = [*shape]
            larger[at] *= 2
            after = timed(product(*larger), dtype, name).total_s
            assert 0.85 * before < after < 8 * before, (shape, at)


def test_large_products_reach_about_their_rate() -> None:
    for name in CARDS:
        rate = arithmetic_rate(card(name), "bfloat16", tf32=False, is_product=True).flops_per_s
        found = timed(product(1, 8192, 8192, 8192), "bfloat16", name)
        assert found.is_compute_bound
        assert 0.6 < 2 * 8192**3 / found.total_s / rate < 1.3, name


def test_a_small_product_is_bandwidth_bound_and_mostly_begin_and_end() -> None:
    found = timed(product(1, 1, 256, 256), "bfloat16", "h100-sxm5-80gb")
    assert not found.is_compute_bound
    assert 1e-6 < found.total_s < 6e-6
    assert found.fixed_s > found.busy_s


def test_a_tiny_float32_product_takes_little_more_than_begin_and_end() -> None:
    """The tables hold none under 100 us: what they teach must not multiply begin and end."""
    for name in CARDS:
        found = timed(product(1, 64, 64, 64), "float32", name)
        assert found.total_s < 2 * BEGIN_END_CYCLES / card(name).boost_clock_hz


def test_the_factor_multiplies_the_roofs() -> None:
    one, spec = product(1, 4096, 4096, 4096), card("a100-sxm4-80gb")
    flat = Net(
        low=(0.0,) * 15,
        high=(0.0,) * 15,
        layers=((((0.0,) * 15, 0.0),), (((0.0,), 0.0),), (((0.0,), log(1.5)),)),
        tokens={"a100-sxm4-80gb bf16": ()},
        is_after_begin=False,
        spreads={"a100-sxm4-80gb bf16": 0.1},
    )
    rate = Rate(flops_per_s=1e14, path=Path.TENSOR_CORES)
    found = time_by(flat, one, "bfloat16", spec, rate=rate)
    roofs_s = 2 * 4096**3 / 1e14 + BEGIN_END_CYCLES / spec.boost_clock_hz
    assert found.total_s == pytest.approx(exp(log(1.5)) * roofs_s)
    assert found.spread == 0.1


def test_the_constants_are_small_and_complete() -> None:
    assert FILE.stat().st_size < MOST_FILE_BYTES
    for net in nets().values():
        for token in net.tokens:
            assert len(net.tokens[token]) == 3
            if token[0].isdigit():  # of a compute capability: its spread is that of any card
                continue
            assert 0 < net.spreads[token] < 1
