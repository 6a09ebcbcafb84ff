"""What is seen of operators as they run: FLOPs, bytes moved, storages saved."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from planner.worker.count.module_path import ModulePath
from planner.worker.count.observer import OperatorObserver, SavedStorages, Tally

B = 2
F32 = 4  # bytes


def observed(model: nn.Module, *inputs: Tensor, backward: bool = False) -> Tally:
    path = ModulePath(model)
    observer = OperatorObserver(path)
    observer.tally = tally = Tally()
    with path.hooked(), observer:
        output = model(*inputs)
        if backward:
            output.sum().backward()
    return tally


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_flops_of_a_step_are_those_of_the_flop_counter(device: str) -> None:
    with torch.device(device):
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 8), nn.LSTM(8, 5)
        )
        model.append(_First())
        images = torch.rand(B, 3, 4, 4, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    assert counter.get_total_flops() > 0
    assert observed(model, images, backward=True).total_flops == counter.get_total_flops()


class _First(nn.Module):
    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return pair[0]


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 8])
def test_backward_of_a_convolution_costs_twice_its_forward(
    kind: type[nn.Conv2d | nn.ConvTranspose2d], groups: int
) -> None:
    model = kind(8, 8, 3, groups=groups)
    images = torch.rand(B, 8, 5, 5, requires_grad=True)
    forward = observed(model, images).total_flops
    positions = 9 if kind is nn.Conv2d else 25
    assert forward == 2 * B * 8 * positions * (8 // groups) * 9
    assert observed(model, images, backward=True).total_flops == 3 * forward
    assert observed(model, images.detach(), backward=True).total_flops == 2 * forward


def test_flops_belong_to_the_module_that_runs() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(3, 4, bias=False))
            self.weight = nn.Parameter(torch.rand(4, 5))

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) @ self.weight

    found = observed(Net(), torch.rand(B, 3))
    assert found.flops == {"inner.0": 2 * B * 3 * 4, "": 2 * B * 4 * 5}


def test_bytes_of_a_linear_layer() -> None:
    found = observed(nn.Linear(3, 5), torch.rand(B, 3))
    assert found.read_bytes[""] == F32 * (B * 3 + 3 * 5 + 5)
    assert found.written_bytes[""] == F32 * B * 5


class Function(nn.Module):
    """A method of a tensor as a model."""

    def __init__(self, name: str, *arguments: object) -> None:
        super().__init__()
        self.name, self.arguments = name, arguments

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = getattr(x, self.name)(*self.arguments)
        return found


@pytest.mark.parametrize(
    ("model", "read", "written"),
    [
        (Function("view", -1), 0, 0),
        (Function("transpose", 0, 1), 0, 0),
        (Function("expand", 7, B, 3), 0, 0),
        (Function("clone"), B * 3, B * 3),
        (Function("add", 1.0), B * 3, B * 3),
        (Function("mul_", 2.0), B * 3, B * 3),
        (Function("zero_"), 0, B * 3),
        (Function("new_empty", 9), 0, 0),
        (Function("new_zeros", 9), 0, 9),
        (Function("sum"), B * 3, 1),
    ],
    ids=lambda value: value.name if isinstance(value, Function) else "",
)
def test_bytes_of_operators(model: Function, read: int, written: int) -> None:
    found = observed(model, torch.rand(B, 3))
    assert (found.read_bytes[""], found.written_bytes[""]) == (F32 * read, F32 * written)


def test_of_an_embedding_only_the_rows_looked_up_are_read() -> None:
    found = observed(nn.Embedding(1000, 6), torch.zeros(B, dtype=torch.long))
    assert (found.read_bytes[""], found.written_bytes[""]) == (8 * B + F32 * B * 6, F32 * B * 6)


def test_an_expanded_tensor_is_read_as_it_lies_in_memory() -> None:
    found = observed(Function("add", 1.0), torch.rand(1, 3).expand(100, 3))
    assert (found.read_bytes[""], found.written_bytes[""]) == (F32 * 3, F32 * 300)


def test_operators_without_a_formula_are_named() -> None:
    found = observed(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Flatten()), torch.rand(B, 3))
    assert found.without_formula == {"aten::relu": 1}


def saved(model: nn.Module, *inputs: Tensor) -> SavedStorages:
    path = ModulePath(model)
    kept = SavedStorages(path, [*model.parameters(), *model.buffers(), *inputs])
    with path.hooked(), kept.watching():
        model(*inputs)
    return kept


def test_saved_storages_count_once_and_without_weights_and_inputs() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Sigmoid(), nn.Linear(5, 7), nn.Flatten())
    kept = saved(model, torch.rand(B, 3))
    sigmoid = F32 * B * 5  # what nn.Sigmoid gives out: it needs it, and so does the next layer
    assert [kept.size_bytes(path) for path in ("0", "1", "2", "3")] == [0, sigmoid, sigmoid, 0]
    assert kept.size_bytes("") == sigmoid


def test_a_part_of_a_storage_keeps_it_all() -> None:
    class Part(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.silu(x * 2)[:, :1].exp()

    whole = F32 * B * 9
    # silu keeps its input, exp its own output, which is new
    assert saved(Part(), torch.rand(B, 9, requires_grad=True)).size_bytes("") == whole + F32 * B


def test_nothing_is_saved_where_nothing_is_trained() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Sigmoid()).requires_grad_(False)
    assert saved(model, torch.rand(B, 3)).size_bytes("") == 0


def test_names_that_begin_alike_are_not_within_each_other() -> None:
    model = nn.ModuleDict({"a": nn.Sigmoid(), "ab": nn.Sigmoid()})
    path = ModulePath(model)
    kept = SavedStorages(path, [])
    x = torch.rand(B, 3, requires_grad=True)
    with path.hooked(), kept.watching():
        model["ab"](x)
    assert (kept.size_bytes("a"), kept.size_bytes("ab")) == (0, F32 * B * 3)
