"""Optimizers by name: what each keeps, computed by hand, and what it says of itself."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest
import torch
from torch import nn

from planner.config.step import OptimizerName
from planner.errors import UsageError
from planner.worker.optimizers.muon import OptimizerPair
from planner.worker.optimizers.named import Named, named

IN, OUT = 128, 64
WEIGHT, BIAS = IN * OUT, OUT
PARAMETERS = WEIGHT + BIAS
# Of bitsandbytes: a byte for each value, and a float for each 256 of them. A tensor of fewer than
# 4096 elements stays in float32. Two tables of 256 floats are there once.
EIGHT_BIT = 2 * (WEIGHT + 4 * WEIGHT // 256) + 2 * 4 * BIAS + 2 * 256 * 4


def installed(package: str) -> Any:
    """Skips what needs a package that the tests do without."""
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"{package} is not installed"
    )


def stepped(name: str, dtype: torch.dtype = torch.float32, **arguments: Any) -> Named:
    """The optimizer after a step of a linear layer on the CPU."""
    torch.manual_seed(0)
    model = nn.Linear(IN, OUT, dtype=dtype)
    made = named(OptimizerName(name), model, arguments)
    before = model.weight.detach().clone()
    model(torch.randn(2, IN, dtype=dtype)).square().sum().backward()
    made.optimizer.step()
    assert not torch.equal(before, model.weight), "it has stepped"
    return made


def state_bytes(optimizer: Any) -> int:
    """Bytes of the tensors that it keeps, each once, without its counts of steps."""
    kept = {
        value.data_ptr(): value.numel() * value.element_size()
        for state in optimizer.state.values()
        for key, value in state.items()
        if isinstance(value, torch.Tensor) and key != "step"
    }
    return sum(kept.values())


@pytest.mark.parametrize(
    ("name", "kind", "bytes_kept"),
    [
        ("sgd", "SGD", 0),
        ("sgd-momentum", "SGD", 4 * PARAMETERS),
        ("sgd-fused", "SGD (fused)", 0),
        ("adam", "Adam", 8 * PARAMETERS),
        ("adamw", "AdamW", 8 * PARAMETERS),
        ("adamw-fused", "AdamW (fused)", 8 * PARAMETERS),
        ("adafactor", "Adafactor", 4 * (OUT + IN) + 4 * BIAS),  # a row and a column
        ("adagrad", "Adagrad", 4 * PARAMETERS),
        ("rmsprop", "RMSprop", 4 * PARAMETERS),
        pytest.param("lion", "Lion", 4 * PARAMETERS, marks=installed("lion_pytorch")),
        pytest.param("adam8bit", "Adam8bit", EIGHT_BIT, marks=installed("bitsandbytes")),
        pytest.param("adamw8bit", "AdamW8bit", EIGHT_BIT, marks=installed("bitsandbytes")),
        # On the CPU nothing is paged.
        pytest.param(
            "paged-adamw8bit", "PagedAdamW8bit", EIGHT_BIT,
            marks=[
                installed("bitsandbytes"),
                pytest.mark.filterwarnings("ignore:Paged optimizers are not supported"),
            ],
        ),
    ],
)  # fmt: skip
def test_what_it_keeps_is_known_by_hand(name: str, kind: str, bytes_kept: int) -> None:
    made = stepped(name)
    assert made.name == kind
    assert type(made.optimizer).__name__ == kind.partition(" ")[0]
    assert state_bytes(made.optimizer) == bytes_kept


@installed("lion_pytorch")
def test_lion_keeps_a_value_in_the_dtype_of_the_weight() -> None:
    assert state_bytes(stepped("lion", torch.bfloat16).optimizer) == 2 * PARAMETERS


@pytest.mark.parametrize("name", ["sgd-fused", "adamw-fused"])
def test_fused_asks_for_the_fused_kernel(name: str) -> None:
    assert stepped(name).optimizer.defaults["fused"] is True
    assert stepped(name, fused=False).optimizer.defaults["fused"] is False


@pytest.mark.parametrize(
    ("name", "package"),
    [
        pytest.param("lion", "lion_pytorch", marks=installed("lion_pytorch")),
        pytest.param("adamw8bit", "bitsandbytes", marks=installed("bitsandbytes")),
    ],
)
def test_the_package_and_its_version_are_said(name: str, package: str) -> None:
    (text,) = stepped(name).assumptions
    assert f" of {package} " in text


@installed("bitsandbytes")
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported")
def test_paged_state_is_said_to_be_elsewhere() -> None:
    texts = stepped("paged-adamw8bit").assumptions
    assert "CUDA's managed memory" in texts[1]


def missing(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Makes the packages impossible to import."""
    for package in packages:
        for module in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("adamw8bit", "pip install bitsandbytes$"),
        ("adam8bit", "pip install bitsandbytes$"),
        ("paged-adamw8bit", "pip install bitsandbytes$"),
        ("lion", r"pip install lion-pytorch \(or bitsandbytes\)$"),
    ],
)
def test_a_missing_package_comes_with_the_command(
    monkeypatch: pytest.MonkeyPatch, name: str, command: str
) -> None:
    missing(monkeypatch, "bitsandbytes", "lion_pytorch")
    with pytest.raises(UsageError, match=f"optimizer {name} needs a package .*{command}"):
        named(OptimizerName(name), nn.Linear(2, 2), {})


@installed("bitsandbytes")
def test_lion_is_that_of_bitsandbytes_where_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing(monkeypatch, "lion_pytorch")
    made = stepped("lion")
    assert "Lion of bitsandbytes" in made.assumptions[0]
    assert state_bytes(made.optimizer) == 4 * PARAMETERS


def test_a_torch_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(UsageError, match=r"torch\.optim\.Muon, which torch .* does not have"):
        named(OptimizerName.MUON, nn.Linear(2, 2), {})


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("adamw-fused", {"beta": 1}, "adamw-fused has no argument 'beta'; it has lr"),
        ("rmsprop", {"lr": -1.0}, "rmsprop refuses lr=-1.0"),
        ("adagrad", {"lr_decay": -1.0}, "adagrad refuses lr_decay=-1.0"),
        ("muon", {"betas": 1}, "muon has no argument 'betas'"),
        pytest.param(
            "lion", {"lr": -1.0}, "lion refuses lr=-1.0: AssertionError",
            marks=installed("lion_pytorch"),
        ),
        pytest.param(
            "adamw8bit", {"amsgrad": True}, "adamw8bit refuses amsgrad=True",
            marks=installed("bitsandbytes"),
        ),
    ],
)  # fmt: skip
def test_arguments_that_do_not_belong(name: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        named(OptimizerName(name), nn.Linear(4, 4), arguments)


class Language(nn.Module):
    """Embedding, norm, a hidden matrix, a frozen one, a head that may be tied."""

    def __init__(self, *, is_tied: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 16)
        self.norm = nn.LayerNorm(16)
        self.hidden = nn.Linear(16, 16)
        self.frozen = nn.Linear(16, 16, bias=False).requires_grad_(False)
        self.head = nn.Linear(16, 10, bias=False)
        if is_tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits."""
        kept: torch.Tensor = self.head(self.frozen(self.hidden(self.norm(self.embedding(tokens)))))
        return kept


@pytest.mark.parametrize("is_tied", [False, True])
def test_muon_has_the_hidden_matrices_and_adamw_the_rest(is_tied: bool) -> None:
    model = Language(is_tied=is_tied)
    made = named(OptimizerName.MUON, model, {"momentum": 0.9})
    pair = made.optimizer
    assert isinstance(pair, OptimizerPair)
    assert made.name == "Muon + AdamW"
    muon, _ = pair.optimizers
    assert [id(one) for one in muon.param_groups[0]["params"]] == [id(model.hidden.weight)]
    assert muon.defaults["momentum"] == 0.9
    model(torch.zeros(2, 3, dtype=torch.long)).sum().backward()
    pair.step()
    # Embedding, norm and bias; the head too unless it is the embedding.
    others = 10 * 16 + 2 * 16 + 16 + (0 if is_tied else 16 * 10)
    assert state_bytes(pair) == 4 * 16 * 16 + 8 * others
    last = "" if is_tied else "the last linear layer head, "
    number = 4 if is_tied else 5
    assert made.assumptions == (
        "optimizer muon: 1 2-D weights of hidden layers by torch.optim.Muon, the other "
        f"{number} tensors (embeddings, {last}what is not 2-D) by torch.optim.AdamW",
    )
    pair.zero_grad()
    assert all(weight.grad is None for weight in model.parameters())
    assert len(pair.param_groups) == 2


def test_muon_alone_where_nothing_is_left() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False))
    model[1].requires_grad_(False)
    made = named(OptimizerName.MUON, model, {})
    assert made.name == "Muon"


def test_muon_of_a_model_without_hidden_matrices_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(UsageError, match=r"this model trains none .* like adamw"):
        named(OptimizerName.MUON, model, {})


def test_a_scaler_takes_a_pair_for_one_optimizer() -> None:
    model = Language(is_tied=True)
    pair = named(OptimizerName.MUON, model, {}).optimizer
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(model(torch.zeros(2, 3, dtype=torch.long)).sum()).backward()
    before = model.hidden.weight.detach().clone()
    scaler.step(pair)
    scaler.update()
    assert not torch.equal(before, model.hidden.weight)
