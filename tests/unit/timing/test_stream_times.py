"""Times of elementwise kernels, norms and softmax by tables: hand arithmetic and properties."""

from __future__ import annotations

from functools import cache

import pytest

from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec
from planner.timing.kernels import KernelKind, Pass
from planner.timing.measured.kernel_time import KernelTime, TimeSource
from planner.timing.measured.streams import (
    FILE,
    INSTRUCTIONS_PER_ELEMENT,
    constants,
    moved_s,
    read_again,
    share_of,
    stream_time,
)
from planner.timing.rates import issue_rate

_MEASURED = (
    "v100-pcie-32gb", "a100-pcie-40gb", "a100-pcie-80gb", "p100-pcie-16gb", "t4", "l4",
    "h100-sxm5-80gb", "h200-sxm", "b200-sxm", "l40s", "rtx-pro-6000-blackwell",
)  # fmt: skip
_LARGE = 2**32  # bytes: far beyond any cache


@cache
def _card(name: str) -> GpuSpec:
    return load_gpus().find(name).spec


def _time(
    name: str,
    moved_bytes: int = _LARGE,
    *,
    kind: KernelKind = KernelKind.ELEMENTWISE,
    part: Pass = Pass.FORWARD,
    columns: int = 0,
    element_bytes: int = 4,
) -> KernelTime:
    found = stream_time(
        kind,
        part,
        _card(name),
        moved_bytes=moved_bytes,
        moved_elements=moved_bytes // element_bytes,
        columns=columns,
        element_bytes=element_bytes,
    )
    assert found is not None
    return found


@pytest.mark.parametrize("name", _MEASURED)
def test_large_elementwise_kernels_take_their_bytes_over_the_share(name: str) -> None:
    card, found = _card(name), _time(name)
    share = constants().shares[name]["elementwise"]
    assert found.busy_s == pytest.approx(_LARGE / (share * card.memory_bandwidth_bytes_per_s))
    assert found.source is TimeSource.TABLE
    assert not found.is_compute_bound


@pytest.mark.parametrize(
    ("name", "measured_ms"),
    # NeuSight, mulu of 65536 x 16384 in float32 (8 GiB moved).
    [
        ("a100-pcie-80gb", 5.13229),
        ("a100-pcie-40gb", 6.21029),
        ("p100-pcie-16gb", 15.9034),
        ("l4", 36.5976),
    ],
)
def test_a_measured_kernel_takes_what_it_took(name: str, measured_ms: float) -> None:
    assert _time(name, 2**33).total_s * 1e3 == pytest.approx(measured_ms, rel=0.03)


@pytest.mark.parametrize("name", [*_MEASURED, "rtx-3090", "a100-sxm4-80gb", "gtx-1650"])
def test_more_bytes_never_take_less_and_none_beat_the_bandwidth(name: str) -> None:
    card = _card(name)
    sizes = [2**power for power in range(8, 34)]
    for kind, columns in ((KernelKind.ELEMENTWISE, 0), (KernelKind.NORM, 8192)):
        times = [_time(name, size, kind=kind, columns=columns).total_s for size in sizes]
        assert times == sorted(times)
        beyond_cache = [(s, t) for s, t in zip(sizes, times, strict=True) if s > 4 * card.l2_bytes]
        assert all(t > s / card.memory_bandwidth_bytes_per_s for s, t in beyond_cache)


def test_what_fits_in_the_cache_moves_at_its_rate() -> None:
    card = _card("l40s")
    small = _time("l40s", card.l2_bytes // 4).busy_s
    clocks = card.streaming_multiprocessors * card.boost_clock_hz
    assert small == pytest.approx(
        card.l2_bytes // 4 / (constants().cache_rates["l40s"] * clocks), rel=0.01
    )


def test_half_precision_is_not_bound_by_instructions() -> None:
    found = _time("h100-sxm5-80gb", element_bytes=2)
    assert not found.is_compute_bound
    assert found.busy_s == _time("h100-sxm5-80gb").busy_s


def test_bytes_without_bandwidth_are_bound_by_instructions() -> None:
    card = _card("h100-sxm5-80gb")
    found = stream_time(
        KernelKind.CAST, Pass.FORWARD, card, moved_bytes=2**20, moved_elements=2**40
    )
    assert found is not None
    assert found.is_compute_bound
    assert found.busy_s == pytest.approx(INSTRUCTIONS_PER_ELEMENT * 2**40 / issue_rate(card))


def test_a_norm_reads_long_rows_twice_and_short_ones_once() -> None:
    card, found = _card("a100-pcie-40gb"), constants()
    # 16 blocks of 128 threads on a multiprocessor: 16 rows of 1 KiB and of 256 KiB, of 370 KiB L2.
    short = read_again(found, "norm", card, columns=256, row_bytes=1024)
    long = read_again(found, "norm", card, columns=65536, row_bytes=262144)
    assert short == pytest.approx(0.0, abs=0.01)
    assert long == pytest.approx(0.5, abs=0.01)  # half of the bytes are read
    few = _time("a100-pcie-40gb", kind=KernelKind.NORM, columns=256).busy_s
    many = _time("a100-pcie-40gb", kind=KernelKind.NORM, columns=65536).busy_s
    assert many / few == pytest.approx(1.5, rel=0.02)


def test_softmax_keeps_rows_in_registers_and_shared_memory() -> None:
    times = [
        _time("v100-pcie-32gb", kind=KernelKind.SOFTMAX, columns=columns).busy_s
        for columns in (1024, 12288, 12289, 65536)
    ]
    assert times[0] == times[1]
    assert times[2] > 1.5 * times[1]  # two more reads of what is half of the bytes, as measured
    assert times[3] == pytest.approx(2 * times[0], rel=0.05)


def test_the_backward_of_a_norm_has_no_time_and_that_of_softmax_is_less_certain() -> None:
    norm = stream_time(KernelKind.NORM, Pass.BACKWARD, _card("t4"), moved_bytes=_LARGE)
    assert norm is None
    forward, backward = (
        _time("t4", kind=KernelKind.SOFTMAX, part=part, columns=512)
        for part in (Pass.FORWARD, Pass.BACKWARD)
    )
    assert backward.spread > forward.spread


def test_other_kinds_and_other_makers_have_no_time() -> None:
    matmul = stream_time(KernelKind.MATMUL, Pass.FORWARD, _card("t4"), moved_bytes=_LARGE)
    assert matmul is None
    amd = next(card for card in load_gpus().all() if card.vendor.value == "amd")
    assert stream_time(KernelKind.COPY, Pass.FORWARD, amd, moved_bytes=_LARGE) is None


def test_cards_without_a_table_say_so() -> None:
    related, other = _time("a100-sxm4-80gb"), _time("rtx-3090")
    assert related.source is TimeSource.RELATED
    assert other.source is TimeSource.FALLBACK
    assert other.spread > _time("t4").spread
    # A norm of a card whose elementwise kernels alone were measured.
    assert _time("h100-sxm5-80gb", kind=KernelKind.NORM).source is TimeSource.RELATED


def test_a_card_left_out_takes_no_figure_of_its_own() -> None:
    found, card = constants(), _card("v100-pcie-32gb")
    own, source, _ = share_of(found, card, "elementwise")
    other, left_out, _ = share_of(found, card, "elementwise", without=card.id)
    assert source is TimeSource.TABLE
    assert left_out is not TimeSource.TABLE
    assert own != other


def test_bytes_read_again_come_from_memory() -> None:
    found, card = constants(), _card("t4")
    once = moved_s(found, card, _LARGE, again=0.0, share=0.5)
    assert moved_s(found, card, _LARGE, again=0.5, share=0.5) == pytest.approx(1.5 * once)


def test_the_file_is_small() -> None:
    assert FILE.stat().st_size < 10_000
