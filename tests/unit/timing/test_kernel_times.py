"""Which kernels a table times, and what published steps say of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.hardware.database import load_gpus
from planner.timing.efficiency import Efficiencies, efficiencies
from planner.timing.kernel_roofs import bare_time, busy_s
from planner.timing.kernel_times import fitted_time, kernel_time, table_time
from planner.timing.kernels import Kernel, kernels_of
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.roofline import gpu_time
from planner.wire.kernel_facts import AttentionFacts
from tests.unit.given_efficiencies import use_efficiencies
from tests.unit.operator_records import operator, product, tensor

A100 = load_gpus().find("a100-sxm4-80gb").spec
H100 = load_gpus().find("h100-sxm5-80gb").spec
SCORES = tensor(64, 16, 512, 512)
SOFTMAX = operator("_softmax", (SCORES,), (SCORES,))


def attention(keys: int, *, has_bias: bool = False) -> Kernel:
    heads = tensor(4, 16, keys, 64, dtype="bfloat16")
    facts = AttentionFacts(
        backend="flash", batch=4, query_heads=16, key_heads=16, queries=keys, keys=keys,
        head_width=64, value_width=64, is_causal=True, has_bias=has_bias,
    )  # fmt: skip
    record = operator("_scaled_dot_product_flash_attention", (heads, heads, heads), (heads,))
    (found,) = kernels_of(replace(record, attention=facts))
    return found


def only(record: object) -> Kernel:
    (found,) = kernels_of(record)  # type: ignore[arg-type] # a record of operator_records
    return found


def batched(dtype: str) -> Kernel:
    left, right = tensor(96, 512, 64, dtype=dtype), tensor(96, 64, 512, dtype=dtype)
    return only(
        operator(
            "bmm", (left, right), (tensor(96, 512, 512, dtype=dtype),), flops=2 * 96 * 512**2 * 64
        )
    )


def on_h100_in_fp8() -> Kernel:
    return replace(only(product(4096, 4096, 4096)), dtype="float8_e4m3fn")


@pytest.mark.parametrize(
    ("kernel", "by_table"),
    [
        pytest.param(only(SOFTMAX), True, id="softmax"),
        pytest.param(attention(2048), True, id="long attention"),
        pytest.param(only(product(8, 4096, 4096)), True, id="a product of few rows"),
        pytest.param(only(product(4096, 4096, 8)), False, id="a product of few columns"),
        pytest.param(attention(512), False, id="short attention"),
        pytest.param(attention(2048, has_bias=True), False, id="attention with a bias"),
        pytest.param(batched("float32"), True, id="batched products of float32"),
        pytest.param(batched("float16"), False, id="of float16"),
        pytest.param(only(product(4096, 4096, 4096, dtype="float32")), False, id="one product"),
        pytest.param(on_h100_in_fp8(), True, id="products in 8 bits"),
        pytest.param(only(operator("native_group_norm", (SCORES,), (SCORES,))), False, id="group"),
    ],
)
def test_kinds_that_a_table_times(kernel: Kernel, by_table: bool) -> None:
    card = H100 if kernel.dtype.startswith("float8") else A100
    assert (table_time(kernel, card) is not None) is by_table
    is_fit = kernel_time(kernel, card).source in (TimeSource.FIT, TimeSource.FALLBACK)
    assert is_fit is not by_table


def test_published_steps_correct_a_table_by_a_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = only(SOFTMAX)
    table = table_time(kernel, A100)
    assert table is not None
    found = replace(efficiencies(), tables={bare_time(kernel, A100).key: 1.5})
    use_efficiencies(monkeypatch, found)
    corrected = kernel_time.__wrapped__(kernel, A100)
    assert corrected.busy_s == pytest.approx(1.5 * table.busy_s)
    assert corrected.fixed_s == table.fixed_s


def test_a_kind_that_no_step_has_is_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = only(product(4096, 4096, 4096))
    key = bare_time(kernel, A100).key
    known = Efficiencies(
        compute={key: 0.5}, bandwidth={key: 0.5}, kernel_s=0.0, cache_gain=0.0, cache_reach=1.0
    )
    for found, source in (
        (known, TimeSource.FIT), (replace(known, unseen=frozenset({key})), TimeSource.FALLBACK)
    ):  # fmt: skip
        use_efficiencies(monkeypatch, found)
        time = fitted_time(kernel, A100)
        assert time.source is source
        bare = bare_time(kernel, A100)
        assert time.busy_s == busy_s(kernel, bare.compute_s / 0.5, bare.memory_s / 0.5)


def test_a_step_says_where_its_times_are_from() -> None:
    time = gpu_time([SOFTMAX, product(4096, 4096, 4096)], A100)
    sources = dict(time.sources_s)
    assert set(sources) == {TimeSource.RELATED, TimeSource.FIT}
    assert sum(sources.values()) == pytest.approx(time.total_s)
