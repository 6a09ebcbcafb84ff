"""Targets that cannot be one are refused with what was probably meant; what may work is not."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from planner.errors import TargetError, UsageError, WrongTargetError
from planner.estimation.request import model_request
from planner.preflight import target as under_test
from planner.preflight.modules import torchvision_models
from planner.preflight.target import check_target

TRAINING_SCRIPT = """
import argparse
from torch.utils.data import DataLoader, Dataset

class Pictures(Dataset):
    def __len__(self):
        return 3

def parse_args():
    return argparse.ArgumentParser().parse_args()

def make_net(width):
    return object()

def main():
    model = make_net(3)

if __name__ == "__main__":
    main()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with what people have in one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        under_test,
        "torchvision_models",
        lambda: dict.fromkeys(("resnet50", "vit_b_16"), "--input 3x224x224"),
    )
    files = {
        "models/resnet50.py": "def build_model(): pass",
        "models/gpt2.py": "def build_model(): pass\ndef gpt2_xl(): pass",
        "train.py": TRAINING_SCRIPT,
        "loop.py": "def main(): pass", "stars.py": "from models.gpt2 import *",
        "config.yaml": "", "config-v1.yml": "", "nb.ipynb": "{}", "w.safetensors": "", "run.sh": "",
        "notes.txt": "", "packed/__init__.py": "", "packed/nets.py": "def net(): pass",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models/resnet5.py", "no file models/resnet5.py; did you mean models/resnet50.py?"),
        ("models/gpt.py:gpt2_xl", "did you mean models/gpt2.py:gpt2_xl?"),
        ("models/resnet50", "did you mean models/resnet50.py?"),
        ("modles/resnet50", "no folder modles; did you mean models/resnet50.py"),
        ("resnet50.py", "no file resnet50.py; did you mean models/resnet50.py"),
        ("modles/resnet50.py", "no folder modles; did you mean models/resnet50.py"),
        ("models/zzz.py", "models holds gpt2.py, resnet50.py"),
        ("zzz.py", "this folder holds loop.py, stars.py, train.py"),
        ("empty/zzz.py", "there is no file empty/zzz.py"),
        ("missing.yaml", "a file of this kind is a configuration"),
        ("org/Net-3.1-8B", "a model of the Hugging Face hub is hf:org/Net-3.1-8B"),
        ("huggingface:org/net", "did you mean hf:org/net?"),
        ("what:org/net", "what: is no library of published models; these are hf:, diffusers:"),
        ("resnet50", "models/resnet50.py or torchvision.models:resnet50 --input 3x224x224?"),
        ("ResNet-50", "models/resnet50.py or torchvision.models:resnet50 --input 3x224x224?"),
        ("vit-b-16", "did you mean torchvision.models:vit_b_16 --input 3x224x224?"),
        ("gpt2", "did you mean models/gpt2.py?"),
        ("zzz", "there is no module 'zzz'; a target is a Python file, FILE:NAME, package"),
        ("zzz.models:net", "no module 'zzz' for 'zzz.models:net'"),
        ("packed.nets.net", "with a colon: packed.nets:net"),
        ("models", "models is a folder; name a Python file in it, like models/gpt2.py"),
        ("models/", "models/ is a folder; name a Python file in it, like models/gpt2.py"),
        ("models:resnet50", "models is a folder"),
        ("empty", "empty is a folder; name a Python file; it holds none"),
        (".", "is a folder"),
        ("config.yaml", "config.yaml is a configuration; name the Python file"),
        ("config-v1.yml", "is a configuration"),
        ("./config.yaml:net", "is a configuration"),
        ("nb.ipynb", "is a notebook; call planner.estimate(model, gpu=...) in it"),
        ("w.safetensors", "holds weights, and a step needs code"),
        ("./run.sh", "is a script of the shell"),
        ("./notes.txt", "its name must end in .py"),
        ("train.py", "no `model` and no class of an nn.Module; write `def build_model():`"),
        ("train.py", "that returns one: train.py:make_net (it has make_net, parse_args, main)"),
        ("loop.py", "that returns one: loop.py:NAME (it has main)"),
        ("train", "that returns one: train:make_net"),
        ("train.py:make_nett", "did you mean train.py:make_net?"),
        ("train:Net", "there is no 'Net' in train; "),
        ("models/gpt2.py:build", "models/gpt2.py:build_model"),
        ("a b", "neither a Python file nor package.module:NAME"),
    ],
)  # fmt: skip
def test_a_target_that_cannot_be_one(text: str, said: str) -> None:
    with pytest.raises(WrongTargetError) as caught:
        check_target(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "models/resnet50.py",
        "./models/gpt2.py:gpt2_xl",
        "models.resnet50",
        "models.gpt2:gpt2_xl",
        "models.resnet50:build_model",
        "stars.py",
        "stars.py:gpt2_xl",
        "stars",
        "train.py:make_net",
        "train.py:Pictures",
        "packed",  # a package may bind anything
        "packed:net",
        "packed.nets:net",
        "packed.zzz",
        "sys",
        "json:loads",
        "__main__:model",
        "torchvision.models:resnet50",
        "/dev/null",
        "x" * 5000 + ".py",
    ],
)
def test_what_may_work_is_let_through(text: str) -> None:
    check_target(text)


def test_what_is_refused_is_wrong_usage_and_a_wrong_target() -> None:
    with pytest.raises(WrongTargetError) as caught:
        model_request("resnet50")
    assert isinstance(caught.value, UsageError)
    assert isinstance(caught.value, TargetError)
    assert caught.value.exit_code == 2
    with pytest.raises(WrongTargetError):
        model_request(Path("models/resnet5.py"))


def test_a_module_of_an_editable_install_is_found(folder: Path) -> None:
    """By a finder on sys.meta_path, as editable installs have it."""
    from importlib.machinery import PathFinder

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            return PathFinder.find_spec(name, [str(folder / "elsewhere")])

    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "installed.py").write_text("def build_model(): pass")
    with pytest.raises(WrongTargetError):
        check_target("installed")
    sys.meta_path.append(Finder)  # type: ignore[arg-type] # has what is called of a finder
    try:
        check_target("installed")
    finally:
        sys.meta_path.remove(Finder)  # type: ignore[arg-type] # as above


def test_two_modules_of_one_name_are_left_to_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "loop.py").write_text("def build_model(): pass")
    with pytest.raises(WrongTargetError, match="loop has no build_model"):
        check_target("loop")
    monkeypatch.syspath_prepend(folder / "elsewhere")
    check_target("loop")


def test_nothing_is_imported_to_find_a_name(folder: Path) -> None:
    (folder / "packed" / "__init__.py").write_text("raise SystemExit('imported')")
    check_target("packed.nets:net")
    with pytest.raises(WrongTargetError, match=r"packed\.nets:net"):
        check_target("packed.nets.net")


def test_the_models_of_torchvision_are_found_without_torch() -> None:
    pytest.importorskip("torchvision")
    found = torchvision_models()
    assert found["resnet50"] == "--input 3x224x224"
    assert found["inception_v3"] == "--input 3x299x299"
    assert "conv3x3" not in found


@pytest.mark.parametrize("command", ["estimate", "curve", "compare", "inspect", "verify"])
def test_every_command_refuses_before_a_child_is_started(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from planner.cli.root import root

    def never(*arguments: object, **options: object) -> object:
        raise AssertionError("started")

    monkeypatch.setattr("planner.process.child.subprocess.Popen", never)
    monkeypatch.setattr("planner.machine.nvml.import_module", never)
    words = ["--gpu", "t4"] if command == "curve" else []
    result = CliRunner().invoke(root, [command, "resnet50", *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "models/resnet50.py" in result.stderr


@pytest.mark.slow
def test_a_whole_refusal_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from planner.cli.root import root\n"
        "try:\n"
        "    root.main(['estimate', 'resnet50', '--gpu', 't4'], prog_name='planner')\n"
        "except SystemExit as end:\n"
        "    print(end.code, 'torch' in sys.modules, 'torchvision' in sys.modules)\n"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": root, "PATH": ""},
    )  # fmt: skip
    assert done.stdout == "2 False False\n"
    assert done.stderr.startswith("error: there is no module 'resnet50'")


@pytest.mark.parametrize("text", ["net.py", "net", "a b", "a\0b.py", "~nobody-here/x.py"])
def test_what_cannot_be_looked_at_is_left_to_the_run(
    text: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with suppress(WrongTargetError):  # and nothing else
        check_target(text)
    monkeypatch.chdir(folder)


MODEL_FILES = sorted(
    file
    for folder in ("models", "benchmarks/field/jobs", "benchmarks/library_jobs")
    for file in (Path(__file__).parents[3] / folder).glob("*.py")
    if not file.stem.startswith("_")
) + sorted((Path(__file__).parents[3] / "benchmarks/faults/models").glob("*.py"))


@pytest.mark.parametrize("file", MODEL_FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_no_model_file_of_ours_is_refused(file: Path) -> None:
    check_target(str(file))
