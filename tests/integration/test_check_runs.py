"""`planner check`, `planner diff --rev` and the fixture `vram` as whole commands on a small net."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import planner

pytestmark = pytest.mark.slow
ROOT = Path(planner.__file__).parents[1]
NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(64, 256)
        self.down = nn.Linear(256, 64)

    def forward(self, x):
        h = torch.relu(self.up(x))
        return self.down(h)


def build_model():
    return Net()


def build_batch(batch_size):
    return torch.randn(batch_size, 64)


def training_step(model, batch):
    return model(batch).square().mean()
"""
CHECKS = """\
[defaults]
gpu = "t4"

[[check]]
name = "net"
target = "net.py"
batch = 16384
no-max-batch = true
max-growth = "5 %"

[[check]]
name = "none"
target = "none.py"
"""


@pytest.fixture
def project(tmp_path: Path, device_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a net and its checks, in one commit."""
    monkeypatch.setenv("VRAM_PLANNER_CACHE", str(device_cache))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    (folder / "planner.toml").write_text(CHECKS)
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "planner", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_a_project_is_checked_grows_and_is_compared_with_its_commit(
    project: Path, tmp_path: Path
) -> None:
    first = run(project, "check", "--update", "-q")
    assert first.returncode == 1, first.stderr  # one target is not there, and the rest is done
    assert "none: there is no file none.py" in first.stdout
    lock = (project / "planner.lock").read_bytes()
    assert list(json.loads(lock)["checks"]) == ["net"]
    assert str(tmp_path).encode() not in lock

    words = ("check", "-q", "--only", "net", "--update")
    exports = ("--markdown", "a.md", "--junit", "a.xml", "--sarif", "a.sarif")
    same = run(project, *words, *exports)
    assert same.returncode == 0, same.stderr
    assert (project / "planner.lock").read_bytes() == lock
    again = run(
        project / ".git", "check", "-q", "--only", "net", "--update", *exports, "../planner.toml"
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout == same.stdout
    for name in ("a.md", "a.xml", "a.sarif"):
        assert (project / ".git" / name).read_bytes() == (project / name).read_bytes()

    # the activation of a line is kept twice: 16384 x 256 floats are 16 MiB
    grown = NET.replace("h = torch.relu(self.up(x))", "h = torch.relu(self.up(x)).exp()")
    (project / "net.py").write_text(f"# a line more\n{grown}")
    over = run(project, "check", "-q", "--only", "net", "--json", "--sarif", "b.sarif")
    assert over.returncode == 3, over.stderr
    (on_card,) = json.loads(over.stdout)["checks"][0]["cards"]
    parts = {one["part"]: one for one in reversed(on_card["changed_parts"])}
    assert parts["source line"]["place"] == "net.py:13"
    assert parts["source line"]["name"] == "net.py: h = torch.relu(self.up(x)).exp()"
    assert parts["source line"]["grown_bytes"] == 16 << 20
    (finding,) = json.loads((project / "b.sarif").read_text())["runs"][0]["results"]
    place = finding["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("net.py", 13)

    diff = run(
        project,
        "diff",
        "net.py",
        "--batch",
        "16384",
        "--no-max-batch",
        "--rev",
        "main",
        "-q",
        "--json",
    )
    assert diff.returncode == 0, diff.stderr
    (compared,) = json.loads(diff.stdout)["cards"]
    assert compared["grown_bytes"] == on_card["grown_bytes"]
    assert compared["after"] == on_card["figures"]
    changed = {one["part"]: one["grown_bytes"] for one in reversed(compared["changed_parts"])}
    assert changed["source line"] == 16 << 20


def test_ctrl_c_leaves_nothing_behind(project: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = ["diff", "net.py", "--gpu", "t4", "--rev", "main"]
    with subprocess.Popen(
        [sys.executable, "-m", "planner", *words],
        cwd=project,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until_s = time.monotonic() + 120
        while not list(temporary.glob("planner-revision-*/tree/net.py")):
            assert time.monotonic() < until_s
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert not list(temporary.iterdir())
    listed = ["git", "-C", str(project), "worktree", "list"]
    assert len(subprocess.run(listed, check=True, capture_output=True).stdout.splitlines()) == 1


def test_estimates_side_by_side_end_with_the_command(project: Path) -> None:
    tables = [
        f'[[check]]\nname = "{batch}"\ntarget = "net.py"\ngpu = "t4"\nbatch = {batch}\n'
        for batch in (8, 16)
    ]
    (project / "planner.toml").write_text("".join(tables))
    with subprocess.Popen(
        [sys.executable, "-m", "planner", "check", "--jobs", "2", "--update"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        begun: set[str] = set()
        while len(begun) < 2:
            line = process.stderr.readline()
            assert line, "it ended by itself"
            begun.add(line.partition(":")[0])
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (143, "")
    assert not (project / "planner.lock").exists()


TEST = """\
import torch
from torch import nn


def build_model():
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64))


def test_fits(vram):
    found = vram.assert_fits(build_model, batch=64, gpu="a10g", inputs=(64,))
    assert found.fits()


def test_is_small(vram):
    vram.assert_fits(build_model, batch=64, gpu="a10g", inputs=(64,), max_peak="1 MiB")
"""


def test_the_fixture_takes_a_function_of_the_test_file(project: Path) -> None:
    (project / "test_memory.py").write_text(TEST)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "test_memory.py"),
            *("-p", "planner.cli.plugins.pytest_plugin", "-p", "no:cacheprovider"),
        ],
        cwd=project,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "above max-peak 1 MiB" in done.stdout
    assert "largest tensors at the peak" in done.stdout
