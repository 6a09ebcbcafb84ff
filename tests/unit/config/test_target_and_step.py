"""Words of the user, parsed into what to run."""

from __future__ import annotations

from typing import Any

import pytest

from planner.config.step import DTYPES, InputSpec, Mode, StepConfig, parse_input
from planner.config.target import Scalar, TargetKind, parse_argument, parse_target
from planner.errors import UsageError


@pytest.mark.parametrize(
    ("text", "kind", "location", "name"),
    [
        ("models/gpt2.py", TargetKind.FILE, "models/gpt2.py", None),
        ("models/llama.py:llama_1b", TargetKind.FILE, "models/llama.py", "llama_1b"),
        ("net.py", TargetKind.FILE, "net.py", None),
        ("./dir.v2/net", TargetKind.FILE, "./dir.v2/net", None),
        ("a:b/net.py:Net", TargetKind.FILE, "a:b/net.py", "Net"),
        ("torchvision.models:resnet50", TargetKind.MODULE, "torchvision.models", "resnet50"),
        ("my_models", TargetKind.MODULE, "my_models", None),
    ],
)
def test_parse_target(text: str, kind: TargetKind, location: str, name: str | None) -> None:
    target = parse_target(text, (("depth", 3),))
    assert (target.kind, target.location, target.name) == (kind, location, name)
    assert target.arguments == (("depth", 3),)
    assert target.label == text


@pytest.mark.parametrize("text", ["", ":", "gpt-2", "a..b:c", "torchvision models", ":x"])
def test_parse_target_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="neither a Python file nor"):
        parse_target(text)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("3x224x224", InputSpec(shape=(3, 224, 224))),
        ("16", InputSpec(shape=(16,))),
        ("ids=1024:int64", InputSpec(shape=(1024,), dtype="int64", name="ids")),
        (" x=128x64:float16 ", InputSpec(shape=(128, 64), dtype="float16", name="x")),
        ("scalar:int64", InputSpec(shape=(), dtype="int64")),
    ],
)
def test_parse_input(text: str, spec: InputSpec) -> None:
    assert parse_input(text) == spec


@pytest.mark.parametrize("dtype", DTYPES)
def test_parse_input_takes_every_dtype(dtype: str) -> None:
    assert parse_input(f"4:{dtype}").dtype == dtype


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3,224,224", "3x224x224"), ("", "3x224x224"), ("3x", "3x224x224"), ("x3", "3x224x224"),
        ("1x-2", "3x224x224"), ("a b=3", "3x224x224"), ("3:float", "float32"), ("3x0", "no data"),
    ],
)  # fmt: skip
def test_parse_input_refuses(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_input(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("k=1", 1), ("k=-2", -2), ("k=0.5", 0.5), ("k=1e-3", 0.001), ("k=true", True),
        ("k=False", False), ("k=none", None), ("k=big", "big"), ("k=", ""), ("k=a=b", "a=b"),
    ],
)  # fmt: skip
def test_parse_argument(text: str, value: Scalar) -> None:
    key, found = parse_argument(text)
    assert (key, found, type(found)) == ("k", value, type(value))


@pytest.mark.parametrize("text", ["k", "=1", "a-b=1", "", "k=nan", "k=inf", "k=-Infinity"])
def test_parse_argument_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        parse_argument(text)


@pytest.mark.parametrize("field", ["batch_size", "sequence_length", "accumulate", "steps"])
@pytest.mark.parametrize("value", [0, -1])
def test_step_config_counts_from_1(field: str, value: int) -> None:
    values: dict[str, Any] = {field: value}
    with pytest.raises(UsageError, match=f"{field} must be at least 1"):
        StepConfig(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"clip_grad_norm": 0.0}, "clip_grad_norm must be a norm above 0, like 1.0, not 0.0"),
        ({"clip_grad_norm": -1.0}, "not -1.0"),
        ({"clip_grad_norm": float("inf")}, "not inf"),
        ({"clip_grad_norm": float("nan")}, "not nan"),
        ({"ema": 0.0}, "ema must be a decay between 0 and 1, like 0.999, not 0.0"),
        ({"ema": 1.0}, "not 1.0"),
        ({"ema": -0.5}, "not -0.5"),
        ({"ema": float("nan")}, "not nan"),
        ({"ema": 0.9, "mode": Mode.INFER}, r"ema 0\.9 was given \(--ema\).* mode is infer"),
        ({"clip_grad_norm": 1.0, "mode": Mode.INFER}, r"\(--clip-grad-norm\).* mode is infer"),
    ],
    ids=str,
)
def test_what_follows_backward_has_its_bounds(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        StepConfig(**values)


def test_a_sequence_length_is_not_said_unless_it_is() -> None:
    assert StepConfig().sequence_length is None
    assert StepConfig(sequence_length=1).sequence_length == 1


def test_inputs_have_their_length_in_their_shape() -> None:
    with pytest.raises(UsageError, match=r"--input ids=128:int64"):
        StepConfig(sequence_length=128, inputs=(InputSpec(shape=(64,), dtype="int64"),))
