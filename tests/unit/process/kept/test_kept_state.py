"""The state of what an answer depends on: each change of it is seen, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from planner.process.kept.state import ChangedError, Machine, now_ns
from planner.wire.reads import Reads

ENVIRONMENT = {"WIDTH": "8", "SHLVL": "1"}


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder with a model file, a package, data, and an installed package."""

    root: Path

    @property
    def installed(self) -> Path:
        return self.root / "lib" / "site-packages"

    def reads(self) -> Reads:
        root, installed = str(self.root), str(self.installed)
        return Reads(
            modules=(f"{root}/net.py", f"{installed}/lib/__init__.py"),
            files=(f"{root}/config.json", f"{root}/missing.json"),
            looked_at=(f"{root}/weights.bin", f"{root}/absent"),
            folders=(f"{root}/data",),
            search_path=(root, f"{root}/later", installed),
            top_level=("helper", "lib", "net"),
            distributions=(installed,),
            in_packages=((f"{root}/pack", ("fast",)),),
            variables=("WIDTH", "DEPTH"),
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(root=tmp_path)
    for name, text in {
        "net.py": "import helper",
        "later/helper.py": "WIDTH = 1",
        "pack/__init__.py": "",
        "config.json": '{"width": 1}',
        "weights.bin": "0",
        "data/a.png": "",
        "lib/site-packages/lib/__init__.py": "",
        "lib/site-packages/lib-1.dist-info/METADATA": "",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return made


def state(project: Project, **environment: str) -> str:
    return Machine(environment={**ENVIRONMENT, **environment}).state(project.reads())


def with_same_stat(file: Path, text: str) -> None:
    """Edits a file as no one could see by its size and time."""
    before = file.stat()
    assert len(text) == before.st_size
    file.write_text(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "module, same size and time": lambda root: with_same_stat(root / "net.py", "import helpes"),
    "module removed": lambda root: (root / "net.py").unlink(),
    "file, same size and time": lambda root: with_same_stat(root / "config.json", '{"width": 2}'),
    "file that was missing": lambda root: (root / "missing.json").write_text(""),
    "path that was absent": lambda root: (root / "absent").mkdir(),
    "size of a path": lambda root: (root / "weights.bin").write_text("00"),
    "time of a path": lambda root: os.utime(root / "weights.bin", ns=(1, 1)),
    "name in a listed folder": lambda root: (root / "data" / "b.png").write_text(""),
    "module earlier on the path": lambda root: (root / "helper.py").write_text(""),
    "package earlier on the path": lambda root: (
        (root / "lib" / "helper").mkdir() or (root / "helper").mkdir()
    ),
    "module that a package lacked": lambda root: (root / "pack" / "fast.py").write_text(""),
    "time of an installed module": lambda root: os.utime(
        root / "lib" / "site-packages" / "lib" / "__init__.py", ns=(1, 1)
    ),
    "another distribution": lambda root: (
        root / "lib" / "site-packages" / "more-1.dist-info"
    ).mkdir(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_each_change_is_seen(project: Project, change: Callable[[Path], object]) -> None:
    before = state(project)
    assert state(project) == before
    change(project.root)
    assert state(project) != before


@pytest.mark.parametrize("name", ["WIDTH", "DEPTH"])
def test_a_variable_that_was_read_is_seen(project: Project, name: str) -> None:
    assert state(project, **{name: "9"}) != state(project)


def test_the_whole_environment_counts_where_it_was_read_as_a_whole(project: Project) -> None:
    reads = replace(project.reads(), all_variables=True)

    def whole(**more: str) -> str:
        return Machine(environment={**ENVIRONMENT, **more}).state(reads)

    assert whole(OTHER="1") != whole()
    assert whole(SHLVL="2") == whole()


def test_what_was_not_read_does_not_count(project: Project) -> None:
    before = state(project)
    (project.root / "results.json").write_text("{}")
    (project.root / "other.py").write_text("")
    os.utime(project.root / "net.py", ns=(1, 1))
    assert state(project, OTHER="1") == before


def test_a_large_file_counts_by_its_stat(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.process.kept.state._HASHED_BYTES", 4)
    before = state(project)
    assert state(project) == before
    os.utime(project.root / "config.json", ns=(1, 1))
    assert state(project) != before


def test_a_file_that_changes_during_the_run_is_refused(project: Project) -> None:
    time.sleep(0.02)  # the clock of the kernel's files moves in steps of some milliseconds
    since_ns = now_ns()
    machine = Machine(environment=ENVIRONMENT, since_ns=since_ns)
    assert machine.state(project.reads()) == state(project)
    time.sleep(0.02)
    (project.root / "config.json").write_text('{"width": 3}')
    with pytest.raises(ChangedError):
        Machine(environment=ENVIRONMENT, since_ns=since_ns).state(project.reads())
