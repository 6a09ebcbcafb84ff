"""What a caller has in a notebook becomes InputSpecs; what cannot cross is refused, not dropped."""

from __future__ import annotations

import subprocess
import sys
from collections import UserDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.config.inputs import arranged, is_nested_name, read_inputs
from planner.config.parse import step_config
from planner.config.step import DTYPES, InputSpec
from planner.errors import UsageError
from planner.worker.drive.host_batch import from_inputs

torch = pytest.importorskip("torch")
numpy = pytest.importorskip("numpy")


@dataclass(frozen=True)
class Example:
    """A stand-in for a tensor: planner takes nothing but these of one."""

    shape: tuple[int, ...]
    dtype: str = "torch.float32"


class Shapeless:
    """As torch's nested tensors: their shape raises."""

    dtype = torch.float32

    @property
    def shape(self) -> tuple[int, ...]:
        raise RuntimeError("no sizes")


def spec(*shape: int, dtype: str = "float32", name: str | None = None) -> InputSpec:
    return InputSpec(shape=shape, dtype=dtype, name=name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((3, 224, 224), [spec(3, 224, 224)]),
        ([3, 224, 224], [spec(3, 224, 224)]),
        (torch.Size([3, 8]), [spec(3, 8)]),
        (numpy.zeros((8, 3)).shape, [spec(8, 3)]),
        ((numpy.int64(3), 8), [spec(3, 8)]),
        (((1024,), "int64"), [spec(1024, dtype="int64")]),
        (((1024,), torch.int64), [spec(1024, dtype="int64")]),
        (((1024,), numpy.int64), [spec(1024, dtype="int64")]),
        (((1024,), numpy.dtype("bool")), [spec(1024, dtype="bool")]),
        (((), "int64"), [spec(dtype="int64")]),
        ([(3, 8), (5,)], [spec(3, 8), spec(5)]),
        (((3, 8), ((), "int64")), [spec(3, 8), spec(dtype="int64")]),
        (((3, 8), "5:int64"), [spec(3, 8), spec(5, dtype="int64")]),
        ({"ids": (16,)}, [spec(16, name="ids")]),
        ({"ids": "16:int64"}, [spec(16, dtype="int64", name="ids")]),
        ({"ids": ((16,), "int64")}, [spec(16, dtype="int64", name="ids")]),
        (UserDict(ids=(16,)), [spec(16, name="ids")]),
        (["ids=16:int64", "x=3"], [spec(16, dtype="int64", name="ids"), spec(3, name="x")]),
        ([], []),
    ],
    ids=str,
)
def test_shapes_have_no_batch(value: object, expected: list[InputSpec]) -> None:
    assert read_inputs(value) == (tuple(expected), None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.zeros(4, 3, 8), [spec(3, 8)]),
        (torch.zeros(4, 3, 8, device="meta", dtype=torch.bfloat16), [spec(3, 8, dtype="bfloat16")]),
        (numpy.zeros((4, 3)), [spec(3, dtype="float64")]),
        (torch.zeros(4, 6)[:, ::2], [spec(3)]),
        (torch.zeros(1, 3).expand(4, 3), [spec(3)]),
        (torch.zeros(4, 1, 8, 1).to(memory_format=torch.channels_last), [spec(1, 8, 1)]),
        (numpy.zeros((4, 3), dtype=">f4"), [spec(3)]),
        (Example((4, 3)), [spec(3)]),
        ((torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)), [spec(3), spec(dtype="int64")]),
        ([torch.zeros(4, 3)], [spec(3)]),
        ({"x": torch.zeros(4, 3), "y": (5,)}, [spec(3, name="x"), spec(5, name="y")]),
        (
            {"x": torch.zeros(4, 3), "past": [torch.zeros(4, 2), (torch.zeros(4, 1),)]},
            [spec(3, name="x"), spec(2, name="past[0]"), spec(1, name="past[1](0)")],
        ),
        (
            (torch.zeros(4, 3), {"a": torch.zeros(4, 2)}),
            [spec(3, name="(0)"), spec(2, name="(1).a")],
        ),
        (
            [[torch.zeros(4, 3), torch.zeros(4, 2)]],
            [spec(3, name="(0)[0]"), spec(2, name="(0)[1]")],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_examples_have_the_batch_in_front(value: object, expected: list[InputSpec]) -> None:
    assert read_inputs(value) == (tuple(expected), 4)


def test_the_batch_is_that_of_the_examples_unless_one_is_given() -> None:
    example = torch.zeros(4, 3)
    assert step_config({"inputs": example}).batch_size == 4
    for options in ({"inputs": example, "batch_size": 16}, {"batch_size": 16, "inputs": example}):
        config = step_config(options)
        assert (config.batch_size, config.inputs) == (16, (spec(3),))
    assert step_config({"inputs": (3,)}).batch_size == step_config({}).batch_size


Pair = namedtuple("Pair", "first second")  # a user's


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"x": torch.zeros(8, 3), "y": torch.zeros(4)},
            r"inputs\['x'\] has shape \(8, 3\), and inputs\['y'\] has shape \(4,\).*differ",
        ),
        (
            (torch.zeros(8, 3), [torch.zeros(8), torch.zeros(2, 5)]),
            r"inputs\[0\] has shape \(8, 3\), and inputs\[1\]\[1\] has shape \(2, 5\)",
        ),
        (torch.tensor(1.0), "inputs is a tensor without dimensions"),
        ((torch.zeros(4, 3), torch.tensor(1)), r"inputs\[1\] is a tensor without dimensions"),
        (torch.zeros(4, 3, requires_grad=True), "requires a gradient.*detach"),
        (torch.nn.Parameter(torch.zeros(4, 3)), "requires a gradient"),
        (torch.zeros(4, 3, 2, 2).to(memory_format=torch.channels_last), "channels_last=True"),
        ((torch.zeros(4, 3), torch.zeros(2, 4).t()), r"inputs\[1\] .* permuted in memory"),
        (torch.zeros(4, 3).to_sparse(), "layout torch.sparse_coo.*build_batch"),
        (Shapeless(), "a Shapeless whose shape cannot be read .RuntimeError: no sizes."),
        (torch.zeros(4, 3, dtype=torch.complex64), "dtype torch.complex64.*float32"),
        (numpy.zeros((4, 3), dtype=object), "dtype object"),
        (torch.zeros(0, 3), "at least 1"),
        (torch.zeros(4, 0), "at least 1"),
        ((3, 0), r"inputs has the shape \(3, 0\)"),
        ((3, -1), "at least 1"),
        ({"x": torch.zeros(4, 3), "use_cache": False}, r"inputs\['use_cache'\] is False"),
        ((torch.zeros(4, 3), None), r"inputs\[1\] is None"),
        ({"x": 5}, r"inputs\['x'\] is 5, which is no input"),
        ((True, False), r"inputs\[0\] is True"),
        ([1.5, 2], r"inputs\[0\] is 1.5"),
        (torch.float32, "inputs is a dtype"),
        (torch.Tensor, "no input"),
        ({}, "inputs is empty"),
        ({"past": []}, r"inputs\['past'\] is empty"),
        ([()], r"inputs\[0\] is empty.*scalar"),
        ({3: (4,)}, "the key 3"),
        ({"a-b": (4,)}, "the key 'a-b'"),
        (Pair((3,), torch.zeros(4, 3)), "inputs is a Pair"),
        ({"x": "y=3"}, "leave the name out"),
        ([["x=3", "4"], "5"], "leave the name out"),
        ("3by4", "not of the form"),
        (((3,), "float8"), "not of the form"),
        ({"x": Example((4, 3), "float33")}, "dtype float33"),
        (Example(("a", 3)), "whose shape cannot be read"),  # type: ignore[arg-type]  # a user's
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_input_is_named(value: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_inputs(value)


KEYS = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
SHAPES = st.lists(st.integers(1, 4), max_size=3).map(tuple)
EXAMPLES = st.builds(Example, SHAPES.map(lambda shape: (4, *shape)), st.sampled_from(DTYPES))
TREES = st.recursive(
    EXAMPLES,
    lambda inner: (
        st.dictionaries(KEYS, inner, min_size=1, max_size=3)
        | st.lists(inner, min_size=1, max_size=3)
        | st.lists(inner, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=8,
)


def leaves(tree: Any) -> list[Example]:
    if isinstance(tree, Example):
        return [tree]
    return [
        leaf for one in (tree.values() if isinstance(tree, dict) else tree) for leaf in leaves(one)
    ]


def as_a_batch(tree: Any) -> Any:
    """What reaches the model: a list of inputs goes by position, as a tuple; one goes alone."""
    if isinstance(tree, list):
        tree = tuple(tree)
    is_flat = isinstance(tree, tuple) and all(isinstance(one, Example) for one in tree)
    return tree[0] if is_flat and len(tree) == 1 else tree


def shapes(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: shapes(one) for key, one in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(shapes(one) for one in tree)
    return (tuple(tree.shape), str(tree.dtype).removeprefix("torch."))


@given(TREES)
def test_any_nesting_reaches_the_model_as_it_is(tree: Any) -> None:
    """From the caller's tree to the child's batch: structure, order, shapes and dtypes."""
    specs, batch_size = read_inputs(tree)
    assert batch_size == 4
    assert [(4, *one.shape) for one in specs] == [leaf.shape for leaf in leaves(tree)]
    batch = from_inputs(specs, 4, with_target=False)
    assert shapes(batch) == shapes(as_a_batch(tree))


@given(st.lists(st.tuples(SHAPES, st.sampled_from(DTYPES)), min_size=1, max_size=4))
def test_a_shape_is_the_example_without_its_batch(parts: list[tuple[tuple[int, ...], str]]) -> None:
    examples = [Example((7, *shape), dtype) for shape, dtype in parts]
    assert read_inputs(examples)[0] == read_inputs(list(parts))[0]


@given(TREES, st.integers(0, 7))
def test_one_other_batch_is_always_seen(tree: Any, position: int) -> None:
    found = leaves(tree)
    if len(found) == 1:
        return
    other = found[position % len(found)]

    def changed(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: changed(part) for key, part in one.items()}
        if isinstance(one, (list, tuple)):
            return type(one)(changed(part) for part in one)
        return Example((5, *one.shape[1:]), one.dtype) if one is other else one

    if sum(one is other for one in found) == len(found):
        return
    with pytest.raises(UsageError, match="these differ"):
        read_inputs(changed(tree))


def test_names_of_places_are_none_of_the_command_line() -> None:
    assert not is_nested_name(None)
    assert not is_nested_name("ids")
    assert arranged([("a", 1), ("b.c[0]", 2), ("b.c[1]", 3)]) == {"a": 1, "b": {"c": [2, 3]}}
    with pytest.raises(UsageError, match="not of the form"):
        read_inputs("a[0]=3")


def test_a_mask_is_ones_wherever_it_is() -> None:
    specs, _ = read_inputs({"x": {"pad_mask": [((3,), "int64")], "masked": ((3,), "int64")}})
    batch = from_inputs(specs, 2, with_target=False)
    assert batch["x"]["pad_mask"][0].eq(1).all()
    assert batch["x"]["masked"].eq(0).all()


def test_an_example_of_numpy_imports_no_torch() -> None:
    code = (
        "import sys, numpy\n"
        "from planner.config.parse import step_config\n"
        "assert step_config({'inputs': numpy.zeros((4, 3))}).batch_size == 4\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
