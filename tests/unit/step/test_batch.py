from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from planner.errors import ModelError, TargetError, UsageError
from planner.step.batch import BatchPlan, plan_batch
from planner.step.source import ModelSource
from planner.workload import InputSpec, Precision, StepConfig

CPU = torch.device("cpu")


def plan(build_batch: Callable[[int], Any] | None, **config: Any) -> BatchPlan:
    source = ModelSource(
        build_model=torch.nn.Identity, build_batch=build_batch, label="models/net.py"
    )
    return plan_batch(source, StepConfig(**{"batch_size": 4, **config}), CPU)


def test_the_batch_is_described_without_values() -> None:
    devices: list[str] = []

    def build_batch(batch_size: int) -> Any:
        x = torch.randn(batch_size, 3)
        devices.append(x.device.type)
        return {"x": x, "more": [torch.zeros(batch_size, dtype=torch.int64), 7, "text", None]}

    planned = plan(build_batch)
    first, second = planned.make(), planned.make()
    assert devices == ["meta"]
    assert planned.assumptions == ()
    assert planned.warnings == ()
    assert first["x"].shape == (4, 3)
    assert first["x"].device == CPU
    assert first["x"].data_ptr() != second["x"].data_ptr()
    assert first["more"][0].tolist() == [0, 0, 0, 0]
    assert first["more"][1:] == [7, "text", None]


def test_a_large_batch_costs_no_host_memory() -> None:
    planned = plan(lambda batch_size: torch.randn(batch_size, 1 << 20), batch_size=1 << 30)
    assert planned.assumptions == ()


@pytest.mark.parametrize(
    ("build_batch", "words"),
    [
        pytest.param(
            lambda b: torch.zeros(b) + torch.zeros(1).item(),
            "it does not run without values",
            id="reads",
        ),
        pytest.param(
            lambda b: torch.LongTensor([1] * b), "it makes its tensors from values", id="legacy"
        ),
    ],
)
def test_a_batch_that_needs_values_is_built_on_the_cpu_and_said(
    build_batch: Callable[[int], Any], words: str
) -> None:
    planned = plan(build_batch)
    assert len(planned.assumptions) == 1
    assert planned.assumptions[0].startswith("build_batch was run on the CPU, because")
    assert words in planned.assumptions[0]
    assert planned.make().shape == (4,)


def test_the_users_exception_comes_through() -> None:
    def build_batch(batch_size: int) -> Any:
        raise FileNotFoundError("data.bin")

    with pytest.raises(FileNotFoundError, match=r"data\.bin"):
        plan(build_batch)


def test_neither_batch_nor_inputs_teaches_both() -> None:
    with pytest.raises(TargetError) as error:
        plan(None)
    for word in ("models/net.py", "def build_batch(batch_size):", "--input 3x224x224"):
        assert word in str(error.value)


def test_inputs_without_names_are_positional() -> None:
    one = plan(None, inputs=(InputSpec(shape=(3, 8, 8)),)).make()
    assert one.shape == (4, 3, 8, 8)
    two = plan(None, inputs=(InputSpec(shape=(3,)), InputSpec(shape=(), dtype="int64"))).make()
    assert [tuple(tensor.shape) for tensor in two] == [(4, 3), (4,)]
    assert two[1].dtype is torch.int64


def test_inputs_with_names_are_a_dict() -> None:
    spec = InputSpec(shape=(16,), dtype="int64", name="ids")
    assert plan(None, inputs=(spec,)).make()["ids"].shape == (4, 16)


def test_names_for_some_inputs_only() -> None:
    with pytest.raises(UsageError, match="a name of its own"):
        plan(None, inputs=(InputSpec(shape=(3,), name="x"), InputSpec(shape=(3,))))


def test_inputs_replace_build_batch_and_say_so() -> None:
    planned = plan(lambda b: torch.zeros(b, 9), inputs=(InputSpec(shape=(5,)),))
    assert planned.make().shape == (4, 5)
    assert planned.assumptions == ("the inputs named in the call replace build_batch",)


def required(batch_size: int, sequence_length: int) -> torch.Tensor:
    return torch.zeros(batch_size, sequence_length)


def keyword_only(batch_size: int, *, sequence_length: int) -> torch.Tensor:
    return required(batch_size, sequence_length)


def with_default(batch_size: int, sequence_length: int = 6) -> torch.Tensor:
    return required(batch_size, sequence_length)


def third(batch_size: int, dtype: Any = torch.float32, sequence_length: int = 6) -> torch.Tensor:
    return torch.zeros(batch_size, sequence_length, dtype=dtype)


class Callee:
    def __call__(self, batch_size: int, sequence_length: int) -> torch.Tensor:
        return required(batch_size, sequence_length)


@pytest.mark.parametrize(
    "build_batch",
    [
        required, keyword_only, with_default, third, Callee(), Callee().__call__,
        partial(third, dtype=torch.float64), partial(required, sequence_length=3),
    ],
    ids=str,
)  # fmt: skip
def test_a_sequence_length_reaches_build_batch(build_batch: Callable[..., Any]) -> None:
    planned = plan(build_batch, sequence_length=11)
    assert planned.make().shape == (4, 11)
    assert (planned.assumptions, planned.warnings) == ((), ())


def test_the_default_of_build_batch_needs_no_word() -> None:
    planned = plan(with_default)
    assert planned.make().shape == (4, 6)
    assert (planned.assumptions, planned.warnings) == ((), ())


def test_a_sequence_length_where_the_batch_is_built_on_the_cpu() -> None:
    planned = plan(lambda b, sequence_length: torch.LongTensor([[1] * sequence_length] * b),
                   sequence_length=5)  # fmt: skip
    assert planned.make().shape == (4, 5)
    assert planned.assumptions[0].startswith("build_batch was run on the CPU")


def test_a_sequence_that_leads_is_not_the_batch() -> None:
    planned = plan(lambda b, sequence_length: torch.zeros(sequence_length, b), sequence_length=5)
    assert "batch has shape (5, 4)" in planned.warnings[0]
    assert "not the batch size 4" in planned.warnings[0]


def no_sequence(batch_size: int) -> torch.Tensor:
    return torch.zeros(batch_size, 2)


def by_position(batch_size: int, sequence_length: int = 6, /) -> torch.Tensor:
    return required(batch_size, sequence_length)


def alone(sequence_length: int) -> torch.Tensor:
    return torch.zeros(sequence_length, 2)


def any_keyword(batch_size: int, **keywords: Any) -> torch.Tensor:
    return torch.zeros(batch_size, 2)


@pytest.mark.parametrize(
    "build_batch", [no_sequence, by_position, alone, any_keyword, torch.zeros], ids=str
)
def test_a_sequence_length_that_build_batch_does_not_take(build_batch: Callable[..., Any]) -> None:
    assert plan(build_batch).make().shape[0] == 4
    with pytest.raises(UsageError) as error:
        plan(build_batch, sequence_length=11)
    for words in ("sequence length of 11", "--seq", "models/net.py",
                  "def build_batch(batch_size, sequence_length):"):  # fmt: skip
        assert words in str(error.value)


@pytest.mark.parametrize("build_batch", [required, keyword_only])
def test_a_sequence_length_that_build_batch_needs(build_batch: Callable[..., Any]) -> None:
    with pytest.raises(UsageError) as error:
        plan(build_batch)
    for words in ("models/net.py", "needs a sequence_length", "--seq 512", "sequence_length=512"):
        assert words in str(error.value)


def test_a_sequence_length_without_a_build_batch() -> None:
    with pytest.raises(UsageError, match=r"models/net\.py has no build_batch"):
        plan(None, sequence_length=11)


def test_inputs_replace_also_a_build_batch_that_needs_a_sequence_length() -> None:
    assert plan(required, inputs=(InputSpec(shape=(5,)),)).make().shape == (4, 5)


@pytest.mark.parametrize("value", [None, [1, 2], iter(())], ids=["none", "numbers", "iterator"])
def test_no_tensor_at_all(value: Any) -> None:
    with pytest.raises(ModelError, match="without a tensor in it; return a tensor"):
        plan(lambda b: value)


def test_a_leading_dimension_that_is_not_the_batch_is_a_warning() -> None:
    planned = plan(lambda b: (torch.zeros(b, 2), torch.zeros(7, b)))
    assert len(planned.warnings) == 1
    assert "batch[1] has shape (7, 4)" in planned.warnings[0]


def test_precision_casts_floating_tensors_only() -> None:
    batch = plan(
        lambda b: (torch.randn(b, 2), torch.zeros(b, dtype=torch.int64)), precision=Precision.FP16
    ).make()
    assert [tensor.dtype for tensor in batch] == [torch.float16, torch.int64]
    kept = plan(lambda b: torch.randn(b, 2), precision=Precision.AMP_FP16).make()
    assert kept.dtype is torch.float32


def test_channels_last_reaches_images() -> None:
    batch = plan(lambda b: (torch.randn(b, 3, 5, 5), torch.randn(b, 3)), channels_last=True).make()
    assert batch[0].is_contiguous(memory_format=torch.channels_last)
    assert batch[1].is_contiguous()
