"""Single operators under the two roofs, by hand; the card's rates are given, nothing is fitted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.hardware.database import load_gpus
from planner.hardware.specs import ArithmeticRates, GpuSpec
from planner.timing.changes import in_channels_last
from planner.timing.efficiency import Efficiencies, efficiencies
from planner.timing.issue import issue_costs
from planner.timing.kernel_roofs import bare_time, is_depthwise
from planner.timing.kernels import Product, kernels_of
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.rates import arithmetic_rate, memory_rate
from planner.timing.roofline import gpu_time
from planner.timing.tiling import product_s
from planner.wire.trace import FlopSource, OperatorRecord, Phase
from tests.unit.given_efficiencies import use_efficiencies
from tests.unit.operator_records import operator, product, relu, tensor

FULL = Efficiencies(
    compute={}, bandwidth={}, kernel_s=0.0, cache_gain=0.0, cache_reach=1.0,
    default_compute=1.0, default_bandwidth=1.0,
)  # fmt: skip
HALVED = replace(FULL, default_compute=0.5, default_bandwidth=0.5, kernel_s=1e-6)


@pytest.fixture(scope="module")
def card() -> GpuSpec:
    """A T4 that reaches 50 TFLOP/s in half precision."""
    return replace(
        load_gpus().find("t4").spec, measured_matmul_flops_per_s=ArithmeticRates(fp16=50e12)
    )


@pytest.fixture(autouse=True)
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    use_efficiencies(monkeypatch, FULL)


def test_a_large_product_is_above_the_ridge_point(card: GpuSpec) -> None:
    """4096^3: 1365 FLOPs for each byte, where the card has about 200 for each."""
    time = gpu_time([product(4096, 4096, 4096)], card)
    shape = Product(batch=1, m=4096, n=4096, k=4096)
    assert time.compute_s == product_s(shape, 50e12, card.streaming_multiprocessors)
    assert 2 * 4096**3 / 50e12 <= time.compute_s < 1.5 * 2 * 4096**3 / 50e12
    assert (time.bandwidth_s, time.fixed_s, time.kernels) == (0.0, 0.0, 1)
    assert time.phases_s == ((Phase.FORWARD, time.compute_s),)


def test_a_thin_product_is_below_it(card: GpuSpec) -> None:
    """(80, 4096) times (4096, 4096): the weight's 32 MiB are read for 80 rows."""
    time = gpu_time([product(80, 4096, 4096)], card)
    moved_bytes = 2 * (80 * 4096 + 4096 * 4096 + 80 * 4096)
    assert time.compute_s == 0.0
    assert time.bandwidth_s == pytest.approx(moved_bytes / memory_rate(card))


def test_elementwise_work_takes_what_its_bytes_and_instructions_take(card: GpuSpec) -> None:
    """Ten million elements of 4 bytes, read and written, three times.

    A T4 issues 4 x 32 instructions on each of 40 SMs at 1.59 GHz; 30 go to each element.
    """
    time = gpu_time([relu(10_000_000, calls=3)], card)
    memory_s, issue_s = 80e6 / memory_rate(card), 20e6 * 30 / (4 * 32 * 40 * 1.59e9)
    assert issue_s < memory_s
    assert time.bandwidth_s == pytest.approx(3 * (memory_s**2 + issue_s**2) ** 0.5)
    assert (time.compute_s, time.kernels) == (0.0, 3)


def test_each_kernel_reaches_a_share_and_has_a_fixed_time(
    card: GpuSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = [relu(10_000_000, calls=3), product(4096, 4096, 4096, phase=Phase.BACKWARD)]
    full = gpu_time(work, card)
    use_efficiencies(monkeypatch, HALVED)
    halved = gpu_time(work, card)
    assert halved.bandwidth_s == pytest.approx(2 * full.bandwidth_s)
    assert halved.compute_s == pytest.approx(2 * full.compute_s)
    assert halved.fixed_s == pytest.approx(4e-6)
    assert halved.phase_s(Phase.FORWARD) == pytest.approx(2 * full.bandwidth_s + 3e-6)
    assert halved.phase_s(Phase.OPTIMIZER_STEP) == 0.0
    assert sum(seconds for _, seconds in halved.phases_s) == pytest.approx(halved.total_s)


def test_what_fits_into_the_cache_is_faster(card: GpuSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    gain = replace(FULL, cache_gain=1.0)
    # As many bytes as the cache has: of the gain, half.
    bytes_ = card.l2_bytes
    found = gain.cached_s(bytes_, bandwidth_bytes_per_s=1e12, l2_bytes=card.l2_bytes)
    assert found == pytest.approx(bytes_ / 1.5e12)
    huge = gain.cached_s(10**12, bandwidth_bytes_per_s=1e12, l2_bytes=card.l2_bytes)
    assert huge == pytest.approx(1.0, rel=1e-3)


def test_a_product_of_odd_sizes_is_slower_in_half_precision(card: GpuSpec) -> None:
    even, odd = (gpu_time([product(4096, 4096, n)], card) for n in (4096, 4095))
    assert odd.compute_s > even.compute_s


def windows(
    size: int = 3, *, lost: int = 0, channels_last: bool = False, dtype: str = "float32"
) -> OperatorRecord:
    """A convolution of 512 channels of 28 x 28, above the ridge point; `lost` at each edge."""
    images = tensor(8, 512, 28, 28, dtype=dtype, channels_last=channels_last)
    output = tensor(8, 512, 28 - lost, 28 - lost, dtype=dtype, channels_last=channels_last)
    flops = 2 * 8 * 512 * 512 * (28 - lost) ** 2 * size * size
    weight = tensor(512, 512, size, size, dtype=dtype)
    return operator("convolution", (images, weight), (output,), flops=flops)


def windows_s(card: GpuSpec, size: int = 3, **how: Any) -> float:
    return gpu_time([windows(size, **how)], card).compute_s


def test_float32_windows_of_three_by_three_save_products(card: GpuSpec) -> None:
    """36 multiplications of four results become 16; nothing of it on tensor cores or by strides."""
    rows = 8 * 28 * 28
    rate = arithmetic_rate(card, "float32", tf32=True).flops_per_s
    shape = Product(batch=1, m=rows, n=512, k=512 * 9)
    plain_s = product_s(shape, rate, card.streaming_multiprocessors)
    assert windows_s(card) == pytest.approx(plain_s * 16 / 36)
    assert windows_s(card, channels_last=True) == pytest.approx(plain_s)
    assert windows_s(card, lost=2) == pytest.approx(plain_s * 16 / 36 * (26 / 28) ** 2, rel=0.1)
    strided_s = windows_s(card, lost=14)
    assert strided_s == pytest.approx(plain_s / 4, rel=0.1)
    assert windows_s(card, 5) == pytest.approx(plain_s * 25 / 9, rel=0.1)
    half_s = product_s(shape, 50e12, card.streaming_multiprocessors)
    assert windows_s(card, dtype="float16") == pytest.approx(half_s)


def test_a_change_to_channels_last_gives_the_saving_up(card: GpuSpec) -> None:
    changed = gpu_time([windows()], card, change=lambda kernel, phase: in_channels_last(kernel))
    assert changed.compute_s == windows_s(card, channels_last=True) > windows_s(card)


def test_nothing_is_saved_where_tf32_multiplies(card: GpuSpec) -> None:
    ampere = load_gpus().find("a100").spec
    shape = Product(batch=1, m=8 * 28 * 28, n=512, k=512 * 9)
    rate = arithmetic_rate(ampere, "float32", tf32=True).flops_per_s
    assert windows_s(ampere) == product_s(shape, rate, ampere.streaming_multiprocessors)


def test_tf32_is_asked_for_by_products_and_taken_by_convolutions() -> None:
    card = load_gpus().find("a100-sxm4-80gb").spec
    single = product(4096, 4096, 4096, dtype="float32")
    asked = gpu_time([single], card, tf32_matmul=True)
    assert asked.compute_s < gpu_time([single], card).compute_s
    images = tensor(256, 512, 28, 28)
    flops = 2 * 256 * 512 * 28 * 28 * 512 * 9
    convolution = operator("convolution", (images, tensor(512, 512, 3, 3)), (images,), flops=flops)
    plain_s = flops / arithmetic_rate(card, "float32", tf32=False).flops_per_s
    assert gpu_time([convolution], card).compute_s < plain_s


@pytest.fixture(scope="module")
def pascal() -> GpuSpec:
    """Of compute capability 6.1, with 10 TFLOP/s in float32 and 480 GB/s, nothing measured."""
    return replace(
        load_gpus().find("gtx-1080-ti").spec,
        peak_flops_per_s=ArithmeticRates(fp64=0.3e12, fp32=10e12, fp16=0.16e12),
        measured_matmul_flops_per_s=None,
        memory_type="GDDR5X",
        memory_bandwidth_bytes_per_s=480_000_000_000,
        streaming_multiprocessors=28,
    )


def test_float16_on_pascal_is_computed_in_float32(pascal: GpuSpec) -> None:
    """4096^3: 137.4 GFLOP at 0.93 x 0.97 x 10 TFLOP/s are 15.2 ms at least; at the rate of its own
    float16 units, 0.16 TFLOP/s, they would be 859 ms. 512 tiles of 256 x 128 are 18.3 waves on 28
    multiprocessors: whole waves of whole tiles take 19 / 18.3 of that, split ones less.
    """
    half, single = (
        gpu_time([product(4096, 4096, 4096, dtype=dtype)], pascal)
        for dtype in ("float16", "float32")
    )
    rate = 0.93 * 0.97 * 10e12
    least_s = 2 * 4096**3 / rate
    assert least_s == pytest.approx(15.2e-3, rel=0.01)
    assert least_s < half.compute_s < 19 / 18.3 * least_s
    assert half.compute_s == pytest.approx(single.compute_s / 0.97, rel=0.01)


def test_float16_on_pascal_moves_half_the_bytes(pascal: GpuSpec) -> None:
    """Three matrices of 4096 x 4096: 100.7 MB at 0.8 x 480 GB/s are 0.26 ms, of float32 0.52 ms."""
    half_s, single_s = (
        bare_time(kernels_of(product(4096, 4096, 4096, dtype=dtype))[0], pascal).memory_s
        for dtype in ("float16", "float32")
    )
    assert half_s == pytest.approx(3 * 4096 * 4096 * 2 / (0.8 * 480e9))
    assert single_s == pytest.approx(2 * half_s)


@pytest.mark.parametrize("how", [{}, {"channels_last": True}])
def test_float16_windows_on_pascal_take_what_float32_takes(
    pascal: GpuSpec, how: dict[str, Any]
) -> None:
    half_s, single_s = (windows_s(pascal, dtype=dtype, **how) for dtype in ("float16", "float32"))
    assert half_s == pytest.approx(single_s / 0.97, rel=0.01)


def test_odd_sizes_matter_to_tensor_cores_alone(pascal: GpuSpec) -> None:
    even, odd = (gpu_time([product(4096, 4096, n)], pascal) for n in (4096, 4095))
    assert odd.compute_s == pytest.approx(even.compute_s)


@pytest.mark.parametrize(
    ("name", "dtype", "key"),
    [
        ("t4", "float16", "matrix product, half"),
        ("t4", "bfloat16", "matrix product, single"),
        ("t4", "float32", "matrix product, single"),
        ("gtx-1080-ti", "float16", "matrix product, single"),
        ("gtx-1660-ti", "float16", "matrix product, single"),
        ("p100", "float16", "matrix product, single"),
        ("h100", "bfloat16", "matrix product, half, warp groups"),
        ("h100", "float8_e4m3fn", "matrix product, half, warp groups"),
        ("h100", "float64", "matrix product, single"),
    ],
)
def test_a_product_has_the_share_of_the_units_that_compute_it(
    name: str, dtype: str, key: str
) -> None:
    kernel = replace(kernels_of(product(512, 512, 512))[0], dtype=dtype)
    assert bare_time(kernel, load_gpus().find(name).spec).key == key


def test_float8_products_are_products() -> None:
    """(4096, 4096) times (4096, 4096) with a scale each: not elementwise, and far above float32."""
    h100 = load_gpus().find("h100").spec
    square, scale = tensor(4096, 4096, dtype="float8_e4m3fn"), tensor(1)
    record = OperatorRecord(
        name="aten::_scaled_mm",
        phase=Phase.FORWARD,
        inputs=(square, square, scale, scale),
        outputs=(tensor(4096, 4096, dtype="bfloat16"),),
        calls=1,
        flops=2 * 4096**3,
        flop_source=FlopSource.FORMULA,
        read_bytes=2 * 4096 * 4096 + 8,
        written_bytes=2 * 4096 * 4096,
    )
    shape = Product(batch=1, m=4096, n=4096, k=4096)
    assert kernels_of(record)[0].product == shape
    time = gpu_time([record], h100)
    assert 2 * 4096**3 / 1979e12 < time.compute_s < 2 * 4096**3 / 900e12  # the peak; what bf16 has
    assert dict(time.sources_s) == {TimeSource.TABLE: time.total_s}


def test_one_filter_for_each_channel_is_work_of_cuda_cores(card: GpuSpec) -> None:
    images = tensor(8, 64, 14, 14, dtype="float16")
    record = operator(
        "convolution", (images, tensor(64, 1, 3, 3, dtype="float16")), (images,),
        flops=2 * 8 * 64 * 196 * 9,
    )  # fmt: skip
    (kernel,) = kernels_of(record)
    assert is_depthwise(kernel)
    assert gpu_time([record], card).total_s > 0


def test_operators_without_a_rule_are_named_once(card: GpuSpec) -> None:
    mine = operator("mine::scan", (tensor(8),), (tensor(8),), is_known=False)
    time = gpu_time([mine, mine, relu(8)], card)
    assert time.uncovered == ("mine::scan",)
    assert time.bandwidth_s > 0


def test_the_efficiencies_that_come_with_planner_are_shares_and_times() -> None:
    found = efficiencies()
    for share in (*found.compute.values(), *found.bandwidth.values()):
        assert share > 0
    assert 0 <= found.kernel_s < 1e-4
    assert 0 < issue_costs().launch_s < 1e-4


def test_measured_kernels_take_their_factor_of_the_work_alone(
    card: GpuSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two kinds, one of them measured at 3 x; begin and end stay."""
    use_efficiencies(monkeypatch, HALVED)
    copy = operator("copy_", (tensor(10**8),), (tensor(10**8),))
    plain = gpu_time([relu(10**8), copy], card)
    found = gpu_time([relu(10**8), copy], card, factors={"elementwise, single": 3.0})
    work_s = gpu_time([relu(10**8)], card).bandwidth_s
    assert found.bandwidth_s == pytest.approx(plain.bandwidth_s + 2 * work_s)
    assert found.fixed_s == plain.fixed_s
    assert dict(found.sources_s)[TimeSource.TABLE] == pytest.approx(3 * work_s + HALVED.kernel_s)
    assert TimeSource.TABLE not in dict(plain.sources_s)
    assert gpu_time([relu(10**8), copy], card, factors={"other": 3.0}) == plain


def test_a_factor_is_of_the_units_that_compute(card: GpuSpec) -> None:
    """A change to half precision makes a product of float32 one of another kind."""
    factors = {"matrix product, half": 2.0}
    single, half = product(4096, 4096, 4096, dtype="float32"), product(4096, 4096, 4096)
    assert gpu_time([single], card, factors=factors) == gpu_time([single], card)
    changed = gpu_time(
        [single], card, factors=factors, change=lambda one, _: replace(one, dtype="float16")
    )
    assert changed.compute_s == pytest.approx(2 * gpu_time([half], card).compute_s)
