"""The wheel as a user installs it: away from the checkout, with all files that planner reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import planner
from tests.integration.child_runs import WriteModel

pytestmark = pytest.mark.slow

ROOT = Path(planner.__file__).parents[1]
MODEL = """
    def build_model():
        return nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 10))

    def build_batch(batch_size):
        return torch.randn(batch_size, 256), torch.randint(10, (batch_size,))
"""


def done(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command that may see nothing of the checkout but what is given."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    built = done(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, ROOT, folder=folder
    )
    if "No matching distribution found for hatchling" in built.stderr:
        pytest.skip("hatchling, which builds the wheel, cannot be fetched here")
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("vram_planner-*.whl")
    return found


def files_below(folder: Path) -> set[str]:
    """Names of the files, without what Python itself writes there."""
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_every_file_of_the_package_and_of_the_database_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    database = {f"planner/{name}" for name in files_below(ROOT / "hardware_db")}
    assert len(database) > 100
    catalog, pipelines = (
        {f"planner/{there}/{path.name}" for path in (ROOT / "models" / here).iterdir()}
        for here, there in (("catalog", "catalog_db"), ("pipelines", "pipelines_db"))
    )
    assert len(catalog) > 50
    assert pipelines
    assert packed == files_below(ROOT / "planner") | database | catalog | pipelines


def test_it_answers_as_the_checkout_does(
    wheel: Path, tmp_path: Path, write_model: WriteModel
) -> None:
    """In an environment of its own, which takes torch and the rest from this one."""
    venv = tmp_path / "venv"
    made = done(sys.executable, "-m", "venv", "--without-pip", venv, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    python, command = venv / "bin" / "python", venv / "bin" / "planner"
    pip = (sys.executable, "-m", "pip", "--python", python)
    installed = done(*pip, "install", "--no-deps", "--no-index", wheel, folder=tmp_path)
    assert installed.returncode == 0, installed.stderr
    (packages,) = venv.glob("lib/python*/site-packages")
    shared = [entry for entry in sys.path if Path(entry).name == "site-packages"]
    (packages / "shared.pth").write_text("".join(f"{entry}\n" for entry in shared))
    place = done(python, "-c", "import planner; print(planner.__file__)", folder=tmp_path)
    assert Path(place.stdout.strip()) == packages / "planner" / "__init__.py", place.stderr

    path = write_model(MODEL)
    questions = (
        ("--version",),
        ("gpus",),
        ("models",),
        ("estimate", path, "--gpu", "t4", "--json"),
    )
    for words in questions:
        here = done(sys.executable, "-m", "planner", *words, folder=ROOT)
        there = done(command, *words, folder=tmp_path)
        assert there.returncode == here.returncode == 0, there.stderr
        assert there.stdout == here.stdout
        assert "building" not in there.stderr  # the same sources have the same build
    assert json.loads(there.stdout)["gpus"][0]["time"]["step_s"] > 0
