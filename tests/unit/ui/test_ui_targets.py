"""Only Python files inside one folder, and models of the catalog, can be asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import UsageError, WrongTargetError
from planner.ui.targets import (
    catalog_targets,
    checked_folder,
    checked_target,
    model_files,
    names_in,
)

NET = "def build_model():\n    pass\nclass Net:\n    pass\ndef _own():\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text(NET)
    folder = tmp_path / "work"
    for name in ("net.py", "models/deep.py", ".hidden/a.py", "venv/lib/b.py", "__pycache__/c.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(NET)
    (folder / "venv" / "pyvenv.cfg").write_text("")
    (folder / "helper.py").write_text("x = 1\n")
    (folder / "weights.pt").write_text("")
    (folder / "leads-out.py").symlink_to(outside / "secret.py")
    (folder / "leads-out").symlink_to(outside)
    (folder / "leads-in.py").symlink_to("models/deep.py")
    (folder / "-q.py").write_text(NET)
    return checked_folder(folder)


def test_the_list_has_what_may_be_chosen_builders_first(folder: Path) -> None:
    assert model_files(folder) == ["-q.py", "leads-in.py", "models/deep.py", "net.py", "helper.py"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("net.py", "net.py"),
        ("models/deep.py", "models/deep.py"),
        ("models/deep.py:Net", "models/deep.py:Net"),
        ("leads-in.py", "leads-in.py"),
        ("-q.py", "./-q.py"),
        ("hf:openai-community/gpt2", "hf:openai-community/gpt2"),
    ],
)
def test_what_may_be_asked_for(folder: Path, text: str, word: str) -> None:
    assert checked_target(folder, text) == word


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("../outside/secret.py", "refused"),
        ("models/../../outside/secret.py", "refused"),
        ("models/../net.py", "refused"),
        ("/etc/passwd", "refused"),
        ("//etc/a.py", "refused"),
        ("~/a.py", "refused"),
        ("C:\\a.py", "refused"),
        ("C:/a.py", "refused"),
        ("\\\\host\\share\\a.py", "refused"),
        ("file:///etc/a.py", "refused"),
        ("leads-out.py", "leads out"),
        ("leads-out/secret.py", "leads out"),
        ("leads-out/secret.py:Net", "leads out"),
        ("weights.pt", "no Python file"),
        ("none.py", "no Python file"),
        ("models", "no Python file"),
        ("torchvision.models:resnet50", "no Python file"),
        ("a" * 300 + ".py", "no Python file"),
        ("net\x00.py", "choose a model file"),
        ("", "choose a model file"),
        ("timm:resnet50", "refused"),
        ("hf:/etc/config.json", "no model of the catalog"),
        ("hf:../config.json", "no model of the catalog"),
        ("hf:some/other-model", "no model of the catalog"),
        ("diffusers:openai-community/gpt2", "no model of the catalog"),
    ],
)
def test_what_may_not(folder: Path, text: str, says: str) -> None:
    with pytest.raises(WrongTargetError) as caught:
        checked_target(folder, text)
    assert says in str(caught.value)


def test_a_file_with_the_name_of_a_catalog_model_is_not_read_in_its_place(folder: Path) -> None:
    (folder / "openai-community").symlink_to(folder.parent / "outside")
    (folder.parent / "outside" / "gpt2").write_text("{}")
    with pytest.raises(WrongTargetError, match="also a file"):
        checked_target(folder, "hf:openai-community/gpt2")


def test_names_come_from_the_source_alone(folder: Path) -> None:
    (folder / "loud.py").write_text("raise SystemExit\ndef tiny(): ...\n")
    (folder / "wrong.py").write_text("def (")
    assert names_in(folder, "models/deep.py") == ["build_model", "Net"]
    assert names_in(folder, "loud.py") == ["tiny"]
    assert names_in(folder, "wrong.py") == []
    with pytest.raises(WrongTargetError):
        names_in(folder, "leads-out.py")


def test_the_catalog_is_that_of_the_product() -> None:
    assert "hf:meta-llama/Llama-3.1-8B" in catalog_targets()


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        checked_folder(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        checked_folder(tmp_path / "file")
