"""The files in models/: published sizes, the model-file contract, real steps of the small ones."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

MODELS = Path(__file__).parents[3] / "models"
FILES = sorted(path.stem for path in MODELS.glob("*.py"))

# file, function, parameters as published with the model (see each file's source), or computed below
PUBLISHED = [
    ("resnet50", "build_model", 25_557_032),
    ("vit", "build_model", 86_567_656),
    ("gpt2", "build_model", 124_439_808),
    ("bert", "build_model", 109_514_298),
    ("llama", "llama_1b", 1_235_814_400),
    ("llama", "llama_8b", 8_030_261_248),
    ("llama", "llama_70b", 70_553_706_496),
    ("t5", "t5_small", 60_506_624),
    ("t5", "t5_base", 222_903_552),
    ("unet", "build_model", 35_746_307),
]


@cache
def load(name: str) -> ModuleType:
    """Import a model file by its path, as the planner does."""
    spec = importlib.util.spec_from_file_location(f"model_file_{name}", MODELS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up by name
    spec.loader.exec_module(module)
    return module


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build()


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def tensors(batch: object) -> list[Tensor]:
    """The leaves of a batch; anything but tuple, list, dict and tensor is against the contract."""
    if isinstance(batch, Tensor):
        return [batch]
    assert isinstance(batch, tuple | list | dict)
    children = batch.values() if isinstance(batch, dict) else batch
    return [leaf for child in children for leaf in tensors(child)]


def forward(model: nn.Module, batch: Any) -> Tensor:
    if isinstance(batch, dict):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple) else model(batch)


def loss_of(module: ModuleType, model: nn.Module, batch: Any) -> Tensor:
    if hasattr(module, "training_step"):
        return module.training_step(model, batch)
    labels = torch.zeros(len(batch), dtype=torch.long, device=batch.device)
    return nn.functional.cross_entropy(model(batch), labels)


def test_every_file_is_covered_by_a_size() -> None:
    assert set(FILES) == {row[0] for row in PUBLISHED} | {"mlp", "lstm"}


@pytest.mark.parametrize(
    ("name", "function", "expected"), PUBLISHED, ids=[f"{row[0]}-{row[1]}" for row in PUBLISHED]
)
def test_parameters_equal_the_published_count(name: str, function: str, expected: int) -> None:
    module = load(name)
    assert parameters(on_meta(getattr(module, function))) == expected
    assert f"{expected:,}" in (module.__doc__ or "")


def test_mlp_parameters_equal_hand_arithmetic() -> None:
    expected = (784 + 1) * 1024 + (1024 + 1) * 1024 + (1024 + 1) * 10
    assert parameters(on_meta(load("mlp").build_model)) == expected
    assert f"{expected:,}" in (load("mlp").__doc__ or "")


@pytest.mark.parametrize("units", [650, 1500], ids=["medium", "large"])
def test_lstm_parameters_equal_hand_arithmetic(units: int) -> None:
    gates = 4 * units * (units + units) + 2 * 4 * units  # input and recurrent weights, two biases
    expected = 10_000 * units + 2 * gates + (units + 1) * 10_000
    module = load("lstm")
    assert parameters(on_meta(lambda: module.build_model(units=units))) == expected
    assert f"{expected:,}" in Path(str(module.__file__)).read_text()


def test_unet_parameters_equal_hand_arithmetic() -> None:
    base, time = 128, 512
    wide = 2 * base

    def residual(inputs: int, outputs: int) -> int:
        convolutions = 9 * inputs * outputs + outputs + 9 * outputs * outputs + outputs
        shortcut = (inputs + 1) * outputs if inputs != outputs else 0
        return 2 * inputs + 2 * outputs + convolutions + (time + 1) * outputs + shortcut

    attention = 2 * wide + 4 * (wide + 1) * wide
    resample = 9 * wide * wide + wide
    down = 2 * residual(base, base) + (9 * base * base + base)
    down += residual(base, wide) + residual(wide, wide) + 2 * attention + resample
    down += 2 * residual(wide, wide) + resample + 2 * residual(wide, wide)
    middle = 2 * residual(wide, wide) + attention
    up = 3 * residual(2 * wide, wide) + resample  # 4 x 4, skips all wide
    up += 3 * residual(2 * wide, wide) + resample  # 8 x 8
    up += 2 * residual(2 * wide, wide) + residual(wide + base, wide) + 3 * attention + resample
    up += residual(wide + base, base) + 2 * residual(2 * base, base)
    ends = 9 * 3 * base + base + 2 * base + 9 * base * 3 + 3
    embedding = (base + 1) * time + (time + 1) * time
    assert parameters(on_meta(load("unet").build_model)) == embedding + ends + down + middle + up


@pytest.mark.parametrize(
    ("name", "torchvision_name"), [("resnet50", "resnet50"), ("vit", "vit_b_16")]
)
def test_state_has_the_shapes_of_torchvision(name: str, torchvision_name: str) -> None:
    torchvision_models = pytest.importorskip("torchvision.models")
    theirs = on_meta(getattr(torchvision_models, torchvision_name)).state_dict()
    ours = on_meta(load(name).build_model).state_dict()
    shapes = Counter(tuple(tensor.shape) for tensor in ours.values())
    assert shapes == Counter(tuple(tensor.shape) for tensor in theirs.values())


@pytest.mark.parametrize("name", FILES)
def test_batch_leads_and_holds_what_forward_takes(name: str) -> None:
    module = load(name)
    model = on_meta(module.build_model)
    with torch.device("meta"):
        for batch_size in (1, 3):
            batch = module.build_batch(batch_size)
            leaves = tensors(batch)
            assert leaves
            assert all(leaf.shape[0] == batch_size for leaf in leaves)
            assert forward(model, batch).shape[0] == batch_size


@pytest.mark.parametrize("name", FILES)
def test_step_on_meta_gives_every_parameter_a_gradient(name: str) -> None:
    module = load(name)
    model = on_meta(module.build_model)
    assert all(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    with torch.device("meta"):
        loss = loss_of(module, model, module.build_batch(2))
        loss.backward()
    assert loss.shape == ()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mlp", {}),
        ("resnet50", {"image_size": 64}),
        ("vit", {}),
        ("gpt2", {"sequence_length": 16}),
        ("bert", {"sequence_length": 16}),
        ("t5", {"sequence_length": 16}),
        ("unet", {"image_size": 16}),
        ("lstm", {"sequence_length": 5}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_real_step_on_the_cpu_is_finite(name: str, arguments: dict[str, int]) -> None:
    torch.manual_seed(0)
    module = load(name)
    model = module.build_model()
    loss = loss_of(module, model, module.build_batch(2, **arguments))
    loss.backward()
    assert torch.isfinite(loss)
    assert 0 < loss.item() < 100
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(
        gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients
    )


SEQUENCES = {"gpt2": 1024, "bert": 512, "llama": 4096, "t5": 512, "lstm": 35}


def test_every_file_with_a_sequence_offers_its_length() -> None:
    defaults = {
        name: taken["sequence_length"].default
        for name in FILES
        if "sequence_length" in (taken := signature(load(name).build_batch).parameters)
    }
    assert defaults == SEQUENCES


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_sequence_length_reaches_forward(name: str) -> None:
    module = load(name)
    model = on_meta(module.build_model)
    with torch.device("meta"):
        batch = module.build_batch(2, sequence_length=33)
        assert all(leaf.shape == (2, 33) for leaf in tensors(batch))
        assert forward(model, batch).shape[:2] == (2, 33)


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_a_sequence_beyond_the_learned_positions_is_refused(name: str) -> None:
    module, longest = load(name), SEQUENCES[name]
    model = on_meta(module.build_model)
    with torch.device("meta"):
        batch = module.build_batch(2, sequence_length=longest + 1)
        said = f"has {longest} positions; a sequence of {longest + 1} is too long"
        with pytest.raises(ValueError, match=said):
            module.training_step(model, batch)


def test_bert_can_be_traced_and_still_refuses() -> None:
    module = load("bert")
    graph = fx.symbolic_trace(on_meta(module.build_model))
    with torch.device("meta"):
        assert graph(module.build_batch(2, sequence_length=33)).shape[:2] == (2, 33)
        with pytest.raises(ValueError, match="is too long"):
            graph(module.build_batch(2, sequence_length=513))


def small_llama() -> tuple[ModuleType, nn.Module]:
    module = load("llama")
    size = module.Size(width=64, hidden=128, depth=2, heads=8, kv_heads=2)
    return module, module.Llama(size)


def test_real_step_of_a_small_llama_is_finite() -> None:
    torch.manual_seed(0)
    module, model = small_llama()
    loss = module.training_step(model, module.build_batch(2, sequence_length=8))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_llama_rotation_depends_on_the_distance_alone() -> None:
    module, model = small_llama()
    torch.manual_seed(0)
    query, key = torch.randn(2, model.head_width)
    cosine, sine = model.rotations(6, query)
    turned_query = module.rotate(query.expand(6, -1), cosine, sine)
    turned_key = module.rotate(key.expand(6, -1), cosine, sine)
    scores = turned_query @ turned_key.T
    assert torch.allclose(scores.diagonal(1), scores[0, 1].expand(5), atol=1e-5)
    assert not torch.allclose(scores[0, 1], scores[0, 4], atol=1e-3)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_future_tokens_do_not_reach_earlier_logits(name: str) -> None:
    torch.manual_seed(0)
    model = small_llama()[1] if name == "llama" else load(name).GPT2(width=32, depth=2, heads=2)
    model.eval()
    ids = torch.randint(0, 1000, (1, 6))
    changed = ids.clone()
    changed[0, -1] += 1
    with torch.no_grad():
        before, after = model(ids), model(changed)
    assert torch.allclose(before[:, :-1], after[:, :-1], atol=1e-5)
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-5)


def test_t5_buckets_follow_the_published_rule() -> None:
    module = load("t5")
    cpu = torch.device("cpu")
    both = module.position_buckets(200, 200, causal=False, device=cpu)
    causal = module.position_buckets(200, 200, causal=True, device=cpu)
    # Two-sided: 8 exact distances a side, the later keys in the upper half of the 32 buckets.
    assert both[100, [100, 99, 93, 101, 107]].tolist() == [0, 1, 7, 17, 23]
    assert (int(both.max()), int(both[199, 0])) == (31, 15)
    # One-sided: 16 exact distances, all later keys in bucket 0, the far past in bucket 31.
    assert causal[100, [101, 199, 100, 99, 85]].tolist() == [0, 0, 0, 1, 15]
    assert int(causal[199, 0]) == 31


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_checkpointing_keeps_gradients_and_saves_less(name: str) -> None:
    if name == "llama":
        module, model = small_llama()
    else:
        module = load(name)
        model = module.GPT2(width=32, depth=2, heads=2)
    batch = module.build_batch(2, sequence_length=8)

    def step() -> tuple[int, list[Tensor]]:
        torch.manual_seed(1)
        saved: list[int] = []
        model.zero_grad()

        def pack(tensor: Tensor) -> Tensor:
            saved.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = module.training_step(model, batch)
        kept = sum(saved)
        loss.backward()
        return kept, [p.grad.clone() for p in model.parameters() if p.grad is not None]

    kept_plain, plain = step()
    model.checkpoint_activations()
    kept_checkpointed, checkpointed = step()
    model.checkpoint_activations(enabled=False)
    kept_again, _ = step()

    assert kept_checkpointed < kept_plain == kept_again
    assert len(plain) == len(checkpointed)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, checkpointed, strict=True))


@pytest.mark.parametrize("name", FILES)
def test_file_is_plain_pytorch_with_a_source(name: str) -> None:
    text = (MODELS / f"{name}.py").read_text()
    imported = set(re.findall(r"^(?:from|import) (\w+)", text, flags=re.MULTILINE))
    assert imported <= {"__future__", "torch", "math", "itertools", "dataclasses"}
    assert "https://" in (load(name).__doc__ or "")
    assert ".item()" not in text
    assert len(text.splitlines()) <= 160
