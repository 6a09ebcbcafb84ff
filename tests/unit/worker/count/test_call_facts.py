"""What decides the kernel of a call, found in its arguments; the order of calls, and launches."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import torch
from torch import nn

from planner.wire.call_order import CallOrder
from planner.wire.kernel_facts import AttentionFacts, ConvolutionFacts
from planner.wire.trace import Phase
from planner.worker.count.call_facts import attention_facts, convolution_facts
from planner.worker.count.module_path import ModulePath
from planner.worker.count.observer import OperatorObserver

ATEN: Any = torch.ops.aten
META = torch.device("meta")
CPU = torch.device("cpu")


def heads_first(heads: int, tokens: int, width: int = 64) -> torch.Tensor:
    return torch.empty(2, heads, tokens, width, device=META)


def test_attention_of_a_model_has_heads_before_tokens() -> None:
    func = ATEN._scaled_dot_product_flash_attention.default
    arguments = (heads_first(32, 512), heads_first(8, 1024), heads_first(8, 1024, 128), 0.1, True)
    assert attention_facts(func, arguments, {}) == AttentionFacts(
        backend="flash", batch=2, query_heads=32, key_heads=8, queries=512, keys=1024,
        head_width=64, value_width=128, is_causal=True, dropout=0.1,
    )  # fmt: skip


def test_packed_sequences_have_a_number_and_a_longest() -> None:
    func = ATEN._flash_attention_forward.default
    query = torch.empty(700, 16, 64, device=META)
    starts = torch.tensor([0, 100, 400, 700])
    keywords = {"window_size_left": 128, "window_size_right": 0}
    arguments = (query, query, query, starts, starts, 300, 300, 0.0, False, False)
    assert attention_facts(func, arguments, keywords) == AttentionFacts(
        backend="flash", batch=3, query_heads=16, key_heads=16, queries=300, keys=300,
        head_width=64, value_width=64, is_causal=False, window=128,
    )  # fmt: skip


def test_a_bias_and_a_mask_by_number_are_known() -> None:
    func = ATEN._efficient_attention_forward.default
    query, bias = (torch.empty(2, 512, 8, 64, device=META), torch.empty(2, 8, 512, 512))
    arguments = (query, query, query, bias, None, None, None, None, 0.0, 1)
    found = attention_facts(func, arguments, {})
    assert found is not None
    assert (found.backend, found.batch, found.query_heads, found.queries) == (
        "efficient",
        2,
        8,
        512,
    )
    assert (found.has_bias, found.is_causal) == (True, True)


def test_the_window_of_another_library_is_a_pair() -> None:
    library = torch.library.Library("planner_attention_test", "DEF")
    try:
        library.define(
            "flash_attn(Tensor q, Tensor k, Tensor v, bool causal, int[] window_size) -> Tensor"
        )
        func = torch.ops.planner_attention_test.flash_attn.default
        query = torch.empty(2, 512, 8, 64, device=META)
        for pair, window in (([256, 0], 256), ([-1, -1], None)):
            found = attention_facts(func, (query, query, query, True, pair), {})
            assert found is not None
            assert (found.window, found.is_causal, found.queries) == (window, True, 512)
    finally:
        library._destroy()


def test_what_only_looks_like_attention_has_no_facts() -> None:
    assert attention_facts(ATEN.mm.default, (heads_first(1, 8), heads_first(1, 8)), {}) is None


@pytest.mark.parametrize("is_backward", [False, True])
def test_a_convolution_has_its_stride_padding_dilation_and_groups(is_backward: bool) -> None:
    image, weight = torch.empty(2, 8, 32, 32), torch.empty(16, 4, 3, 3)
    settings = ([2, 2], [1, 0], [1, 1], False, [0, 0], 2)
    if is_backward:
        arguments: tuple[Any, ...] = (torch.empty(2, 16, 16, 15), image, weight, None, *settings)
        func = ATEN.convolution_backward.default
        arguments = (*arguments, [True, True, False])
    else:
        arguments, func = (image, weight, None, *settings), ATEN.convolution.default
    assert convolution_facts(func, arguments, {}) == ConvolutionFacts(
        stride=(2, 2), padding=(1, 0), dilation=(1, 1), groups=2, is_transposed=False
    )


def test_the_order_has_each_call_and_the_views_before_it() -> None:
    launched = count(step=1)  # asked before and after each call: one kernel each
    observer = OperatorObserver(ModulePath(nn.Identity()), launches=lambda: next(launched))
    x = torch.rand(4, 6)
    with observer:
        observer.phase = Phase.FORWARD
        x.exp()
        x.t().reshape(3, 8).exp()
        observer.phase = Phase.BACKWARD
        x.exp()
        x.exp()
    found = observer.recorded(CPU)
    names = [(one.name, one.phase, one.calls) for one in found.operators]
    assert names == [
        ("aten::exp", Phase.FORWARD, 1),
        ("aten::clone", Phase.FORWARD, 1),
        ("aten::exp", Phase.FORWARD, 1),
        ("aten::exp", Phase.BACKWARD, 2),
    ]
    assert found.order == CallOrder(operators=(0, 1, 2, 3, 3), views=(0, 1, 1, 0, 0))
    assert {one.launches for one in found.operators} == {1}
