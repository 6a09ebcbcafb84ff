"""The examples run: files on an emulated card, and the notebook gives what it shows."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "first_estimate.ipynb"
_PICTURE = re.compile(r"<svg.*?</svg>", re.DOTALL)
_NUMBER = re.compile(r"[\d.,]*\d( (GiB|MiB|KiB|B|h|min|s|ms|us)\b)?")

_LLAMA_LAYER = 2 * 1024 * 1024 + 2 * 1024 * 512 + 3 * 1024 * 2816 + 2 * 1024
PARAMETERS = {  # by hand; of timm, as its own table of models has it
    "lightning_classifier.py": (3 * 9 * 128 + 128) + 2 * 128 + (128 * 9 * 256 + 256) + 2 * 256
    + (256 * 100 + 100),
    "timm_image_model.py": 22_050_664,
    "transformers_causal_lm.py": 2 * 32_000 * 1024 + 16 * _LLAMA_LAYER + 1024,
}  # fmt: skip


def command_in(example: Path) -> list[str]:
    """The command that the example's docstring gives."""
    (line,) = re.findall(r"^planner (estimate .+)$", example.read_text(encoding="utf-8"), re.M)
    return shlex.split(line)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_an_example_runs_as_its_docstring_says(name: str) -> None:
    example = EXAMPLES / name
    (library,) = re.findall(
        r"^(?:import|from) (lightning|timm|transformers)\b", example.read_text(), re.M
    )
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "planner", *command_in(example), "--no-max-batch", "-q", "--json"],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["counts"]["parameters"] == PARAMETERS[name]
    (card,) = document["gpus"]
    assert card["fits"] is True
    assert card["breakdown_bytes"]["parameter"] >= 4 * PARAMETERS[name]
    assert card["time"]["step_s"] > 0


def _outline(cell: Any) -> list[str]:
    """The outputs of a cell with every figure and the insides of every picture left out."""
    shown = []
    for output in cell.outputs:
        texts = (
            output.data if "data" in output else {output.get("name", ""): output.get("text", "")}
        )
        shown += [
            f"{kind}: {_NUMBER.sub('#', _PICTURE.sub('<svg>', text))}"
            for kind, text in sorted(texts.items())
        ]
    return shown


def test_the_notebook_gives_what_it_shows(request: pytest.FixtureRequest) -> None:
    """With --refresh-golden the notebook is written anew, with the outputs of this run."""
    pytest.importorskip("ipykernel")
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    committed = nbformat.read(NOTEBOOK, 4)
    ran = nbformat.read(NOTEBOOK, 4)
    client = nbclient.NotebookClient(
        ran, timeout=600, record_timing=False, resources={"metadata": {"path": str(ROOT)}}
    )
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)})
    ran.metadata.pop("language_info", None)  # the Python of this machine
    if request.config.getoption("--refresh-golden"):
        nbformat.write(ran, NOTEBOOK)
        committed = nbformat.read(NOTEBOOK, 4)
    codes = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert any(_outline(cell) for cell in codes)
    for before, after in zip(committed.cells, ran.cells, strict=True):
        if before.cell_type == "code":
            assert _outline(after) == _outline(before), before.source
