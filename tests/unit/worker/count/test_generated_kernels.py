"""Costs of kernels that Triton made, by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from planner.wire.kernel_facts import LoopFacts
from planner.wire.trace import FlopSource
from planner.worker.count.generated_kernels import call_of

ROWS, WIDTH = 32, 512


class CachingAutotuner:
    """As inductor's."""

    def __init__(
        self,
        names: list[str],
        record: dict[str, Any],
        *,
        hints: dict[str, int] | None = None,
        name: str = "triton_poi_fused_add_mul_3",
        custom: bool = False,
    ) -> None:
        self.fn = SimpleNamespace(arg_names=names, __name__=name)
        self.inductor_meta = record
        self.size_hints = hints
        self.custom_kernel = custom


class Autotuner(CachingAutotuner):
    """As Triton's own tuner, which launches the function that it tunes."""


def _half(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=torch.float16)


def test_a_fused_loop_moves_its_tensors_once() -> None:
    names = ["in_ptr0", "in_ptr1", "out_ptr0", "xnumel", "XBLOCK"]
    kernel = CachingAutotuner(names, {"num_load": 2, "num_store": 1})
    left, bias, out = _half(ROWS, WIDTH), _half(WIDTH), _half(ROWS, WIDTH)
    found = call_of(kernel, (left, bias, out, ROWS * WIDTH), {"stream": 0})
    assert found is not None
    assert found.name == "inductor::poi_fused_add_mul"
    assert found.read_bytes == 2 * (ROWS * WIDTH + WIDTH)
    assert found.written_bytes == 2 * ROWS * WIDTH
    assert found.loop == LoopFacts(elements=ROWS * WIDTH, reduced=1)
    assert (found.launches, found.flops) == (1, None)


def test_a_tensor_that_is_changed_in_place_is_read_and_written() -> None:
    kernel = CachingAutotuner(["in_out_ptr0", "xnumel"], {"num_load": 1, "num_store": 1})
    found = call_of(kernel, (_half(ROWS, WIDTH), ROWS * WIDTH), {"stream": 0})
    assert found is not None
    assert found.read_bytes == found.written_bytes == 2 * ROWS * WIDTH


def test_of_a_table_only_the_selected_part_is_read() -> None:
    """An embedding: an index for each row, and a row of the table for each."""
    names = ["in_ptr0", "in_ptr1", "out_ptr0", "xnumel"]
    kernel = CachingAutotuner(names, {"num_load": 2, "num_store": 1})
    index, table = torch.zeros(ROWS, dtype=torch.int64), _half(50_000, WIDTH)
    found = call_of(kernel, (index, table, _half(ROWS, WIDTH), ROWS * WIDTH), {"stream": 0})
    assert found is not None
    assert found.read_bytes == 8 * ROWS + 2 * ROWS * WIDTH


def test_a_window_reads_more_elements_than_it_gives() -> None:
    """A pooling of 2 x 2 loads four elements for each that it stores."""
    kernel = CachingAutotuner(["in_ptr0", "out_ptr0", "xnumel"], {"num_load": 4, "num_store": 1})
    found = call_of(kernel, (_half(8, 8), _half(4, 4), 16), {"stream": 0})
    assert found is not None
    assert found.read_bytes == 2 * 64
    assert found.written_bytes == 2 * 16


def test_a_reduction_says_how_many_elements_a_sum_takes() -> None:
    names = ["in_ptr0", "out_ptr0", "xnumel", "r0_numel", "XBLOCK"]
    kernel = CachingAutotuner(
        names, {"num_load": 1, "num_reduction": 1}, name="triton_per_fused_sum_0"
    )
    found = call_of(kernel, (_half(ROWS, WIDTH), _half(ROWS), ROWS, WIDTH), {"stream": 0})
    assert found is not None
    assert found.loop == LoopFacts(elements=ROWS * WIDTH, reduced=WIDTH)
    assert found.read_bytes == 2 * ROWS * WIDTH
    assert found.written_bytes == 2 * ROWS


def test_sizes_that_are_not_passed_are_those_of_the_hints() -> None:
    kernel = CachingAutotuner(["in_ptr0", "out_ptr0"], {}, hints={"x": 64, "r0_": 128})
    found = call_of(kernel, (_half(50, 100), _half(50)), {"stream": 0})
    assert found is not None
    assert found.loop == LoopFacts(elements=64 * 128, reduced=128)
    assert found.read_bytes == 2 * 50 * 100


def test_a_kernel_by_hand_moves_each_of_its_tensors_once() -> None:
    def kernel() -> None: ...

    kernel.arg_names = ["a", "b", "n"]  # type: ignore[attr-defined] # as Triton's functions
    found = call_of(kernel, (_half(8), _half(8), 8), {"grid": (1,), "warmup": False})
    assert found is not None
    assert found.name == "triton::kernel"
    assert found.read_bytes + found.written_bytes == 2 * (8 + 8)


def test_a_users_kernel_in_compiled_code_is_one_by_hand() -> None:
    kernel = CachingAutotuner(["a", "b"], {}, name="my_kernel", custom=True)
    found = call_of(kernel, (_half(8), _half(8)), {"stream": 0})
    assert found is not None
    assert found.name == "triton::my_kernel"


def test_a_tuner_and_a_warm_up_launch_nothing_themselves() -> None:
    assert call_of(Autotuner(["a"], {}), (_half(8),), {}) is None

    def kernel() -> None: ...

    kernel.arg_names = ["a"]  # type: ignore[attr-defined] # as Triton's functions
    assert call_of(kernel, (_half(8),), {"grid": (1,), "warmup": True}) is None


HEADS, TOKENS, HEAD = 8, 128, 64


@pytest.mark.parametrize(
    ("word", "products"), [("", 2), ("_backward", 5)], ids=["forward", "backward"]
)
def test_flex_attention_is_attention_over_all_pairs(word: str, products: int) -> None:
    names = ["arg_Q", "arg_K", "arg_V", "arg_LSE", "out_ptr0"]
    kernel = CachingAutotuner(names, {}, name=f"triton_tem_fused_flex_attention{word}_2")
    heads, few = _half(2, HEADS, TOKENS, HEAD), _half(2, 2, TOKENS, HEAD)
    found = call_of(kernel, (heads, few, few, _half(2, HEADS, TOKENS), heads), {"stream": 0})
    assert found is not None
    assert found.name == f"inductor::tem_fused_flex_attention{word}"
    assert found.flops == products * 2 * 2 * HEADS * TOKENS * TOKENS * HEAD
    assert found.attention is not None
    assert (found.attention.query_heads, found.attention.key_heads) == (HEADS, 2)
    assert found.read_bytes + found.written_bytes == 2 * (
        2 * heads.numel() + 2 * few.numel() + 2 * HEADS * TOKENS
    )


def test_of_a_product_by_a_template_the_flops_are_not_known() -> None:
    kernel = CachingAutotuner(["arg_A", "arg_B", "out_ptr0"], {}, name="triton_tem_fused_mm_0")
    found = call_of(kernel, (_half(8, 8), _half(8, 8), _half(8, 8)), {"stream": 0})
    assert found is not None
    assert (found.flops, found.flop_source) == (None, FlopSource.UNKNOWN)
