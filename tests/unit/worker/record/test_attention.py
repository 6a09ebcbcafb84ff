from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import nn

from planner.worker.record import attention


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Record calls on the CPU, and answer them: the arguments of each question asked."""
    asked: list[dict[str, Any]] = []

    def choose(query: Any, key: Any, value: Any, **options: Any) -> int:
        asked.append({"query": query, "key": key, "value": value, **options})
        return 2 if options["attn_mask"] is not None else 1

    monkeypatch.setattr(attention, "_DEVICE", "cpu")
    monkeypatch.setattr(torch, "_fused_sdp_choice", choose)
    monkeypatch.setattr(F, "scaled_dot_product_attention", F.scaled_dot_product_attention)
    attention.install()
    attention.reset()
    yield asked
    attention.reset()


def test_each_backend_is_recorded_once(choices: list[dict[str, Any]]) -> None:
    q = torch.randn(2, 2, 4, 8)
    mask = torch.ones(4, 4, dtype=torch.bool)
    for _ in range(3):
        F.scaled_dot_product_attention(q, q, q)
        F.scaled_dot_product_attention(q, q, q, mask)
    assert attention.recorded() == ("efficient", "flash")
    assert len(choices) == 2
    attention.reset()
    assert attention.recorded() == ()


def test_the_result_is_that_of_torch(choices: list[dict[str, Any]]) -> None:
    q, k, v = torch.randn(3, 2, 2, 4, 8)
    got = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)
    expected = torch._C._nn.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)
    assert torch.equal(got, expected)
    assert choices[0]["is_causal"] is True
    assert choices[0]["scale"] == 0.3


def test_multihead_attention_is_seen(choices: list[dict[str, Any]]) -> None:
    x = torch.randn(2, 4, 8)
    nn.MultiheadAttention(8, 2, batch_first=True)(x, x, x, need_weights=False)
    assert attention.recorded() == ("flash",)


def test_autocast_is_taken_into_account_without_a_copy(choices: list[dict[str, Any]]) -> None:
    q = torch.randn(2, 2, 4, 8).transpose(1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        F.scaled_dot_product_attention(q, q, q)
    asked = choices[0]["query"]
    assert asked.dtype is torch.bfloat16
    assert (asked.shape, asked.stride()) == (q.shape, q.stride())
    assert asked.untyped_storage().data_ptr() == q.untyped_storage().data_ptr()


def test_gradients_are_part_of_the_question(choices: list[dict[str, Any]]) -> None:
    q = torch.randn(2, 2, 4, 8)
    F.scaled_dot_product_attention(q, q, q)
    q.requires_grad_()
    F.scaled_dot_product_attention(q, q, q)
    with torch.no_grad():
        F.scaled_dot_product_attention(q, q, q)
    assert len(choices) == 3


def test_recording_never_raises(
    choices: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*values: Any, **options: Any) -> int:
        raise RuntimeError("no")

    monkeypatch.setattr(torch, "_fused_sdp_choice", fail)
    q = torch.randn(1, 1, 4, 8)
    assert F.scaled_dot_product_attention(q, q, q).shape == q.shape
    assert attention.recorded() == ()


def test_other_devices_are_not_looked_at() -> None:
    attention.install()
    attention.reset()
    q = torch.randn(1, 1, 4, 8)
    F.scaled_dot_product_attention(q, q, q)
    assert attention.recorded() == ()


def test_a_script_still_knows_the_function() -> None:
    attention.install()

    def attend(q: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, q, q)

    q = torch.randn(1, 1, 4, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *values, **options: None)
        assert torch.jit.script(attend)(q).shape == q.shape  # type: ignore[no-untyped-call]
