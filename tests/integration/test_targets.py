"""Whatever the user's code and folder look like, the child runs it as the user would."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import planner
from planner.results.estimate import Estimate
from tests.integration.child_runs import CUBLAS_KEEPS_WORKSPACES, WriteModel

pytestmark = pytest.mark.slow

LINEAR = """
def build_model():
    return nn.Linear(64, 64)

def build_batch(batch_size):
    return torch.randn(batch_size, 64)
"""
PARAMETERS = 64 * 64 + 64


def run(target: object, **options: object) -> Estimate:
    return planner.estimate(
        target, **{"gpu": "a100", "max_batch": False, "batch_size": 4, **options}
    )


def test_live_objects(tmp_path: Path) -> None:
    """A module, and functions beside it, from a script of the caller."""
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import sys
sys.path.insert(0, {str(Path(planner.__file__).parents[1])!r})
import torch
from torch import nn
import planner

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x):
        return self.layer(x)

def build_batch(batch_size):
    return torch.randn(batch_size, 64)

model = Net()
before = model.layer.weight.clone()
for target in (model, lambda: Net()):
    estimate = planner.estimate(
        target, gpu="a100", build_batch=build_batch, batch_size=4, max_batch=False,
        training_step=lambda model, batch: model(batch).mean(),
        build_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    print(estimate.counts.parameters, estimate.optimizer)
assert torch.equal(model.layer.weight, before)
assert not torch.cuda.is_initialized()
"""
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{PARAMETERS} SGD"] * 2


def test_model_on_the_card_while_the_file_is_imported(write_model: WriteModel) -> None:
    """Such a child cannot be forked: each run gets one of its own, and both cards are right."""
    path = write_model(
        """
        MODEL = nn.Linear(64, 64).cuda()
        SEEN = torch.cuda.get_device_name()

        def build_model():
            assert torch.cuda.get_device_name() == SEEN
            print("SEEN", SEEN)
            return MODEL

        def build_batch(batch_size):
            return torch.randn(batch_size, 64, device="cuda")
        """
    )
    estimate = run(path, gpu=["a100", "t4"])
    assert estimate.counts.parameters == PARAMETERS
    assert [card.fits for card in estimate.gpus] == [True, True]


def test_the_child_sees_one_emulated_card_and_a_plain_environment(
    write_model: WriteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PYTORCH_NO_CUDA_MEMORY_CACHING", "1")
    path = write_model(
        """
        import os
        import sys

        assert sys.argv == [__file__], sys.argv
        assert "LD_PRELOAD" not in os.environ
        os.environ["CUDA_VISIBLE_DEVICES"] = "3"  # many scripts choose a card like that
        assert torch.cuda.is_available() and torch.cuda.device_count() == 1

        def build_model():
            properties = torch.cuda.get_device_properties(0)
            assert properties.name.endswith("(emulated)"), properties.name
            assert "T4" in properties.name and (properties.major, properties.minor) == (7, 5)
            assert properties.total_memory == 15_633_219_584
            assert properties.multi_processor_count == 40
            free, total = torch.cuda.mem_get_info()
            assert 0 < free <= total == properties.total_memory
            return nn.Linear(64, 64)

        def build_batch(batch_size):
            return torch.randn(batch_size, 64)
        """
    )
    assert run(path, gpu="t4").gpus[0].peak_allocated_bytes > 0


def test_asking_for_a_card_while_the_file_is_imported(write_model: WriteModel) -> None:
    """torch forbids CUDA in forks of a process that has asked; some ways are not intercepted."""
    path = write_model(
        """
        DEVICE = "cuda" if torch.accelerator.is_available() else "cpu"
        assert torch.accelerator.device_count() == 1 and torch.cuda.is_available()

        def build_model():
            return nn.Linear(64, 64).to(DEVICE)

        def build_batch(batch_size):
            return torch.randn(batch_size, 64)
        """
    )
    assert run(path, max_batch=False).counts.parameters == PARAMETERS


def test_a_process_started_by_the_model_does_not_get_the_card(write_model: WriteModel) -> None:
    path = write_model(
        """
        import subprocess
        import sys

        CODE = "import torch; print(torch.cuda.is_available() and torch.cuda.get_device_name())"

        def build_model():
            done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert "emulated" not in done.stdout, done.stdout
            return nn.Linear(64, 64)

        def build_batch(batch_size):
            return torch.randn(batch_size, 64)
        """
    )
    assert run(path).counts.parameters == PARAMETERS


@pytest.mark.parametrize("name", ["planner.py", "test.py", "torch.py", "types.py"])
def test_unlucky_names_of_the_model_file(
    write_model: WriteModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """The file's folder is the working directory, full of files named like Python's own."""
    for other in ("select", "json", "msgspec", "subprocess"):
        (tmp_path / f"{other}.py").write_text("raise RuntimeError('this is not the real one')\n")
    path = write_model(LINEAR, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)  # "." in it would be meant so
    if name in ("torch.py", "types.py"):
        # as Python itself: the folder of the script comes first for what the script imports
        (tmp_path / "select.py").unlink()
    assert run(path).counts.parameters == PARAMETERS


def test_a_file_may_import_from_the_working_directory(
    write_model: WriteModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "my_layers").mkdir()
    (tmp_path / "my_layers" / "__init__.py").write_text("WIDTH = 64\n")
    text = LINEAR.replace("64, 64)", "WIDTH, WIDTH)")
    path = write_model("from my_layers import WIDTH\n" + text, "scripts/model.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    assert run(path).counts.parameters == PARAMETERS


def test_the_model_may_print_what_it_likes(
    write_model: WriteModel, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_model(
        """
        import os
        import sys

        os.write(1, b"\\xff\\xfe not UTF-8\\n")

        def build_model():
            line = "x" * 1023 + "\\n"
            for _ in range(10_000):
                sys.stdout.write(line)
            print("\\udcff".encode("utf-8", "surrogateescape"))
            sys.stdout = None
            return nn.Linear(64, 64)

        def build_batch(batch_size):
            assert sys.stdin.read() == ""
            return torch.randn(batch_size, 64)
        """
    )
    assert run(path).counts.parameters == PARAMETERS
    assert capfd.readouterr().out == ""


def test_threads_of_the_parent_do_not_hang_the_run(write_model: WriteModel) -> None:
    """OpenMP's threads do not survive a fork: a run must not wait for them."""
    path = write_model(
        """
        torch.set_num_threads(2)
        WEIGHTS = torch.relu(torch.randn(2_000, 2_000)) @ torch.randn(2_000, 64)

        def build_model():
            assert torch.relu(torch.randn(4_000_000)).numel() == 4_000_000
            return nn.Linear(64, 64)

        def build_batch(batch_size):
            return torch.randn(batch_size, 64)
        """
    )
    assert run(path, timeout_s=60.0, build_on="cpu").counts.parameters == PARAMETERS


def test_two_cards_side_by_side_give_what_each_gives_alone(write_model: WriteModel) -> None:
    path = write_model(LINEAR)
    both = run(path, gpu=["h100", "t4"])
    for card in ("h100", "t4"):
        alone = run(path, gpu=card).gpus[0]
        # Resident memory of the process differs by some pages from run to run.
        assert replace(both.gpu(card), host=None) == replace(alone, host=None)
    workspaces = 2 if CUBLAS_KEEPS_WORKSPACES else 1  # the forward's and the backward's
    difference = both.gpu("h100").peak_allocated_bytes - both.gpu("t4").peak_allocated_bytes
    assert difference == workspaces * ((32 << 20) - 8_519_680)


def test_a_step_that_profiles_itself_adds_up_too(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Linear(8, 8)

        def build_batch(batch_size):
            return torch.randn(batch_size, 8)

        def training_step(model, batch):
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
                return model(batch).sum()
        """
    )
    estimate = planner.estimate(path, gpu="a100", max_batch=False)
    found = estimate.breakdown()
    assert found is not None
    assert found.total() == estimate.gpus[0].peak_allocated_bytes


def test_the_breakdown_adds_up_to_the_peak(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 8))

        def build_batch(batch_size):
            return torch.randn(batch_size, 256)
        """
    )
    estimate = planner.estimate(path, gpu="a100", optimizer="adam", max_batch=False)
    found = estimate.breakdown()
    assert found is not None
    assert found.total() == estimate.gpus[0].peak_allocated_bytes
    parameter_bytes = 4 * (256 * 1024 + 1024 + 1024 * 8) + 512  # 8 biases take a block of 512
    sums = found.by_category()
    assert sums["parameter"] == parameter_bytes
    assert sums["optimizer state"] >= 2 * parameter_bytes
    assert "unattributed" not in sums
