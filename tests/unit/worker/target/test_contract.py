from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from planner.config.target import Target, TargetKind
from planner.errors import ModelError, TargetError
from planner.worker.target import transport
from planner.worker.target.contract import load

WriteModel = Callable[..., Target]

NET = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, width=4):
            super().__init__()
            self.layer = nn.Linear(width, 2)

        def forward(self, x):
            return self.layer(x)
"""


def test_build_model_comes_before_model_and_classes(write_model: WriteModel) -> None:
    target = write_model(
        NET + "\n    model = Net(5)\n    def build_model():\n        return Net(6)\n"
    )
    assert load(target).build_model().layer.in_features == 6


def test_a_module_level_model_is_copied_for_each_run(write_model: WriteModel) -> None:
    source = load(write_model(NET + "\n    model = Net(5)\n"))
    first, second = source.build_model(), source.build_model()
    assert first.layer.in_features == 5
    assert first is not second
    assert first.layer.weight is not second.layer.weight


def test_the_only_class_without_arguments_is_the_model(write_model: WriteModel) -> None:
    text = (
        NET
        + "\n    class Block(nn.Module):\n        def __init__(self, width):\n            pass\n"
    )
    assert type(load(write_model(text)).build_model()).__name__ == "Net"


def test_an_imported_class_is_not_the_files_model(write_model: WriteModel) -> None:
    target = write_model("    from torch.nn import Identity\n" + NET)
    assert type(load(target).build_model()).__name__ == "Net"


@pytest.mark.parametrize("name", ["Net", "build_wide", "instance"])
def test_a_name_chooses_class_function_or_instance(write_model: WriteModel, name: str) -> None:
    text = NET + "\n    def build_wide():\n        return Net()\n    instance = Net()\n"
    target = write_model(text, name=name)
    assert isinstance(load(target).build_model(), nn.Module)


def test_arguments_reach_the_class(write_model: WriteModel) -> None:
    assert load(write_model(NET, width=7)).build_model().layer.in_features == 7


def test_a_module_is_named_by_its_dotted_name() -> None:
    target = Target(kind=TargetKind.MODULE, location="torch.nn", name="Linear",
                    arguments=(("in_features", 3), ("out_features", 2)))  # fmt: skip
    source = load(target)
    assert source.path is None
    assert source.build_model().in_features == 3


def test_the_optional_functions_are_found(write_model: WriteModel) -> None:
    text = (
        NET
        + """
    def build_batch(batch_size):
        return torch.zeros(batch_size, 4)
    def training_step(model, batch):
        return model(batch).sum()
    """
    )
    source = load(write_model(text))
    assert source.build_batch is not None
    assert source.training_step is not None
    assert source.build_optimizer is None
    assert source.path is not None
    assert source.path.endswith("user_model.py")
    assert source.label.endswith("user_model.py")


@pytest.mark.parametrize(
    "parameters",
    [
        "batch_size, sequence_length",
        "batch_size, sequence_length=8",
        "batch_size, *, sequence_length",
        "batch_size, image_size=32, *, sequence_length=8",
    ],
)
def test_build_batch_may_take_a_sequence_length(write_model: WriteModel, parameters: str) -> None:
    text = f"{NET}\n    def build_batch({parameters}):\n        return sequence_length\n"
    source = load(write_model(text))
    assert source.build_batch is not None
    assert source.build_batch(2, sequence_length=5) == 5


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        pytest.param("x = 1\n", {}, ["no model", "def build_model():", "model = ..."], id="none"),
        pytest.param("def make(): ...\n", {}, ["no model", "it holds make"], id="none-candidates"),
        pytest.param(
            NET + "\n    class Other(nn.Module):\n        pass\n",
            {},
            ["several models", "user_model.py:Net", "user_model.py:Other"],
            id="several",
        ),
        pytest.param(
            "from torch import nn\nclass Net(nn.Module):\n    def __init__(self, depth): ...\n",
            {},
            ["needs no arguments", "Net(depth)", "--model-arg"],
            id="needs-arguments",
        ),
        pytest.param(NET, {"name": "Nett"}, ["no 'Nett'", "near it: Net"], id="near-name"),
        pytest.param(NET, {"name": "qqqq"}, ["no 'qqqq'", "it holds Net"], id="no-near-name"),
        pytest.param(NET, {"depth": 3, "name": "Net"}, ["depth", "Net(width=4)"], id="argument"),
        pytest.param(
            NET + "\n    model = Net()\n", {"width": 3}, ["already built", "width=3"], id="instance"
        ),
        pytest.param("model = 3\n", {}, ["is a int, not an nn.Module"], id="not-a-model"),
        pytest.param(
            "class Net:\n    pass\n", {"name": "Net"}, ["not an nn.Module"], id="class-not-a-model"
        ),
        pytest.param(
            NET + "\n    def build_batch():\n        pass\n",
            {},
            ["build_batch()", "build_batch(batch_size)"],
            id="build-batch-arguments",
        ),
        pytest.param(
            NET + "\n    def build_batch(batch_size, image_size):\n        pass\n",
            {},
            ["cannot be called as build_batch(batch_size):", "'image_size'"],
            id="build-batch-another-parameter",
        ),
        pytest.param(
            NET + "\n    def build_batch(batch_size, sequence_length, width):\n        pass\n",
            {},
            ["cannot be called as build_batch(batch_size, sequence_length=...):", "'width'"],
            id="build-batch-third-parameter",
        ),
        pytest.param(
            NET + "\n    def build_batch(sequence_length, batch_size):\n        pass\n",
            {},
            ["cannot be called as build_batch(batch_size):", "'batch_size'"],
            id="build-batch-order",
        ),
        pytest.param(
            NET + "\n    training_step = 3\n",
            {},
            ["training_step(model, batch)"],
            id="not-callable",
        ),
        pytest.param(
            NET + "\n    def training_step(model, batch, optimizers, epoch):\n        pass\n",
            {},
            ["cannot be called as training_step(model, batch, optimizers):", "'epoch'"],
            id="training-step-fourth-parameter",
        ),
        pytest.param(
            NET + "\n    def build_optimizer(parameters, lr, model):\n        pass\n",
            {},
            ["build_optimizer(parameters, model)", "it needs parameters and lr"],
            id="build-optimizer-third-parameter",
        ),
        pytest.param(
            NET + "\n    def inference_step(model):\n        pass\n",
            {},
            ["cannot be called as inference_step(model, batch):"],
            id="inference-step-arguments",
        ),
        pytest.param("def f(:\n", {}, ["user_model.py, line 1", "SyntaxError"], id="syntax"),
    ],
)
def test_an_error_says_what_was_found_and_what_to_write(
    write_model: WriteModel, text: str, options: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(TargetError) as error:
        load(write_model(text, **options))
    for word in words:
        assert word in str(error.value)


def test_a_builder_that_returns_something_else(write_model: WriteModel) -> None:
    source = load(write_model("def build_model():\n    return 3\n"))
    with pytest.raises(ModelError, match="build_model returned a int"):
        source.build_model()


def test_an_exception_at_import_carries_the_users_frames(write_model: WriteModel) -> None:
    text = "def read_data():\n    raise ValueError('no data')\n\nread_data()\n"
    with pytest.raises(ModelError, match="ValueError: no data") as error:
        load(write_model(text))
    assert "line 4, in <module>\n    read_data()" in error.value.frames
    assert "line 2, in read_data\n    raise ValueError('no data')" in error.value.frames
    assert "importlib" not in error.value.frames
    assert "planner/worker" not in error.value.frames


def test_a_missing_file_names_its_neighbours(write_model: WriteModel, tmp_path: Path) -> None:
    write_model(NET)
    wanted = Target(kind=TargetKind.FILE, location=str(tmp_path / "user_modle.py"))
    with pytest.raises(TargetError, match=r"near it: user_model\.py"):
        load(wanted)
    with pytest.raises(TargetError, match="no folder"):
        load(Target(kind=TargetKind.FILE, location=str(tmp_path / "nowhere" / "m.py")))
    with pytest.raises(TargetError, match=r"is a folder.*user_model\.py"):
        load(Target(kind=TargetKind.FILE, location=str(tmp_path)))


def test_a_missing_module_is_not_taken_for_an_error_in_it() -> None:
    with pytest.raises(TargetError, match="no module 'no_such_package'"):
        load(Target(kind=TargetKind.MODULE, location="no_such_package.models", name="net"))


def test_a_missing_dependency_of_the_file_is_an_error_in_it(write_model: WriteModel) -> None:
    with pytest.raises(ModelError, match="No module named 'no_such_package'"):
        load(write_model("import no_such_package\n"))


def test_live_objects_arrive_through_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "sent"
    sent = transport.pack(
        nn.Linear(3, 2),
        lambda batch_size: torch.zeros(batch_size, 3),
        inference_step=lambda model, batch: model(batch),
    )
    path.write_bytes(sent)
    source = load(Target(kind=TargetKind.PICKLE, location=str(path)))
    assert source.build_model().weight.device.type == "meta"
    assert source.build_batch is not None
    assert source.build_batch(5).shape == (5, 3)
    assert source.training_step is None
    assert source.inference_step is not None


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("training_step", "model, batch"),
        ("training_step", "model, batch, optimizers"),
        ("training_step", "model, batch, criterion=None"),
        ("training_step", "*arguments"),
        ("build_optimizer", "parameters"),
        ("build_optimizer", "model"),
        ("build_optimizer", "parameters, model"),
        ("build_optimizer", "model, parameters, lr=0.1"),
        ("build_optimizer", "parameters, *, model"),
        ("inference_step", "model, batch, steps=10"),
    ],
)
def test_functions_that_take_more_or_less(
    write_model: WriteModel, name: str, parameters: str
) -> None:
    source = load(write_model(f"{NET}\n    def {name}({parameters}):\n        pass\n"))
    assert callable(getattr(source, name))


def test_functions_of_a_model_file_are_no_models(write_model: WriteModel) -> None:
    text = "def inference_step(model, batch): ...\ndef collate(items): ...\n"
    with pytest.raises(TargetError) as error:
        load(write_model(text))
    assert "it holds" not in str(error.value)


def test_a_sent_function_builds_the_model(tmp_path: Path) -> None:
    path = tmp_path / "sent"
    path.write_bytes(transport.pack(lambda width=3: nn.Linear(width, 2)))
    target = Target(kind=TargetKind.PICKLE, location=str(path), arguments=(("width", 5),))
    assert load(target).build_model().in_features == 5


def test_a_module_level_model_needs_no_host_memory(write_model: WriteModel) -> None:
    load(write_model("from torch import nn\nmodel = nn.Linear(4, 4)\n"))
    assert sys.modules["user_model"].model.weight.device.type == "meta"


def test_a_file_that_reads_weights_at_import_gets_them(write_model: WriteModel) -> None:
    text = "from torch import nn\nmodel = nn.Linear(4, 4)\ntotal = model.weight.sum().item()\n"
    assert isinstance(load(write_model(text)).build_model(), nn.Linear)
    assert sys.modules["user_model"].model.weight.device.type == "cpu"
