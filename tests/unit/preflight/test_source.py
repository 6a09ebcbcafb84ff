"""What a file binds, by its syntax: never sure where something else could bind it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from planner.preflight.source import Source, read_source


def source(tmp_path: Path, text: str) -> Source:
    file = tmp_path / "net.py"
    file.write_text(text)
    found = read_source(file)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "text",
    [
        "def model(): pass",
        "async def model(): pass",
        "class model: pass",
        "model = 1",
        "a, (b, *model) = f()",
        "model: int = 1",
        "for model in []: pass",
        "with f() as model: pass",
        "import model",
        "import model.parts",
        "import x as model",
        "from x import model",
        "from x import y as model",
        "if x:\n    model = 1",
        "try:\n    pass\nexcept E:\n    model = 1",
        "print(model := 1)",
        "[y for x in z if (model := x)]",
        "def f():\n    global model\n    model = 1",
        "match x:\n    case [model, *_]: pass",
        "match x:\n    case {'a': 1, **model}: pass",
        "while x:\n    model = 1",
    ],
)
def test_names_that_are_bound(tmp_path: Path, text: str) -> None:
    found = source(tmp_path, text)
    assert "model" in found.names
    assert found.is_certain


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    model = 1",
        "class C:\n    model = 1",
        "f = lambda model: 1",
        "print(model)",
        "x.model = 1",
        "if __name__ == '__main__':\n    main()",
        "net.eval()\nfor m in net.modules(): pass",
        "vars(args)",
    ],
)
def test_names_that_are_not(tmp_path: Path, text: str) -> None:
    found = source(tmp_path, text)
    assert "model" not in found.names
    assert found.is_certain


@pytest.mark.parametrize(
    "text",
    [
        "from x import *",
        "try:\n    from x import *\nexcept ImportError: pass",
        "globals()['model'] = 1",
        "vars()['model'] = 1",
        "exec(code)",
        "eval(code)",
        "import sys\nsys.modules[__name__] = X()",
        "from sys import modules",
        "def __getattr__(name): return 1",
        "__getattr__, __dir__, __all__ = attach(__name__)",
        "import net\nnet.model = 1",
        "from net import x",
        "import inspect\ninspect.currentframe()",
        "f.__globals__['model'] = 1",
    ],
)
def test_what_may_bind_anything(tmp_path: Path, text: str) -> None:
    assert not source(tmp_path, text).is_certain


@pytest.mark.parametrize(
    "text",
    [
        "class Net(nn.Module): pass",
        "from torch.nn import Module\nclass Net(Module): pass",
        "class Net(Base): pass",
        "class A(Base): pass\nclass Net(A): pass",
        "class A(metaclass=M): pass",
        "@register\nclass A: pass",
        "def f():\n    class Net(nn.Module): pass\n    return Net\nnet = f()",
        "x = type('Net', (nn.Module,), {})",
        "Net = make()",
        "Net = partial(Other, 3)",
        "from torch.utils.data import Dataset\nDataset = Base\nclass A(Dataset): pass",
        "try:\n    from enum import Enum as B\nexcept E:\n    from nets import Net as B\n"
        "class A(B): pass",
        "import torch\nclass A(torch.optim.swa_utils.AveragedModel): pass",
        "from .enum import Enum\nclass A(Enum): pass",
        "class A(B): pass\nclass B(A): pass",
        "Exception = Net\nclass A(Exception): pass",
        "class A(make(3)): pass",
    ],
)
def test_a_class_that_may_be_a_model(tmp_path: Path, text: str) -> None:
    assert source(tmp_path, text).may_hold_model_class


@pytest.mark.parametrize(
    "text",
    [
        "",
        "class A: pass",
        "class A(object): pass",
        "class A(Exception): pass\nclass B(A): pass",
        "from torch.utils.data import Dataset\nclass A(Dataset): pass",
        "from torch.utils import data\nclass A(data.Dataset): pass",
        "import torch\nclass A(torch.utils.data.Dataset): pass",
        "from typing import Generic, TypeVar\nT = TypeVar('T')\nclass A(Generic[T]): pass",
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass A: pass",
        "import torch\nclass A(torch.autograd.Function): pass",
        "print(type(x))",
        "LR = float(x)",
        "parser = ArgumentParser()",
    ],
)
def test_classes_that_are_none(tmp_path: Path, text: str) -> None:
    assert not source(tmp_path, text).may_hold_model_class


def test_what_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    assert read_source(file) is None
    for data in (b"def f(:", b"x = '\0'", b"x = 1\n" * 200_000, b"# coding: nonsense\nx = 1"):
        file.write_bytes(data)
        assert read_source(file) is None
    file.write_bytes("# coding: latin-1\nä = 1".encode("latin-1"))
    found = read_source(file)
    assert found is not None
    assert found.names == {"ä"}


def test_reading_warns_of_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source(tmp_path, r"x = '\d'")
