"""A repeated command prints its kept report; what the first one opened is known to the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from planner.process.kept.sources import PACKAGE
from planner.process.kept.store import Store, answers_folder
from tests.integration.child_runs import WriteModel

pytestmark = pytest.mark.slow

MODEL = """
    import width

    def build_model():
        return nn.Sequential(nn.Linear(256, width.WIDTH), nn.Linear(width.WIDTH, 256))

    def build_batch(batch_size):
        return torch.randn(batch_size, 256), None
"""
# Runs the command line of its arguments, and writes each file that it opens to the file AUDIT.
AUDITED = """
import os, sys
opened = os.open(os.environ["AUDIT"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def note(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, bytes)):
        os.write(opened, os.fsencode(arguments[0]) + b"\\n")
sys.addaudithook(note)
from planner.__main__ import main
main()
"""
# What this process is and may do, which no figure of a named card depends on.
_OF_THE_SYSTEM = ("/proc", "/sys/fs/cgroup", "/dev/null")


class Commands:
    """Runs one command in a folder of its own."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "AUDIT": str(cache / "audit"),
            "VRAM_PLANNER_DATA": str(cache),
            "PYTHONPATH": str(PACKAGE.parent),
        }
        del self.environment["VRAM_PLANNER_NO_CACHE"]
        self.audit = cache / "audit"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        self.audit.unlink(missing_ok=True)
        command = [sys.executable, "-c", AUDITED, "estimate", "net.py", *words]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def opened(self) -> set[str]:
        names = self.audit.read_text().splitlines()
        return {os.path.normpath(self.folder / name) for name in names if name}


@pytest.fixture
def commands(write_model: WriteModel, tmp_path: Path) -> Commands:
    work = tmp_path / "work"
    write_model(MODEL, "work/net.py")
    (work / "width.py").write_text("WIDTH = 128\n")
    (tmp_path / "own").mkdir()
    return Commands(work, tmp_path / "own")


def test_a_repeat_prints_the_same_and_starts_nothing(commands: Commands) -> None:
    words = ("--gpu", "t4", "--batch", "4", "--no-max-batch")
    first = commands.run(*words)
    assert first.returncode == 0, first.stderr
    assert "torch" in first.stderr
    again = commands.run(*words)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert again.stderr == ""

    (commands.folder / "width.py").write_text("WIDTH = 4096\n")
    changed = commands.run(*words, "--json")
    assert json.loads(changed.stdout)["gpus"][0]["fits"]
    assert commands.run(*words).stdout != first.stdout

    (commands.folder / "planner.toml").write_text("[defaults]\nbatch = 8\nprecision = 'bf16'\n")
    with_defaults = commands.run(*words)
    assert "planner.toml" in with_defaults.stdout


def test_one_that_does_not_fit_keeps_its_exit_code(commands: Commands) -> None:
    words = ("--gpu", "t4", "--batch", "40000000", "--no-max-batch", "--json")
    first, again = commands.run(*words), commands.run(*words)
    assert (first.returncode, again.returncode) == (3, 3), first.stderr
    assert again.stdout == first.stdout


def test_all_that_the_command_opens_is_known(commands: Commands) -> None:
    """A file that is opened and belongs to nothing known could change without being seen."""
    assert commands.run("--gpu", "t4,a100").returncode == 0
    opened = commands.opened()
    assert str(commands.folder / "net.py") in opened  # looked at before anything is started
    beside = PACKAGE.parent
    ours = (PACKAGE, beside / "hardware_db", beside / "models" / "catalog", answers_folder().parent)
    installed = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    known = (*map(str, ours), *installed, *_OF_THE_SYSTEM, str(commands.folder))
    searched = {*sys.path, str(beside)}  # the key of a report names them
    assert not {name for name in opened - searched if not name.startswith(known) and is_left(name)}


def is_left(name: str) -> bool:
    """Returns whether it is no draft of the command itself, which has removed it."""
    temporary = tempfile.gettempdir()
    return name != temporary and (os.path.dirname(name) != temporary or os.path.exists(name))


def test_the_kept_report_says_what_it_depends_on(commands: Commands) -> None:
    assert commands.run("--gpu", "t4", "--no-max-batch").returncode == 0
    store = Store(folder=answers_folder())
    found = [json.loads(store.read(f"reports/{name}") or b"{}") for name in store.names("reports")]
    (kept,) = [one for one in found if str(commands.folder / "planner.toml") in one["files"]]
    modules = [place for reads in kept["reads"].values() for place in reads["modules"]]
    assert str(commands.folder / "width.py") in modules
    assert str(commands.audit.parent / "history.sqlite") in kept["files"]
    assert any(name.endswith("libtorch_cuda.so") for name in kept["files"])
