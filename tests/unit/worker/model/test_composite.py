"""Tensors made of tensors, in the two ways that libraries use."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from planner.worker.model.composite import is_wrapper, kept_by, parts


class Packed(torch.Tensor):
    """Codes and scales; a wrapper as torchao writes them."""

    codes: torch.Tensor
    scales: torch.Tensor

    @staticmethod
    def __new__(cls, codes: torch.Tensor, scales: torch.Tensor) -> Any:
        make: Any = torch.Tensor._make_wrapper_subclass
        self = make(cls, codes.shape, dtype=torch.float32, device=codes.device)
        self.codes, self.scales = codes, scales
        return self

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["codes", "scales"], None

    @classmethod
    def __tensor_unflatten__(cls, inner: Any, _context: Any, _size: Any, _stride: Any) -> Any:
        return cls(inner["codes"], inner["scales"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return cls(args[0].codes, args[0].scales)
        if func is torch.ops.aten._to_copy.default:
            device = (kwargs or {}).get("device")
            return cls(args[0].codes.to(device), args[0].scales.to(device))
        raise NotImplementedError(str(func))


def packed(device: str = "cpu") -> Any:
    return Packed(torch.zeros(8, dtype=torch.uint8, device=device), torch.zeros(2, device=device))


class State:
    """As bitsandbytes' QuantState: scales, quantised once more."""

    def __init__(self, nested: State | None = None) -> None:
        self.absmax = torch.zeros(4)
        self.state2 = nested
        self.kind = "nf4"


def test_a_wrapper_is_its_parts() -> None:
    assert is_wrapper(packed())
    assert [(path, part.numel()) for path, part in parts(packed())] == [
        (".codes", 8),
        (".scales", 2),
    ]
    nested = Packed(torch.zeros(8), packed())
    assert [path for path, _ in parts(nested)] == [".codes", ".scales.codes", ".scales.scales"]


def test_a_plain_tensor_is_itself() -> None:
    tensor = torch.zeros(3)
    assert not is_wrapper(tensor)
    ((path, part),) = parts(tensor)
    assert path == ""
    assert part is tensor


def test_what_a_parameter_keeps_in_its_attributes() -> None:
    parameter: Any = nn.Parameter(torch.zeros(2))
    parameter.quant_state = State(State())
    parameter.SCB = torch.zeros(5)
    parameter.module = nn.Linear(2, 2)  # an owner of its own
    parameter.kind = State  # a class is no state
    assert [(path, kept.numel()) for path, kept in kept_by(parameter)] == [
        (".quant_state.absmax", 4),
        (".quant_state.state2.absmax", 4),
        (".SCB", 5),
    ]


def test_objects_that_refer_to_each_other_end() -> None:
    parameter: Any = nn.Parameter(torch.zeros(2))
    parameter.quant_state = state = State()
    state.state2 = state
    assert len(list(kept_by(parameter))) == 2  # two objects deep, no more


def test_a_plain_parameter_keeps_nothing() -> None:
    assert list(kept_by(nn.Parameter(torch.zeros(2)))) == []
