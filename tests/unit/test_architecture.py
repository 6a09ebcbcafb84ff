"""The floors: imports go down, torch stays in the child, and these checks can fail."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import planner

PACKAGE = Path(planner.__file__).parent
ROOT = PACKAGE.parent

# Who alone may import what.
OWNERS = {
    "torch": "planner/worker/",
    "click": "planner/cli/",
    "yaml": "planner/hardware/yaml_files.py",
    "fvcore": "planner/worker/count/counts.py",
    "matplotlib": "planner/results/",
    "starlette": "planner/ui/",
    "uvicorn": "planner/ui/",
}

# Only where the caller has a live model, hence torch, already.
LATE_IMPORTS_OF_WORKER = {("planner.process.payload", "planner.worker.target.transport")}

PARENT_SIDE = (
    "planner", "planner.cli.root", "planner.questions.estimate", "planner.questions.verify",
    "planner.machine.this_host",
)  # fmt: skip
# All but the child's own room, and the file that packs a live model of the caller's torch.
WITHOUT_TORCH = (
    "catalog", "cli", "config", "cost", "emulator", "estimation", "hardware", "input_pipeline",
    "machine", "memory", "preflight", "process", "public", "published", "questions", "render",
    "results", "sweeps", "timing", "ui", "verification", "wire",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import of `name` in `module` (dotted names); `late` when it is inside a function."""

    module: str
    path: str
    name: str
    late: bool


def imports_of(package: Path) -> tuple[Import, ...]:
    """All imports in the package, relative ones resolved."""
    return tuple(
        found for path in sorted(package.rglob("*.py")) for found in _imports_in(path, package)
    )


def _imports_in(path: Path, package: Path) -> Iterator[Import]:
    relative = path.relative_to(package.parent)
    parts = [*relative.parts[:-1], *([] if path.stem == "__init__" else [path.stem])]
    modules = {
        ".".join(other.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        for other in package.rglob("*.py")
    }
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            folder = relative.parts[: len(relative.parts) - node.level] if node.level else ()
            origin = ".".join([*folder, *([node.module] if node.module else [])])
            names = [
                full if (full := f"{origin}.{alias.name}") in modules else origin
                for alias in node.names
            ]
        for name in names:
            yield Import(
                module=".".join(parts), path=str(relative), name=name, late=id(node) in inside
            )


def owner_breaks(found: tuple[Import, ...]) -> list[str]:
    """Imports of torch, click, yaml, fvcore and matplotlib outside the place that owns them."""
    return [
        f"{item.path} imports {item.name}"
        for item in found
        if (owner := OWNERS.get(item.name.partition(".")[0])) and not item.path.startswith(owner)
    ]


def worker_breaks(found: tuple[Import, ...]) -> list[str]:
    """Imports of the child's side by the parent's."""
    return [
        f"{item.path} imports {item.name}"
        for item in found
        if f"{item.name}.".startswith("planner.worker.")
        and not item.module.startswith("planner.worker")
        and not (item.late and (item.module, item.name) in LATE_IMPORTS_OF_WORKER)
    ]


def cycles(found: tuple[Import, ...]) -> list[str]:
    """Modules that import themselves by way of others while they are being imported."""
    graph: dict[str, set[str]] = {}
    for item in found:
        if item.name.startswith("planner.") and item.module != "planner" and not item.late:
            graph.setdefault(item.module, set()).add(item.name)

    def reaches(start: str) -> bool:
        seen, waiting = set[str](), list(graph.get(start, ()))
        while waiting:
            name = waiting.pop()
            if name == start:
                return True
            if name not in seen:
                seen.add(name)
                waiting.extend(graph.get(name, ()))
        return False

    return [module for module in sorted(graph) if reaches(module)]


@pytest.fixture(scope="module")
def found() -> tuple[Import, ...]:
    """The imports of this package."""
    return imports_of(PACKAGE)


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter's verdict on the package `planner` in a folder, by the layers of pyproject."""
    run = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", run, "--no-cache", "--config"]
    return subprocess.run(
        [*command, str(ROOT / "pyproject.toml")], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip


@pytest.mark.slow
def test_imports_go_down() -> None:
    done = linted(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("units.py", "from planner.results.estimate import Estimate"),
        ("units.py", "def f():\n    import planner.cli.root"),
        ("emulator/build.py", "from ..memory.search import Capacity"),
        ("cost/energy.py", "from planner.memory import search"),
        ("novel.py", "from planner.units import GIB"),
    ],
)
def test_an_import_that_goes_up_would_be_seen(tmp_path: Path, file: str, line: str) -> None:
    package = tmp_path / "planner"
    for path in PACKAGE.rglob("*.py"):
        copy = package / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("")
    (package / file).write_text(line)
    done = linted(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout or "novel" in done.stdout


def test_torch_click_yaml_fvcore_and_matplotlib_have_one_place_each(
    found: tuple[Import, ...],
) -> None:
    assert owner_breaks(found) == []
    for owned in OWNERS:
        assert any(item.name.partition(".")[0] == owned for item in found), f"nobody uses {owned}"


def test_the_parent_does_not_import_the_childs_side(found: tuple[Import, ...]) -> None:
    assert worker_breaks(found) == []


def test_no_cycles(found: tuple[Import, ...]) -> None:
    assert cycles(found) == []


def test_no_file_lies_loose_beside_the_rooms() -> None:
    loose = {path.stem for path in PACKAGE.glob("*.py")}
    assert loose == {"__init__", "__main__", "_version", "errors", "units"}
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == {
        *WITHOUT_TORCH,
        "callbacks",
        "worker",
    }


def test_no_module_is_named_like_a_public_name() -> None:
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert not modules & set(planner.__all__)


@pytest.mark.parametrize(
    ("file", "line", "check"),
    [
        ("questions/estimate.py", "import torch", owner_breaks),
        ("emulator/build.py", "def f():\n    from torch.cuda import device_count", owner_breaks),
        ("render/terminal.py", "import click", owner_breaks),
        ("hardware/specs.py", "import yaml", owner_breaks),
        ("worker/loop.py", "from fvcore.nn import flop_count", owner_breaks),
        ("questions/estimate.py", "from planner.worker import loop", worker_breaks),
        ("process/payload.py", "from planner.worker.target.transport import pack", worker_breaks),
        ("errors.py", "from planner.units import GIB", cycles),
    ],
)
def test_a_break_would_be_seen(tmp_path: Path, file: str, line: str, check: object) -> None:
    assert callable(check)
    package = tmp_path / "planner"
    for name, text in (
        (file, line),
        ("units.py", "" if file != "errors.py" else "from planner.errors import UsageError"),
        ("worker/loop.py", ""),
        ("worker/target/transport.py", ""),
    ):
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(text)
    assert check(imports_of(package)) != []


def loaded_by(modules: tuple[str, ...], path: Path | None = None) -> set[str]:
    """Top-level packages in memory after a fresh interpreter has imported `modules`."""
    before = "" if path is None else f"sys.path.insert(0, {str(path)!r})"
    code = f"import sys\n{before}\nimport {', '.join(modules)}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("module", PARENT_SIDE)
def test_the_parent_side_loads_no_torch(module: str) -> None:
    loaded = loaded_by((module,))
    assert "planner" in loaded
    assert not loaded & {"torch", "numpy", "fvcore", "torchvision"}


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_whole_rooms_load_no_torch(room: str) -> None:
    """Every module of the room, whatever imports it."""
    modules = [
        ".".join(("planner", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in sorted((PACKAGE / room).rglob("*.py"))
        if path.stem != "__init__"
    ]
    assert modules
    assert not loaded_by(tuple(modules)) & {"torch", "numpy", "fvcore", "torchvision"}


def test_callbacks_load_no_torch_of_their_own() -> None:
    """They read the torch that the training process has; the frameworks' modules have it too."""
    modules = ("planner.callbacks.loop", "planner.callbacks.measurement")
    assert not loaded_by(modules) & {"torch", "numpy", "transformers", "lightning"}


def test_a_torch_in_the_parent_would_be_seen(tmp_path: Path) -> None:
    """A stand-in named torch, so that the proof costs nothing."""
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "careless.py").write_text("import planner.units\nimport torch\n")
    assert "torch" in loaded_by(("careless",), tmp_path)


def test_what_is_marked_quick_imports_no_torch() -> None:
    """Collects alone: tests/conftest.py refuses where a file has imported torch by then."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "quick", "--collect-only", "-n", "0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stdout[-600:] + done.stderr[-600:]
