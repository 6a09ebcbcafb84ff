"""A sweep as a whole: killed and resumed, and with the same rows on clusters of this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.sweeps.case import SweepOutcome, SweepRow
from planner.sweeps.store import FILE, reading
from tests.integration.child_runs import WriteModel

pytestmark = pytest.mark.slow

ROOT = Path(planner.__file__).parents[1]
# Kernels of attention take buffers for each multiprocessor.
NET = """
import os, signal

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.projection = nn.Linear(384, 3 * 384)

    def forward(self, x):
        heads = self.projection(x).reshape(x.shape[0], -1, 3, 6, 64).permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(*heads)

def build_model():
    return Attention()

def build_batch(batch_size):
    return torch.randn(batch_size, 197, 384)

def training_step(model, batch):
    {in_step}
    return model(batch).mean()
"""
# Ends the process of its case, which is above the child that imports this.
KILLER = """
import os, signal
pid = os.getpid()
while "planner.questions.sweep_process" not in open(f"/proc/{pid}/cmdline").read():
    pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
os.kill(pid, signal.SIGKILL)
"""
# Of two compute capabilities; the last two have other numbers of multiprocessors.
CARDS = "t4,a10g,rtx3060"
# What is another in each run, or on each machine.
_OF_THE_RUN = ("run_s", "run_processor_s", "ended_at", "warnings", "assumptions")
_WAIT_S = 300.0


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "planner", "sweep", *words]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def figures(rows: tuple[SweepRow, ...]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.to_record().items() if name not in _OF_THE_RUN}
        for row in rows
    ]


def rows_in(folder: Path) -> int:
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True)) as connection,
    ):
        (count,) = connection.execute("SELECT count(*) FROM rows").fetchone()
        return int(count)
    return 0


def kept(folder: Path) -> tuple[SweepRow, ...]:
    with reading(folder) as store:
        return store.rows()


def processes_with(text: str) -> list[int]:
    """Living processes whose command or environment has the text."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if int(entry.name) != os.getpid() and text.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.fixture
def nets(write_model: WriteModel) -> tuple[str, str]:
    """A net that runs, and one that kills its process."""
    good = write_model(NET.format(in_step="pass"), "net.py")
    return good, write_model(NET.format(in_step="os.kill(os.getpid(), signal.SIGKILL)"), "bad.py")


def test_killed_twice_nothing_is_lost_or_double(nets: tuple[str, str], tmp_path: Path) -> None:
    good, bad = nets
    folder, mark = tmp_path / "kept", f"SWEEP_OF={tmp_path}"
    words = [good, bad, "--gpu", CARDS, "--batch", "32,16", "--out", str(folder), "--jobs", "1"]
    for most in (3, 6):
        sweep = subprocess.Popen(
            command(*words), env={**environment(), "SWEEP_OF": str(tmp_path)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end_s = time.monotonic() + _WAIT_S
        while rows_in(folder) < most and time.monotonic() < end_s:
            time.sleep(0.1)
        assert sweep.poll() is None
        sweep.send_signal(signal.SIGKILL if most == 3 else signal.SIGTERM)
        sweep.wait(timeout=60)
        while processes_with(mark) and time.monotonic() < end_s:  # they see that it is gone
            time.sleep(0.1)
        assert not processes_with(mark)
    before = kept(folder)
    assert 6 <= len(before) < 12
    assert len(before) % 3 == 0  # the cards of a step are kept together
    done = subprocess.run(command(*words, "--json"), env=environment(), capture_output=True)
    assert done.returncode == 1, done.stderr  # bad.py failed
    rows = kept(folder)
    assert set(before) <= set(rows)  # not one was run again
    assert len({row.key for row in rows}) == len(rows) == 12
    assert [row["key"] for row in json.loads(done.stdout)["rows"]] == [row.key for row in rows]
    assert {row.outcome for row in rows if row.target == good} == {SweepOutcome.OK}
    failed = [row for row in rows if row.target == bad]
    assert {row.outcome for row in failed} == {SweepOutcome.FAILED}
    assert all("SIGKILL" in (row.reason or "") for row in failed)
    single = planner.estimate(good, gpu=CARDS, batch_size=32, max_batch=False)
    assert len({entry.peak_reserved_bytes for entry in single.gpus[1:]}) == 2  # else no test
    for entry, row in zip(
        single.gpus, [row for row in rows if row.batch_size == 32][:3], strict=True
    ):
        assert row.gpu == entry.requested
        assert row.peak_reserved_bytes == entry.peak_reserved_bytes
        assert row.peak_allocated_bytes == entry.peak_allocated_bytes
        assert row.device_total_bytes == entry.device_total_bytes


def test_a_worker_that_is_killed_fails_its_case_alone(
    write_model: WriteModel, tmp_path: Path
) -> None:
    good = write_model(NET.format(in_step="pass"), "net.py")
    killer = write_model(KILLER + NET.format(in_step="pass"), "kill.py")
    found = planner.sweep([killer, good], gpu="t4", out=tmp_path / "kept", confirm=True)
    assert [row.outcome for row in found.rows] == [SweepOutcome.FAILED, SweepOutcome.OK]
    assert "killed by SIGKILL" in (found.rows[0].reason or "")
    single = planner.estimate(good, gpu="t4").gpus[0]
    assert found.rows[1].max_batch_confirmed
    assert found.rows[1].max_batch_size == single.max_batch_size  # 8 % less than by replays alone


def _expected(nets: tuple[str, str], folder: Path) -> list[dict[str, Any]]:
    return figures(planner.sweep(list(nets), gpu=CARDS, out=folder / "local").rows)


@pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="distributed is not installed"
)
def test_the_same_rows_by_dask(nets: tuple[str, str], tmp_path: Path) -> None:
    with _dask_cluster(tmp_path) as address:
        found = planner.sweep(list(nets), gpu=CARDS, executor=f"dask://{address}")
    assert figures(found.rows) == _expected(nets, tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_the_same_rows_by_ray(nets: tuple[str, str], tmp_path: Path) -> None:
    found = planner.sweep(list(nets), gpu=CARDS, executor="ray://local")
    assert figures(found.rows) == _expected(nets, tmp_path)


@pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None, reason="submitit is not installed"
)
def test_the_same_rows_by_jobs_of_submitit(
    nets: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Slurm is here: submitit's own local jobs stand in for it."""
    import submitit

    from planner.questions import sweep as sweeping
    from planner.sweeps.executors import submitit_executor

    @contextmanager
    def by_submitit(*_: Any, **__: Any) -> Iterator[Any]:
        executor = submitit.AutoExecutor(folder=tmp_path / "slurm", cluster="local")
        executor.update_parameters(timeout_min=10)
        with submitit_executor(executor) as wrapped:
            yield wrapped

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "executor_of", by_submitit)
        found = planner.sweep(list(nets), gpu=CARDS)
    assert figures(found.rows) == _expected(nets, tmp_path)


def _is_whole(file: Path) -> bool:
    with suppress(OSError, ValueError):
        return "address" in json.loads(file.read_text())
    return False


@contextmanager
def _dask_cluster(folder: Path) -> Iterator[str]:
    """A scheduler and two workers, as processes of their own; yields HOST:PORT."""
    file = folder / "scheduler.json"
    common = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    common += ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nworkers", "1"]
    worker += ["--nthreads", "1", "--no-dashboard", "--scheduler-file", str(file), "--no-nanny"]
    started = []
    with open(folder / "dask.log", "wb") as log:
        try:
            for line in ([*common, "--scheduler-file", str(file)], worker, worker):
                started.append(
                    subprocess.Popen(line, env=environment(), stdout=log, stderr=log, cwd=folder)
                )
                end_s = time.monotonic() + 60
                while not _is_whole(file) and time.monotonic() < end_s:
                    time.sleep(0.1)
            yield str(json.loads(file.read_text())["address"]).removeprefix("tcp://")
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                process.wait(timeout=60)
