"""FLOPs and activations of tiny nets, each computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor, nn

from planner.worker.count.counts import ForwardCounts, ModelCall, NotTraceableError, count_forward

B = 2  # samples


def counted(model: nn.Module, *shapes: tuple[int, ...]) -> ForwardCounts:
    call = ModelCall(arguments=tuple(torch.rand(shape) for shape in shapes), keywords={})
    return count_forward(model, call)


class Function(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[..., Tensor], *weights: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList(nn.Parameter(torch.rand(shape)) for shape in weights)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs, *self.weights)


def test_modules_and_their_holders() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()),
        nn.Linear(8 * 16, 10),
    )
    found = counted(model, (B, 3, 4, 4))
    convolution = 2 * (B * 8 * 16) * (3 * 9)
    norm = 7 * (B * 8 * 16)
    linear = 2 * (B * 10) * (8 * 16)
    assert found.flops == {
        "": convolution + norm + linear,
        "0": convolution, "1": norm, "1.0": norm, "1.1": 0, "1.2": 0, "2": linear,
    }  # fmt: skip
    assert found.activations[""] == B * 8 * 16 + B * 10
    assert (found.activations["0"], found.activations["1"]) == (B * 8 * 16, 0)
    assert found.uncounted == {}


def test_a_batch_of_twice_the_size_costs_twice_as_much() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.LayerNorm(5))
    once, twice = counted(model, (B, 6)), counted(model, (2 * B, 6))
    assert {path: 2 * flops for path, flops in once.flops.items()} == twice.flops


L, S, E, V = 5, 7, 8, 6  # queries, keys, width of keys, width of values
SCORES = B * 4 * L * S

FUNCTIONS: dict[str, tuple[nn.Module, list[tuple[int, ...]], float]] = {
    "attention": (
        Function(F.scaled_dot_product_attention),
        [(B, 4, L, E), (B, 4, S, E), (B, 4, S, V)],
        SCORES * (2 * (E + V) + 5),
    ),
    "grouped-query attention": (
        Function(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)),
        [(B, 4, L, E), (B, 2, S, E), (B, 2, S, V)],
        SCORES * (2 * (E + V) + 5),
    ),
    "softmax": (nn.Softmax(-1), [(B, 9)], 4 * B * 9),
    "gelu": (nn.GELU(), [(B, 9)], B * 9),
    "silu in place": (nn.SiLU(inplace=True), [(B, 9)], B * 9),
    "layer norm": (nn.LayerNorm(9), [(B, 9)], 7 * B * 9),
    "layer norm without weights": (
        nn.LayerNorm(9, elementwise_affine=False), [(B, 9)], 5 * B * 9,
    ),
    "group norm": (nn.GroupNorm(3, 9), [(B, 9, 4)], 7 * B * 9 * 4),
    "instance norm": (nn.InstanceNorm1d(9), [(B, 9, 4)], 5 * B * 9 * 4),
    "rms norm": (nn.RMSNorm(9), [(B, 9)], 4 * B * 9),
    "batch norm in evaluation": (nn.BatchNorm1d(9).eval(), [(B, 9)], 2 * B * 9),
    "matmul that broadcasts": (Function(torch.matmul), [(3, 4), (B, 4, 5)], 2 * B * 3 * 5 * 4),
    "matrix times vector": (Function(torch.matmul), [(B, 3, 4), (4,)], 2 * B * 3 * 4),
    "baddbmm": (
        Function(torch.baddbmm), [(B, 3, 5), (B, 3, 4), (B, 4, 5)], B * 3 * 5 * (2 * 4 + 1),
    ),
    "einsum of two": (
        Function(lambda x, y: torch.einsum("bij,bjk->bik", x, y)),
        [(B, 3, 4), (B, 4, 5)],
        2 * B * 3 * 4 * 5,
    ),
    "einsum of three": (
        Function(lambda x, y, z: torch.einsum("bi,ij,jk->bk", x, y, z)),
        [(B, 3), (3, 4), (4, 5)],
        2 * B * 3 * 4 + 2 * B * 4 * 5,
    ),
    "tensordot": (
        Function(lambda x, y: torch.tensordot(x, y, dims=([1, 2], [0, 1]))),
        [(B, 3, 4), (3, 4, 5)],
        2 * B * 5 * 3 * 4,
    ),
    "bilinear": (nn.Bilinear(3, 4, 5), [(B, 3), (B, 4)], 2 * B * 5 * 3 * (4 + 1)),
    "cdist": (Function(torch.cdist), [(B, 3, 4), (B, 5, 4)], B * 3 * 5 * 4 * 3),
    "transposed convolution in groups": (
        nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2), [(B, 8, 3, 3)],
        2 * (B * 8 * 9) * (2 * 4),
    ),
    "depthwise convolution": (
        nn.Conv1d(8, 8, 3, groups=8), [(B, 8, 6)], 2 * (B * 8 * 4) * 3,
    ),
    "convolution with padding in words": (
        nn.Conv2d(3, 8, 3, padding="same"), [(B, 3, 4, 4)], 2 * (B * 8 * 16) * 27,
    ),
    "embedding": (
        Function(lambda x, w: F.embedding(x.long(), w), (4, 6)), [(B, 3)], 0,
    ),
    "average pool": (nn.AvgPool2d(2), [(B, 3, 4, 4)], B * 3 * 4 * 4),
    "global average pool": (nn.AdaptiveAvgPool2d(1), [(B, 3, 4, 4)], B * 3 * 4 * 4),
    "integers": (Function(lambda x: (x.long() + 1) * 2), [(B, 3)], 0),
    "rnn": (nn.RNN(3, 4, batch_first=True), [(B, 5, 3)],
            B * 5 * (2 * (4 * 3 + 4 * 4) + 2 * 4 + 2 * 4)),
    "gru": (
        nn.GRU(3, 4, batch_first=True), [(B, 5, 3)],
        B * 5 * (2 * 3 * (4 * 3 + 4 * 4) + 2 * 3 * 4 + 10 * 4),
    ),
    "lstm of two layers in two directions": (
        nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True), [(B, 5, 3)],
        B * 5 * 2 * (2 * 4 * (4 * 3 + 4 * 4) + 2 * 4 * (4 * 8 + 4 * 4) + 2 * (8 * 4 + 13 * 4)),
    ),
    "lstm with a projection": (
        nn.LSTM(3, 4, proj_size=2), [(5, B, 3)],
        B * 5 * (2 * (16 * 3 + 16 * 2 + 2 * 4) + 2 * 16 + 13 * 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_formulas(name: str) -> None:
    model, shapes, flops = FUNCTIONS[name]
    found = counted(model, *shapes)
    assert found.flops[""] == flops
    assert found.uncounted == {}


def test_lstm_cell() -> None:
    cell = nn.LSTMCell(3, 4)
    found = counted(cell, (B, 3))
    products = 2 * B * (16 * 3 + 16 * 4)
    assert products <= found.flops[""] <= products + B * (2 * 16 + 13 * 4)
    assert found.uncounted == {}


def test_packed_sequences_cost_what_they_hold() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 2]), batch_first=True)
            outputs, _ = self.lstm(packed)
            return outputs.data

    found = counted(Packed(), (B, 5, 3))
    assert found.flops["lstm"] == (5 + 2) * (2 * 16 * (3 + 4) + 2 * 16 + 13 * 4)


def test_keywords_nesting_and_outputs_without_a_tensor_on_top() -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(
            self, pair: dict[str, Tensor], *, scale: float, extra: Tensor
        ) -> dict[str, list[Tensor]]:
            return {"out": [self.layer(pair["x"]) * scale, extra]}

    call = ModelCall(
        arguments=({"x": torch.rand(B, 3)},), keywords={"scale": 2.0, "extra": torch.rand(1)}
    )
    found = count_forward(Nested(), call)
    assert found.flops == {"": 2 * B * 3 * 4 + B * 4, "layer": 2 * B * 3 * 4}


def test_a_shared_module_counts_under_its_first_name_each_time() -> None:
    layer = nn.Linear(4, 4, bias=False)
    found = counted(nn.Sequential(layer, nn.ReLU(), layer), (B, 4))
    assert found.flops[""] == found.flops["0"] == 2 * (2 * B * 4 * 4)


def test_what_has_no_rule_is_a_result() -> None:
    found = counted(Function(lambda x: torch.fft.rfft(x).abs() + torch.fft.rfft(x).abs()), (B, 8))
    assert found.uncounted == {"aten::fft_rfft": 2}


def test_the_fast_path_of_attention_in_evaluation_hides_nothing() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    training = counted(layer, (B, 3, 8))
    assert counted(layer.eval(), (B, 3, 8)).flops == training.flops
    assert torch.backends.mha.get_fastpath_enabled()


def test_what_cannot_be_traced_says_why() -> None:
    def refuse(x: Tensor) -> Tensor:
        raise RuntimeError("not today\nnor tomorrow")

    with pytest.raises(NotTraceableError, match=r"^not today$"):
        counted(Function(refuse), (B, 3))
    with pytest.raises(NotTraceableError, match="without a tensor"):
        count_forward(nn.Identity(), ModelCall(arguments=(3,), keywords={}))
