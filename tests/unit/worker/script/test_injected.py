"""What every Python process of a command gets, in an interpreter without planner and msgspec."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INJECT = Path(__file__).parents[4] / "planner" / "worker" / "script" / "inject"


def _python(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code as a script of a folder, without site-packages."""
    (folder / "script.py").write_text(code)
    path = os.pathsep.join([str(INJECT), str(folder / "site")])
    return subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a package `planner` and a sitecustomize of the script's own."""
    (tmp_path / "planner").mkdir()
    (tmp_path / "planner" / "__init__.py").write_text("mine = True\n")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import builtins\nbuiltins.chained = 1\n")
    return tmp_path


def test_without_an_order_torch_is_refused(folder: Path) -> None:
    done = _python(folder, "import torch\n", VRAM_PLANNER_RUN=str(folder / "gone"))
    assert done.returncode == 1
    assert "nothing runs on a real card" in done.stderr
    assert _python(folder, "import torch\n").returncode == 1


def test_the_hidden_sitecustomize_runs_and_the_own_planner_is_untouched(folder: Path) -> None:
    order = folder / "order.json"
    order.write_text("{}")
    code = (
        "import sys, planner\n"
        "assert planner.mine and chained == 1\n"
        "from _vram_planner.wire import script\n"
        "from _vram_planner.errors import PlannerError\n"
        "assert script.ScriptOrder.__module__ == '_vram_planner.wire.script'\n"
        "assert script.__file__.endswith('planner/wire/script.py')\n"
        "import _vram_planner\n"
        "assert not hasattr(_vram_planner, 'estimate')\n"
        "assert not [n for n in sys.modules if n.startswith('planner.')]\n"
    )
    done = _python(folder, code, VRAM_PLANNER_RUN=str(order))
    assert done.returncode == 0, done.stderr


def test_all_that_runs_in_a_script_needs_neither_msgspec_nor_planner(folder: Path) -> None:
    code = (
        "import sys\n"
        "class No:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('msgspec', 'planner', 'click', 'rich', 'yaml'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, No())\n"
        f"sys.path += {sys.path!r}\n"
        "sys.meta_path = [m for m in sys.meta_path if type(m).__name__ != '_TorchFinder']\n"
        "import torch\n"
        "import _vram_planner.worker.script.running\n"
    )
    order = folder / "order.json"
    order.write_text("{}")
    done = _python(folder, code, VRAM_PLANNER_RUN=str(order))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", sorted(INJECT.parent.glob("*.py")), ids=lambda path: path.stem)
def test_modules_for_scripts_can_be_renamed(file: Path) -> None:
    """An `import planner.x` has no private form; the loader would refuse it at run time."""
    lines = file.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line.strip().startswith("import planner")]
