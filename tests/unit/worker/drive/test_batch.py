from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_sequence

from planner.config.step import InputSpec, Precision, StepConfig
from planner.errors import ModelError, TargetError, UsageError
from planner.worker.drive.batch import BatchPlan, plan_batch
from planner.worker.target.source import ModelSource

CPU = torch.device("cpu")


def plan(build_batch: Callable[[int], Any] | None, **config: Any) -> BatchPlan:
    source = ModelSource(
        build_model=torch.nn.Identity, build_batch=build_batch, label="models/net.py"
    )
    return plan_batch(source, StepConfig(**{"batch_size": 4, **config}), CPU)


def test_large_floats_have_no_values_and_all_else_has() -> None:
    devices: list[str] = []

    def build_batch(batch_size: int) -> Any:
        x = torch.randn(batch_size, 1 << 16)
        devices.extend([x.device.type, torch.randn(batch_size, 3).device.type])
        return {"x": x, "more": [torch.arange(batch_size), 7, "text", None]}

    planned = plan(build_batch)
    first, second = planned.make(), planned.make()
    assert devices == ["meta", "cpu"]
    assert planned.assumptions == ()
    assert planned.warnings == ()
    assert first["x"].shape == (4, 1 << 16)
    assert first["x"].device == CPU
    assert first["x"].data_ptr() != second["x"].data_ptr()
    assert first["more"][0].tolist() == [0, 1, 2, 3]
    assert first["more"][1:] == [7, "text", None]


def test_a_large_batch_costs_no_host_memory() -> None:
    planned = plan(lambda batch_size: torch.randn(batch_size, 1 << 20), batch_size=1 << 30)
    assert planned.assumptions == ()


@pytest.mark.parametrize(
    ("build_batch", "words"),
    [
        pytest.param(
            lambda b: torch.zeros(b) + torch.zeros(9 << 20)[:1].item(),
            "it does not run without values",
            id="reads",
        ),
        pytest.param(
            lambda b: torch.rand(9 << 20)[:b].long(),
            "it makes batch from float values",
            id="integers",
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
    ids=[
        "required", "keyword_only", "with_default", "third", "Callee", "method", "partial",
        "partial_with_it",
    ],
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
    planned = plan(lambda b, sequence_length: torch.rand(9 << 20)[: b * sequence_length].long()
                   .view(b, sequence_length), sequence_length=5)  # fmt: skip
    assert planned.make().shape == (4, 5)
    assert planned.assumptions[0].startswith("build_batch was run on the CPU")


def test_a_small_mask_made_of_large_floats_is_real_without_a_word() -> None:
    """A second try leaves only floats of more than 32 MiB without values."""
    planned = plan(lambda b: {"keep": torch.rand(b, 1 << 15) < 2.0, "x": torch.rand(b, 3 << 20)})
    assert planned.assumptions == ()
    assert bool(planned.make()["keep"].all())


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
    "build_batch",
    [no_sequence, by_position, alone, any_keyword, torch.zeros],
    ids=lambda function: function.__name__,
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


@dataclass
class Sample:
    boxes: torch.Tensor
    label: str = "cat"


class Lengths(NamedTuple):
    ids: torch.Tensor
    lengths: torch.Tensor


class Masked:
    """Images with a mask, as detection networks have them: `.to` gives a new object."""

    def __init__(self, tensors: torch.Tensor, mask: torch.Tensor) -> None:
        self.tensors, self.mask = tensors, mask

    def to(self, device: Any) -> Masked:
        return Masked(self.tensors.to(device), self.mask.to(device))


class Graphs:
    """Graphs of a library: keys, a number of graphs, and a `.to` that changes the object."""

    def __init__(self, graphs: int, **tensors: torch.Tensor) -> None:
        self.num_graphs, self._store = graphs, tensors

    def keys(self) -> list[str]:
        return list(self._store)

    def __getitem__(self, key: str) -> torch.Tensor:
        return self._store[key]

    def to(self, device: Any, non_blocking: bool = False) -> Graphs:
        for key, value in self._store.items():
            self._store[key] = value.to(device=device, non_blocking=non_blocking)
        return self


def test_an_object_is_brought_by_its_own_to() -> None:
    images = plan(lambda b: Masked(torch.rand(b, 1 << 20), torch.ones(b, 2, dtype=torch.bool)))
    first, second = images.make(), images.make()
    assert isinstance(first, Masked)
    assert (first.tensors.device, first.tensors.shape) == (CPU, (4, 1 << 20))
    assert first.tensors.data_ptr() != second.tensors.data_ptr()
    assert first.mask.tolist() == [[True, True]] * 4
    assert images.warnings == ()


def test_an_object_that_changes_itself_is_copied_for_each_step() -> None:
    made: list[Graphs] = []

    def build_batch(batch_size: int) -> Any:
        nodes = torch.rand(30 * batch_size, 1024)  # 480 KiB: no values
        made.append(Graphs(batch_size, x=nodes, edges=torch.arange(6).view(2, 3)))
        return made[0]

    planned = plan(build_batch)
    first, second = planned.make(), planned.make()
    assert made[0]["x"].is_meta
    assert first is not second
    assert first["x"].data_ptr() != second["x"].data_ptr()
    assert second["edges"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert planned.warnings == ()  # it says itself that it has 4 graphs


def test_precision_reaches_tensors_within_an_object() -> None:
    batch = plan(lambda b: Masked(torch.rand(b, 2), torch.ones(b)), precision=Precision.FP16).make()
    assert (batch.tensors.dtype, batch.mask.dtype) == (torch.float16, torch.float16)


def test_records_named_tuples_and_nested_objects() -> None:
    planned = plan(
        lambda b: (
            {"targets": [Sample(torch.ones(2, 4)) for _ in range(b)]},
            Lengths(torch.zeros(b, 3, dtype=torch.int64), torch.arange(b)),
            [Masked(torch.ones(b, 1), torch.ones(b))],
        )
    )
    targets, text, (masked,) = planned.make()
    assert [type(one) for one in targets["targets"]] == [Sample] * 4
    assert (targets["targets"][3].boxes.shape, targets["targets"][0].label) == ((2, 4), "cat")
    assert text.lengths.tolist() == [0, 1, 2, 3]
    assert isinstance(masked, Masked)
    assert planned.warnings == ()  # a list with an item for each sample


def test_a_user_dict_with_a_to_stays_one() -> None:
    class Encoding(UserDict[str, torch.Tensor]):
        def to(self, device: Any) -> Encoding:
            self.data = {key: value.to(device) for key, value in self.data.items()}
            return self

    planned = plan(lambda b: Encoding(ids=torch.ones(b, 3, dtype=torch.int64)))
    assert isinstance(planned.make(), Encoding)
    assert planned.make()["ids"].tolist() == [[1, 1, 1]] * 4


def test_a_packed_sequence_keeps_its_lengths() -> None:
    planned = plan(
        lambda b: pack_sequence([torch.ones(n, 2) for n in range(1, b + 1)], enforce_sorted=False)
    )
    packed = planned.make()
    assert packed.batch_sizes.tolist() == [4, 3, 2, 1]
    assert packed.sorted_indices.tolist() == [3, 2, 1, 0]
    assert planned.warnings == ()


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_a_sparse_tensor(layout: str) -> None:
    def build_batch(batch_size: int) -> Any:
        eye = torch.eye(batch_size)
        return {"coo": eye.to_sparse, "csr": eye.to_sparse_csr, "csc": eye.to_sparse_csc}[layout]()

    planned = plan(build_batch)
    assert planned.assumptions == ()
    assert planned.make().to_dense().tolist() == torch.eye(4).tolist()


def test_a_sparse_tensor_of_large_values_is_built_on_the_cpu_and_said() -> None:
    def build_batch(batch_size: int) -> Any:
        entries = 9 << 20  # 36 MiB of floats, which do not mix with the real indices
        places = torch.zeros(2, entries, dtype=torch.int64)
        return torch.sparse_coo_tensor(places, torch.ones(entries), (batch_size, 7))

    planned = plan(build_batch)
    assert planned.assumptions[0].startswith("build_batch was run on the CPU")
    assert planned.make().shape == (4, 7)


def test_one_sentence_for_all_leading_dimensions() -> None:
    planned = plan(lambda b: tuple(torch.zeros(n) for n in (5, 6, 7, 8, 9)))
    assert planned.warnings == (
        "batch[0] has shape (5,), batch[1] has shape (6,), batch[2] has shape (7,) and 2 more: "
        "their leading dimensions are not the batch size 4, so figures for other batch sizes may "
        "be wrong",
    )


def test_named_inputs_are_real_integers_and_masks_of_ones() -> None:
    batch = plan(
        None,
        inputs=(
            InputSpec(shape=(3,), dtype="int64", name="input_ids"),
            InputSpec(shape=(3,), dtype="int64", name="attention_mask"),
            InputSpec(shape=(2,), dtype="bool", name="mask"),
            InputSpec(shape=(2,), dtype="int64", name="masked_ids"),
        ),
    ).make()
    assert {name: tensor.flatten()[0].item() for name, tensor in batch.items()} == {
        "input_ids": 0, "attention_mask": 1, "mask": True, "masked_ids": 0,
    }  # fmt: skip


def test_a_target_behind_the_inputs() -> None:
    source = ModelSource(build_model=torch.nn.Identity, label="net.py")
    config = StepConfig(batch_size=4, inputs=(InputSpec(shape=(3,)),))
    planned = plan_batch(source, config, CPU, with_target=True)
    x, target = planned.make()
    assert (x.shape, target.tolist()) == ((4, 3), [0, 0, 0, 0])
    assert planned.assumptions[0].startswith("batch: a target of zeros")


def words_of(lengths: list[int]) -> list[torch.Tensor]:
    return [torch.full((length,), length) for length in lengths]


def from_data(dataset: Any, collate: Any = None, **config: Any) -> BatchPlan:
    source = ModelSource(
        build_model=torch.nn.Identity,
        build_batch=lambda b: torch.zeros(b),
        build_dataset=None if dataset is None else lambda: dataset,
        collate=collate,
        label="net.py",
    )
    settings = StepConfig(**{"batch_size": 4, "batch_from_data": True, **config})
    return plan_batch(source, settings, CPU)


def test_a_batch_of_the_data_set() -> None:
    planned = from_data([(torch.full((2,), float(n)), n) for n in range(3)])
    x, labels = planned.make()
    assert x[:, 0].tolist() == [0.0, 1.0, 2.0, 0.0]
    assert labels.tolist() == [0, 1, 2, 0]
    assert planned.assumptions == (
        "batch: the first 4 items of build_dataset, by torch's default_collate",
    )


def test_the_files_collate_and_the_data_sets_own() -> None:
    padded = from_data(words_of([3, 1, 2, 2]), lambda items: pad_sequence(items, True))
    assert padded.make().shape == (4, 3)
    assert padded.assumptions[0].endswith("by collate of the model file")

    class Own(list[torch.Tensor]):
        def collate_fn(self, items: list[torch.Tensor]) -> torch.Tensor:
            return pad_sequence(items, True)

    own = from_data(Own(words_of([1, 5])))
    assert own.make().shape == (4, 5)
    assert own.assumptions[0].endswith("by the data set's collate_fn")


@pytest.mark.parametrize(
    ("dataset", "words"), [(None, "def build_dataset"), ([], "the list that build_dataset")]
)
def test_no_data_set_and_an_empty_one(dataset: Any, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        from_data(dataset)


@pytest.mark.parametrize(
    ("other", "words"), [({"inputs": (InputSpec(shape=(3,)),)}, "--input"),
                         ({"sequence_length": 9}, "--seq")],
)  # fmt: skip
def test_the_data_set_has_shapes_of_its_own(other: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        StepConfig(batch_from_data=True, **other)


def test_very_large_integers_have_no_values_and_that_is_said() -> None:
    planned = plan(lambda b: torch.randint(0, 9, (b, 1 << 26)))  # 2 GiB
    assert planned.assumptions == (
        "build_batch makes tensors of more than 1 GiB of integers: they are taken as zeros "
        "(1 of them)",
    )
