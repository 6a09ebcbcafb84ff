"""What a process reads is reported: each in a process of its own, because it cannot be undone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from planner.wire.reads import Reads

ROOT = Path(__file__).parents[4]
_BEGIN = f"""
import json, os, sys
sys.path.insert(0, {str(ROOT)!r})
from planner.worker.reads import recorder
recorder.begin()
recorder.taken()
"""
_END = """
import msgspec
print(msgspec.json.encode(recorder.taken()).decode())
"""


def reads(code: str, folder: Path, **variables: str) -> Reads:
    """Returns what `code` reads in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{_BEGIN}{code}{_END}"],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return msgspec.convert(json.loads(done.stdout.splitlines()[-1]), Reads)


@pytest.mark.parametrize(
    "code",
    [
        'open("config.json").read()',
        'os.close(os.open("config.json", os.O_RDONLY))',
        'import pathlib; pathlib.Path("config.json").read_text()',
        'open("config.json", "r+").close()',
        "import ctypes\ntry: ctypes.CDLL('./config.json')\nexcept OSError: pass\n",
        'open("config.json", "a+").close()',
    ],
)
def test_a_file_that_is_opened(code: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert str(tmp_path / "config.json") in reads(code, tmp_path).files


def test_a_file_that_is_missing_and_one_of_its_own(tmp_path: Path) -> None:
    code = """
try:
    open("missing.json")
except FileNotFoundError:
    pass
with open("own.txt", "w") as file:
    file.write("x")
open("own.txt").read()
"""
    found = reads(code, tmp_path)
    assert str(tmp_path / "missing.json") in found.files
    assert str(tmp_path / "own.txt") not in found.files


@pytest.mark.parametrize(
    "code",
    [
        'os.path.exists("x.json")',
        'os.path.isfile("x.json")',
        'os.stat(".") and os.access("x.json", os.R_OK)',
        'import pathlib; pathlib.Path("x.json").exists()',
    ],
)
def test_a_path_that_is_looked_at(code: str, tmp_path: Path) -> None:
    assert str(tmp_path / "x.json") in reads(code, tmp_path).looked_at


@pytest.mark.parametrize(
    "code",
    [
        "os.listdir('data')",
        "list(os.scandir('data'))",
        "list(os.walk('data'))",
        "import glob; glob.glob('data/*')",
        "import pathlib; list(pathlib.Path('data').iterdir())",
    ],
)
def test_a_folder_that_is_listed(code: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    found = reads(code, tmp_path)
    assert str(tmp_path / "data") in found.folders
    assert str(tmp_path) not in found.folders


def test_modules_and_those_that_are_missing(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "__init__.py").write_text("")
    (pack / "here.py").write_text("")
    code = """
import importlib.util
sys.path.insert(0, os.getcwd())
import pack.here
for name in ("pack.gone", "not_there_at_all"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        pass
assert importlib.util.find_spec("nor_this") is None
"""
    found = reads(code, tmp_path)
    assert {str(pack / "__init__.py"), str(pack / "here.py")} <= set(found.modules)
    assert {"pack", "not_there_at_all", "nor_this"} <= set(found.top_level)
    assert dict(found.in_packages)[str(pack)] == ("gone", "here")
    assert found.search_path[0] == str(tmp_path)
    assert found.folders == (), "what the import looks for is no listing"


@pytest.mark.parametrize(
    "code",
    [
        'os.environ.get("WIDTH")',
        'os.getenv("WIDTH")',
        '"WIDTH" in os.environ',
        'os.environ["WIDTH"]',
        'os.environb.get(b"WIDTH")',
    ],
)
def test_a_variable(code: str, tmp_path: Path) -> None:
    found = reads(code, tmp_path, WIDTH="1", OTHER="2")
    assert "WIDTH" in found.variables
    assert "OTHER" not in found.variables
    assert not found.all_variables


@pytest.mark.parametrize(
    "code",
    ["dict(os.environ)", "os.environ.copy()", "[*os.environ]", "list(os.environ.items())"],
)
def test_the_whole_environment(code: str, tmp_path: Path) -> None:
    assert reads(code, tmp_path).all_variables


def test_a_class_that_reads_a_variable_while_it_is_listed(tmp_path: Path) -> None:
    code = """
class Layers:
    def __iter__(self):
        return iter(range(int(os.environ["WIDTH"])))
list(Layers())
"""
    assert "WIDTH" in reads(code, tmp_path, WIDTH="2").variables


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import subprocess; subprocess.run(['true'])", "starts a program (true)"),
        ("os.system('true')", "starts a program"),
        ("os.fork() or os._exit(0)", "starts a process"),
        (
            "import socket; socket.getaddrinfo('127.0.0.1', 80)",
            "looks up a host",
        ),
        ("import sqlite3; sqlite3.connect(':memory:')", "reads a database"),
        ("import subprocess; subprocess.run(['uname'])", None),
        ("1", None),
    ],
)
def test_what_cannot_be_known(code: str, reason: str | None, tmp_path: Path) -> None:
    assert reads(code, tmp_path).unkept == reason


def test_only_what_is_new_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("")
    (tmp_path / "b.json").write_text("")
    found = reads('open("a.json"); recorder.taken(); open("b.json")', tmp_path)
    assert [Path(name).name for name in found.files] == ["b.json"]


def test_os_works_as_before(tmp_path: Path) -> None:
    code = """
import shutil, tempfile
os.makedirs("a/b")
assert os.stat in os.supports_follow_symlinks and os.stat in os.supports_fd
handle = os.open("a", os.O_RDONLY)
os.stat("b", dir_fd=handle); os.stat(handle); os.lstat(b"a"); os.stat("a", follow_symlinks=False)
shutil.rmtree("a")
with tempfile.NamedTemporaryFile() as file:
    os.path.samefile(file.name, file.name)
os.environ["NEW"] = "1"; assert os.getenv("NEW") == "1"; del os.environ["NEW"]
"""
    reads(code, tmp_path)
