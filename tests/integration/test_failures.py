"""What goes wrong in the user's code is told in words, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import planner
from planner.config.parse import step_config
from planner.config.target import parse_target
from planner.emulator.build import emulated_device
from planner.emulator.torch_install import find_torch
from planner.errors import ChildError, ChildTimeoutError, ModelError, PlannerError
from planner.estimation.context import ProfileFactory
from planner.hardware.specs import EmulationProfile
from planner.machine.processes import living_processes
from planner.memory.budget import memory_budgets
from planner.process.client import Runner
from tests.integration.child_runs import WriteModel

pytestmark = pytest.mark.slow

MODEL = """
import ctypes
import os
import signal
import subprocess
import sys
import time

{at_import}

def build_model():
    return nn.Linear(64, 64)

def build_batch(batch_size):
    return torch.randn(batch_size, 64)

def training_step(model, batch):
    loss = model(batch).mean()
    {in_step}
    return loss
"""


def model(write_model: WriteModel, in_step: str = "pass", at_import: str = "") -> str:
    return write_model(MODEL.format(in_step=in_step, at_import=at_import))


def run(path: str, **options: object) -> planner.Estimate:
    return planner.estimate(path, **{"gpu": "a100", "max_batch": False, "batch_size": 4, **options})


@contextmanager
def loaded_runner(path: str, *gpus: str) -> Iterator[tuple[Runner, list[EmulationProfile]]]:
    """A child that has loaded the file, and the profiles of the cards."""
    torch = find_torch()
    cards = ProfileFactory(torch=torch, device=emulated_device(torch))
    budgets = memory_budgets(gpus, hardware_db=None, gpu_memory=None, reserve=0)
    profiles = [cards.unlimited(budget) for budget in budgets]
    with Runner(
        parse_target(path), device=cards.device, profile=profiles[0], timeout_s=60
    ) as runner:
        runner.wait_loaded()
        yield runner, profiles


def run_impatiently(path: str, *gpus: str) -> None:
    """Runs on all cards at once; loading may take its time, a run may take two seconds."""
    with loaded_runner(path, *gpus) as (runner, profiles):
        runner._child._timeout_s = 2.0
        with ThreadPoolExecutor(max_workers=len(gpus)) as pool:
            runs = [pool.submit(runner.run, p, step_config({"batch_size": 4})) for p in profiles]
        errors = [run.exception() for run in runs]
        assert errors[0] is not None
        assert [str(error) for error in errors] == [str(errors[0])] * len(errors)
        raise errors[0]


def descendants() -> list[int]:
    """Living processes below this one."""
    entries = living_processes()
    family = {os.getpid()}
    for _ in entries:
        family |= {entry.pid for entry in entries if entry.parent in family}
    return sorted(family - {os.getpid()})


@pytest.mark.parametrize(
    ("in_step", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL; the usual cause is"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV; native code"),
        ("ctypes.CDLL(None).abort()", "killed by SIGABRT; native code"),
        ("os._exit(7)", "left the process with exit code 7"),
    ],
    ids=["SIGKILL", "SIGSEGV", "SIGABRT", "exit"],
)
def test_a_run_that_dies(write_model: WriteModel, in_step: str, said: str) -> None:
    with pytest.raises(ChildError, match="ended before it had a result") as caught:
        run(model(write_model, in_step))
    assert said in str(caught.value)
    assert "batch 4" in str(caught.value)
    assert descendants() == []


@pytest.mark.parametrize(
    ("at_import", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("os._exit(0)", "exit code 0"),
    ],
    ids=["SIGSEGV", "exit"],
)
def test_a_file_that_dies_while_it_is_imported(
    write_model: WriteModel, at_import: str, said: str
) -> None:
    with pytest.raises(ChildError, match="while importing torch and the model's code") as caught:
        run(model(write_model, at_import=at_import))
    assert said in str(caught.value)
    assert descendants() == []


def test_sys_exit_and_deep_recursion_are_errors_of_the_model(write_model: WriteModel) -> None:
    with pytest.raises(ModelError, match="SystemExit: 3") as caught:
        run(model(write_model, "sys.exit(3)"))
    assert "user_model.py" in caught.value.frames
    with pytest.raises(ModelError, match="RecursionError"):
        run(model(write_model, "recurse = lambda n: recurse(n + 1); recurse(0)"))


def test_the_text_of_an_error_is_cut_and_printable(write_model: WriteModel) -> None:
    with pytest.raises(ModelError) as caught:
        run(model(write_model, "raise ValueError('\\udcff' + 'x' * 10_000_000)"))
    assert len(str(caught.value)) < 5000
    assert str(caught.value).encode()  # no half of a surrogate pair
    assert "10000001 characters" in str(caught.value)


def test_a_crash_after_the_result_is_a_warning(write_model: WriteModel) -> None:
    path = write_model(
        MODEL.format(
            in_step="sys.stdout = Bomb()",
            at_import="class Bomb:\n    def flush(self): os.kill(os.getpid(), signal.SIGABRT)",
        )
    )
    estimate = run(path)
    assert estimate.gpus[0].peak_allocated_bytes > 0
    assert list(estimate.warnings) == ["a run ended with SIGABRT after it had delivered its result"]


@pytest.mark.parametrize(
    "in_step",
    ["while True: pass", "ctypes.CDLL(None).sleep(1000)"],
    ids=["python", "c"],
)
def test_a_step_that_never_ends_is_told_with_its_place(
    write_model: WriteModel, in_step: str
) -> None:
    path = model(write_model, in_step)
    lines = Path(path).read_text().splitlines()
    place = f"line {lines.index('    ' + in_step) + 1} in training_step"
    with pytest.raises(ChildTimeoutError, match="running the step with batch 4") as caught:
        run_impatiently(path, "a100")
    assert f'user_model.py", {place}' in str(caught.value)
    assert "planner/worker" not in str(caught.value)
    assert "--timeout" in str(caught.value)
    assert descendants() == []


def test_a_backward_that_never_ends_in_autograds_own_thread(write_model: WriteModel) -> None:
    path = write_model(
        """
        import time

        class Stuck(torch.autograd.Function):
            @staticmethod
            def forward(context, x):
                return x.clone()

            @staticmethod
            def backward(context, gradient):
                while True:
                    time.sleep(0.01)

        def build_model():
            return nn.Linear(64, 64)

        def build_batch(batch_size):
            return torch.randn(batch_size, 64)

        def training_step(model, batch):
            return Stuck.apply(model(batch)).mean()
        """
    )
    with pytest.raises(ChildTimeoutError) as caught:
        run_impatiently(path, "a100")
    assert "line 14 in backward" in str(caught.value)


def test_an_import_that_never_ends(write_model: WriteModel) -> None:
    path = model(write_model, at_import="time.sleep(1000)")
    for timeout_s in (15.0, 60.0):  # where it is busy, importing torch alone takes that
        with pytest.raises(ChildTimeoutError, match="importing torch and the model's code") as at:
            run(path, timeout_s=timeout_s)
        assert descendants() == []
        if "user_model.py" in str(at.value):
            break
    else:
        pytest.fail(f"the line of the model is not named: {at.value}")


def test_the_first_reason_is_told_when_one_of_two_cards_hangs(write_model: WriteModel) -> None:
    hang = "T4 = 'T4' in torch.cuda.get_device_name()\n    while T4: time.sleep(0.01)"
    hang += "\n    while True: time.sleep(0.01)"
    with pytest.raises(ChildTimeoutError):
        run_impatiently(model(write_model, hang), "a100", "t4")
    assert descendants() == []


def test_what_a_run_leaves_behind_ends_with_it(write_model: WriteModel, tmp_path: Path) -> None:
    """Children that keep the pipes open, and daemons in sessions of their own."""
    path = model(
        write_model,
        at_import="""
def leave(name):
    if os.fork() == 0:
        os.setsid()
        open(os.path.join(os.path.dirname(__file__), name), "w").write(str(os.getpid()))
        time.sleep(1000)
        os._exit(0)

leave("imported")
""",
        in_step="leave('stepped'); subprocess.Popen(['sleep', '1000'])",
    )
    began = time.monotonic()
    run(path)
    assert time.monotonic() - began < 60
    left = [int((tmp_path / name).read_text()) for name in ("imported", "stepped")]
    assert not {entry.pid for entry in living_processes()} & set(left)
    assert descendants() == []


def test_what_a_run_leaves_behind_ends_before_the_next(
    write_model: WriteModel, tmp_path: Path
) -> None:
    mark = tmp_path / "left"
    stray = "subprocess.Popen(['sleep', '1000'], start_new_session=True).pid"
    path = model(write_model, f"open({str(mark)!r}, 'a').write(str({stray}) + '\\n')")
    with loaded_runner(path, "a100") as (runner, (profile,)):
        runner.run(profile, step_config({"batch_size": 4}))
        left = {int(line) for line in mark.read_text().split()}
        assert left  # a step or more started one each
        assert not {entry.pid for entry in living_processes()} & left
        assert descendants()  # the child is there still
    assert descendants() == []


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "GeneratorExit", "Own"])
def test_exceptions_that_no_except_exception_catches(write_model: WriteModel, kind: str) -> None:
    own = "class Own(BaseException): pass"
    with pytest.raises(ModelError, match=rf"step 1, batch 4\): {kind}: why") as caught:
        run(model(write_model, f"raise {kind}('why')", own))
    assert "in training_step" in caught.value.frames
    with pytest.raises(ModelError, match=f"while it was imported: {kind}: why"):
        run(model(write_model, at_import=f"{own}\nraise {kind}('why')"))


def test_a_model_that_closes_every_descriptor(write_model: WriteModel) -> None:
    with pytest.raises(ChildError, match="closed or broke a descriptor that it did not open"):
        run(model(write_model, "os.closerange(3, 4096)"))
    with pytest.raises(ChildError, match="closed or broke a descriptor that it did not open"):
        run(model(write_model, at_import="os.closerange(3, 4096)"))
    assert descendants() == []


FORGED = """
import json
answer = json.dumps({"kind": "Loaded", "body": {
    "versions": {"torch": "9.9", "cuda": "1", "python": "0"}, "single_run": None, "failure": None
}}).encode() + b"\\n"
for descriptor in range(3, 1024):
    try:
        os.write(descriptor, answer)
    except OSError:
        pass
"""


def test_an_answer_that_the_models_code_made(write_model: WriteModel) -> None:
    with pytest.raises(ChildError, match="it did not open"):
        run(model(write_model, at_import=FORGED), timeout_s=60.0)
    assert descendants() == []


LIVE = """
import os, signal, sys
sys.path.insert(0, {root!r})
import torch, planner

def build_batch(batch_size):
    os.kill(int(os.environ["PARENT"]), signal.SIGKILL)

os.environ["PARENT"] = str(os.getpid())
planner.estimate(torch.nn.Linear(4, 4), gpu="a100", build_batch=build_batch)
"""


def test_a_killed_caller_with_a_live_model_leaves_no_file(tmp_path: Path) -> None:
    script = LIVE.format(root=str(Path(planner.__file__).parents[1]))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, timeout=120
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []


def test_ignored_children_do_not_confuse_the_server(write_model: WriteModel) -> None:
    path = model(write_model, at_import="signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    assert run(path).gpus[0].peak_allocated_bytes > 0


def test_nothing_stays_open_or_behind(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    path = model(write_model)
    run(path)
    before = sorted(os.listdir("/proc/self/fd"))
    files = sorted(tmp_path.rglob("*"))
    run(path)
    with pytest.raises(PlannerError):
        run(model(write_model, "raise ValueError('no')"))
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert sorted(tmp_path.rglob("*")) == files
    assert list(folder.iterdir()) == []
    assert descendants() == []


PARENT = """
import sys
sys.path.insert(0, {root!r})
import planner
planner.estimate(sys.argv[1], gpu=["a100", "t4"], batch_size=4, timeout_s=100.0)
"""


@pytest.mark.parametrize("where", ["import", "step"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_parent_ends_all(
    write_model: WriteModel, tmp_path: Path, number: signal.Signals, where: str
) -> None:
    mark = tmp_path / "sessions"
    hang = f"open({str(mark)!r}, 'a').write(str(os.getsid(0)) + '\\n'); "
    hang += "subprocess.Popen(['sleep', '1000'], start_new_session=True); time.sleep(1000)"
    path = model(write_model, **{"at_import" if where == "import" else "in_step": hang})
    script = PARENT.format(root=str(Path(planner.__file__).parents[1]))
    parent = subprocess.Popen(
        [sys.executable, "-c", script, path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _wait_for(lambda: mark.exists() and mark.read_text().endswith("\n"), 60)
        time.sleep(0.3)  # the process that it starts next
        entries = living_processes()
        family = {parent.pid}
        for _ in range(6):
            family |= {entry.pid for entry in entries if entry.parent in family}
        assert len(family) >= 4  # the supervisor, the server and a sleeper at least
        parent.send_signal(number)
        assert parent.wait(timeout=30) != 0
        family.discard(parent.pid)
        _wait_for(lambda: not family & {entry.pid for entry in living_processes()}, 10)
    finally:
        parent.kill()
        parent.wait()
        assert parent.stderr is not None
        parent.stderr.close()


def _wait_for(condition: object, seconds: float) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
