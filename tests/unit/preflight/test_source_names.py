"""Lines of source by their text, and no path outside of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.preflight.source_names import definition_line, source_name

TEXT = (
    "import torch\n\n\ndef build_model():\n    return torch.nn.Linear(1,   2)\n\nclass Net: ...\n"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "net.py").write_text(TEXT)
    return tmp_path / "src" / "net.py"


def test_a_line_keeps_its_name_when_it_moves(file: Path, tmp_path: Path) -> None:
    before = source_name(f"{file}:5", tmp_path)
    assert before.name == "src/net.py: return torch.nn.Linear(1, 2)"
    assert (before.place, before.is_inside) == ("src/net.py:5", True)
    file.write_text(f"# a comment\n{TEXT}")
    after = source_name(f"{file}:6", tmp_path)
    assert (after.name, after.place) == (before.name, "src/net.py:6")


def test_no_name_has_a_folder_outside_of_the_project(file: Path, tmp_path: Path) -> None:
    packages = tmp_path / "venv" / "lib" / "site-packages" / "timm"
    packages.mkdir(parents=True)
    (packages / "layers.py").write_text("x = 1\n")
    installed = source_name(f"{packages}/layers.py:1", tmp_path)
    assert (installed.name, installed.is_inside) == ("timm/layers.py: x = 1", False)
    elsewhere = source_name(f"{file}:5", tmp_path / "other")
    assert (elsewhere.place, elsewhere.is_inside) == ("net.py:5", False)


@pytest.mark.parametrize("source", ["/no/such/net.py:3", "<string>:3", "net.py:", "net.py:99"])
def test_what_cannot_be_read_has_its_number(source: str, tmp_path: Path) -> None:
    found = source_name(source, tmp_path)
    assert found.name == found.place == source.rpartition("/")[2]


@pytest.mark.parametrize(("name", "line"), [(None, 4), ("Net", 7), ("other", 1)])
def test_the_line_of_a_definition(file: Path, name: str | None, line: int) -> None:
    assert definition_line(file, name) == line


def test_a_file_without_syntax_has_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def (:\n")
    assert definition_line(tmp_path / "bad.py", None) == 1
    assert definition_line(tmp_path / "none.py", None) == 1
