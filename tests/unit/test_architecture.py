"""The floors: imports go down, torch stays in the child, and these checks can fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import planner

PACKAGE = Path(planner.__file__).parent

# Modules and folders of planner/ by floor. An import goes down, or to a module of the same floor,
# never up and never from one folder to another of the same floor.
FLOORS = {
    "errors": 1, "units": 1, "processes": 1, "csv_form": 1, "private_folders": 1,
    "user_files": 1, "outside_text": 1,
    "workload": 2, "options": 2, "hardware": 2,
    "weights": 3, "trace": 3, "value_reads": 3, "run_notes": 3, "module_counts": 3,
    "data_cost": 3, "protocol": 3, "step": 3,
    "device": 4,
    "memory": 5, "performance": 5,
    "speed_result": 6, "values_result": 6, "gpu_estimate": 6, "results": 6, "inspection": 6,
    "curve_result": 6, "comparison_result": 6,
    "estimation": 7, "verification": 7,
    "report": 8, "pipeline": 8, "host_estimate": 8, "verifying": 8,
    "asked": 8, "opened": 8, "curves": 8, "comparing": 8, "diagnosis": 8,
    "cli": 9, "__main__": 9,
}  # fmt: skip

# Who alone may import what.
OWNERS = {
    "torch": "planner/step/",
    "click": "planner/cli/",
    "yaml": "planner/hardware/yaml_files.py",
    "fvcore": "planner/step/counts.py",
}

# Only where the caller has a live model, hence torch, already.
LATE_IMPORTS_OF_STEP = {("planner.device.payload", "planner.step.transport")}

PARENT_SIDE = (
    "planner", "planner.pipeline", "planner.cli.root", "planner.cli.estimate", "planner.cli.gpus",
    "planner.cli.cpus", "planner.cli.doctor", "planner.diagnosis", "planner.cli.hosts",
    "planner.hardware.this_host",
    "planner.cli.compare", "planner.cli.curve", "planner.comparing", "planner.curves",
    "planner.cli.history", "planner.cli.inspect", "planner.cli.output", "planner.cli.verify",
    "planner.inspection", "planner.curve_result", "planner.comparison_result",
    "planner.report.comparison", "planner.report.curve", "planner.report.history",
    "planner.report.inspect", "planner.report.terminal", "planner.report.verification",
    "planner.verifying",
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


def floor_breaks(found: tuple[Import, ...]) -> list[str]:
    """Imports within planner that do not go down."""
    breaks = []
    for item in found:
        source, target = item.module.split("."), item.name.split(".")
        if target[0] != "planner" or len(source) == 1 or len(target) == 1:
            continue  # the public face: it names everything, and only its version is imported
        if source[1] == target[1]:
            continue
        unknown = [part for part in (source[1], target[1]) if part not in FLOORS]
        if unknown:
            breaks.append(f"{item.path}: {unknown[0]} has no floor")
            continue
        here, there = FLOORS[source[1]], FLOORS[target[1]]
        both_folders = all((PACKAGE / part).is_dir() for part in (source[1], target[1]))
        if there > here or (there == here and both_folders):
            breaks.append(f"{item.path} (floor {here}) imports {item.name} (floor {there})")
    return breaks


def owner_breaks(found: tuple[Import, ...]) -> list[str]:
    """Imports of torch, click, yaml and fvcore outside the place that owns them."""
    return [
        f"{item.path} imports {item.name}"
        for item in found
        if (owner := OWNERS.get(item.name.partition(".")[0])) and not item.path.startswith(owner)
    ]


def step_breaks(found: tuple[Import, ...]) -> list[str]:
    """Imports of the child's side by the parent's."""
    return [
        f"{item.path} imports {item.name}"
        for item in found
        if f"{item.name}.".startswith("planner.step.")
        and not item.module.startswith("planner.step")
        and not (item.late and (item.module, item.name) in LATE_IMPORTS_OF_STEP)
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


def test_imports_go_down(found: tuple[Import, ...]) -> None:
    assert floor_breaks(found) == []


def test_torch_click_yaml_and_fvcore_have_one_place_each(found: tuple[Import, ...]) -> None:
    assert owner_breaks(found) == []
    for owned in OWNERS:
        assert any(item.name.partition(".")[0] == owned for item in found), f"nobody uses {owned}"


def test_the_parent_does_not_import_the_childs_side(found: tuple[Import, ...]) -> None:
    assert step_breaks(found) == []


def test_no_cycles(found: tuple[Import, ...]) -> None:
    assert cycles(found) == []


def test_every_module_has_a_floor_and_every_floor_a_module() -> None:
    present = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    present |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert present == set(FLOORS)


def test_no_module_is_named_like_a_public_name() -> None:
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert not modules & set(planner.__all__)


@pytest.mark.parametrize(
    ("file", "line", "check"),
    [
        ("units.py", "from planner.results import Estimate", floor_breaks),
        ("units.py", "def f():\n    import planner.cli.root", floor_breaks),
        ("device/build.py", "from planner.memory import capacity", floor_breaks),
        ("device/build.py", "from ..memory.capacity import Capacity", floor_breaks),
        ("novel.py", "from planner.units import GIB", floor_breaks),
        ("pipeline.py", "import torch", owner_breaks),
        ("device/build.py", "def f():\n    from torch.cuda import device_count", owner_breaks),
        ("report/terminal.py", "import click", owner_breaks),
        ("hardware/specs.py", "import yaml", owner_breaks),
        ("step/loop.py", "from fvcore.nn import flop_count", owner_breaks),
        ("pipeline.py", "from planner.step import loop", step_breaks),
        ("device/payload.py", "from planner.step.transport import pack", step_breaks),
        ("errors.py", "from planner.units import GIB", cycles),
    ],
)
def test_a_break_would_be_seen(tmp_path: Path, file: str, line: str, check: object) -> None:
    assert callable(check)
    package = tmp_path / "planner"
    for name, text in (
        (file, line),
        ("units.py", "" if file != "errors.py" else "from planner.errors import UsageError"),
        ("memory/capacity.py", ""),
        ("step/loop.py", ""),
        ("step/transport.py", ""),
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


@pytest.mark.parametrize(
    "part", ["memory", "performance", "report", "estimation", "trace", "results"]
)
def test_whole_parts_load_no_torch(part: str) -> None:
    """Every module of the part, whatever imports it."""
    files = [PACKAGE / f"{part}.py", *sorted((PACKAGE / part).glob("*.py"))]
    modules = [
        ".".join(("planner", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in files
        if path.exists() and path.stem != "__init__"
    ]
    assert len(modules) == (1 if part in ("trace", "results") else len(files) - 2)
    assert not loaded_by(tuple(modules)) & {"torch", "numpy", "fvcore", "torchvision"}


def test_a_torch_in_the_parent_would_be_seen(tmp_path: Path) -> None:
    """A stand-in named torch, so that the proof costs nothing."""
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "careless.py").write_text("import planner.units\nimport torch\n")
    assert "torch" in loaded_by(("careless",), tmp_path)
