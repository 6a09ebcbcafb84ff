"""Verifications with real processes: emulated cards, probes that die, the code of physical runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.config.parse import step_config
from planner.config.target import parse_target
from planner.emulator.build import EmulatedDevice, emulated_device
from planner.emulator.profile import limit_profile
from planner.emulator.torch_install import find_torch
from planner.errors import ModelError, UnsupportedPlatformError, UsageError
from planner.estimation.context import ProfileFactory
from planner.machine.processes import living_processes
from planner.memory.budget import memory_budgets
from planner.memory.probe import ProbeOutcome
from planner.process.child import Child
from planner.process.client import Runner
from planner.results.verification import ProbeRecord, Verification
from planner.units import GIB
from planner.verification.probes import ProbeRunner
from planner.wire.protocol import Engine
from tests.integration.child_runs import WriteModel

pytestmark = pytest.mark.slow

MODEL = """
import os, signal, time
import torch
from torch import nn

def build_model():
    return nn.Sequential(nn.Linear(2048, 4096), nn.ReLU(), nn.Linear(4096, 8))

def build_batch(batch_size):
    return torch.randn(batch_size, 2048)

def training_step(model, batch):
    if batch.shape[0] > 100:
        {beyond_100}
    return model(batch).mean()
"""


def probes(path: str, *batches: int, timeout_s: float = 60) -> list[ProbeRecord]:
    """Probes on an emulated t4, in one lab."""
    torch = find_torch()
    cards = ProfileFactory(torch=torch, device=emulated_device(torch))
    (budget,) = memory_budgets(["t4"], hardware_db=None, gpu_memory=None, reserve=0)
    runner = partial(
        Runner,
        parse_target(path),
        device=cards.device,
        profile=cards.unlimited(budget),
        timeout_s=timeout_s,
    )
    with ProbeRunner(
        open_runner=runner,
        profile=cards.limited(budget),
        config=step_config({"optimizer": "sgd"}),
        progress=lambda text: None,
    ) as lab:
        return [lab.probe(batch, False) for batch in batches]


@pytest.mark.parametrize(
    ("beyond_100", "outcome", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", ProbeOutcome.KILLED, "SIGKILL"),
        ("os.abort()", ProbeOutcome.KILLED, "SIGABRT"),
        ("os._exit(3)", ProbeOutcome.KILLED, "exit code 3"),
        ("raise ValueError('no such batch')", ProbeOutcome.MODEL_ERROR, "ValueError: no such"),
        (
            "raise RuntimeError('CUDA out of memory. Tried to allocate 1 GiB')",
            ProbeOutcome.MODEL_ERROR,
            "RuntimeError: CUDA out",
        ),
        ("torch.empty(1 << 40, device=batch.device)", ProbeOutcome.OOM, "OutOfMemoryError"),
    ],
)
def test_a_probe_ends_with_a_reason_and_the_next_one_is_whole(
    write_model: WriteModel, beyond_100: str, outcome: ProbeOutcome, said: str
) -> None:
    first, second, third = probes(write_model(MODEL.format(beyond_100=beyond_100)), 100, 101, 100)
    assert (first.outcome, second.outcome, third.outcome) == (
        ProbeOutcome.FITS,
        outcome,
        ProbeOutcome.FITS,
    )
    assert said in second.detail
    assert second.peak_allocated_bytes is None
    assert first.peak_allocated_bytes is not None
    assert third.peak_allocated_bytes == first.peak_allocated_bytes


def test_a_probe_that_hangs_is_stopped_and_the_next_one_is_whole(write_model: WriteModel) -> None:
    path = write_model(MODEL.format(beyond_100="time.sleep(1000)"))
    begun = time.monotonic()
    first, second = probes(path, 101, 100, timeout_s=20)
    assert (first.outcome, second.outcome) == (ProbeOutcome.TIME_OUT, ProbeOutcome.FITS)
    assert time.monotonic() - begun < 60


def test_the_emulated_card_confirms_what_was_predicted(write_model: WriteModel) -> None:
    path = write_model(MODEL.format(beyond_100="pass"))
    found = planner.verify(path, emulated="t4", optimizer="sgd", reserve="1GiB")
    assert found.is_confirmed
    assert found.predicted.max_batch_size == found.measured.max_batch_size
    assert found.measured.max_batch_size is not None
    assert found.measured.max_batch_size > 1000
    assert len(found.probes) <= 4
    assert set(found.errors().values()) <= {0.0, None}
    answer = found.measured.max_batch_size
    outcomes = {probe.batch_size: probe.outcome for probe in found.probes}
    assert outcomes[answer] is ProbeOutcome.FITS
    assert outcomes[answer + 1] is ProbeOutcome.OOM


def children_of(monkeypatch: pytest.MonkeyPatch, path: str) -> tuple[int, Verification]:
    """How many children a verification starts, and what it finds."""
    started: list[Child] = []

    class Counted(Child):
        def __init__(self, *words: Any, **options: Any) -> None:
            started.append(self)
            super().__init__(*words, **options)

    monkeypatch.setattr("planner.process.client.Child", Counted)
    found = planner.verify(path, emulated="t4", optimizer="sgd", max_batch=64)
    return len(started), found


def test_one_child_serves_both_estimates_and_the_probes(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe that dies costs a child for the next one, and one to predict again."""
    path = write_model(MODEL.format(beyond_100="pass"))
    children, found = children_of(monkeypatch, path)
    assert children == 1
    once = f"open({str(tmp_path / 'died')!r}, 'x') and os.kill(os.getpid(), signal.SIGKILL)"
    text = Path(path).read_text()
    dying = text.replace(
        "    return model(batch).mean()",
        f"    if batch.shape[0] == 64 and not os.path.exists({str(tmp_path / 'died')!r}):\n"
        f"        {once}\n    return model(batch).mean()",
    )
    children, again = children_of(monkeypatch, write_model(dying, name="dying.py"))
    assert [probe.outcome for probe in again.probes][:2] == [
        ProbeOutcome.KILLED, ProbeOutcome.FITS
    ]  # fmt: skip
    assert children == 3
    assert (again.predicted, again.measured) == (found.predicted, found.measured)


def test_batch_1_does_not_fit_is_an_answer(write_model: WriteModel) -> None:
    path = write_model(MODEL.format(beyond_100="pass"))
    text = Path(path).read_text().replace("nn.Linear(2048, 4096)", "nn.Linear(2048, 1 << 21)")
    Path(path).write_text(text.replace("nn.Linear(4096, 8)", "nn.Linear(1 << 21, 8)"))
    found = planner.verify(path, emulated="t4", optimizer="sgd")
    assert (found.predicted.max_batch_size, found.measured.max_batch_size) == (0, 0)
    assert found.is_confirmed
    assert [probe.batch_size for probe in found.probes] == [1]


def test_a_bound_of_the_caller_is_said(write_model: WriteModel) -> None:
    path = write_model(MODEL.format(beyond_100="pass"))
    found = planner.verify(path, emulated="t4", optimizer="sgd", max_batch=64)
    assert (found.measured.max_batch_size, found.bound) == (64, "--max-batch 64")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"emulated": "t4", "device": "cpu"}, "not both"),
        ({"emulated": "t4", "memory": "1GiB"}, "say device cpu"),
        ({"emulated": "t4", "max_batch": 0}, "max_batch must be at least 1"),
        ({"emulated": "t4", "max_batch": "8"}, "max_batch must be a whole number, not '8'"),
        ({"emulated": "t4", "max_batch": True}, "max_batch must be a whole number, not True"),
        ({"emulated": "t4", "tolerance": "200%"}, "tolerance '200%'"),
        ({"emulated": "no-such-card"}, "no card named"),
        ({"device": "tpu"}, "is not one of cpu, cuda"),
        ({"device": "cpu", "memory": "0"}, "memory must be more than 0"),
    ],
)
def test_what_cannot_be_meant(
    write_model: WriteModel, options: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        planner.verify(write_model(MODEL.format(beyond_100="pass")), **options)  # type: ignore[arg-type]


def test_an_error_of_the_model_is_the_users(write_model: WriteModel) -> None:
    path = write_model(MODEL.replace("> 100", "> 0").format(beyond_100="raise KeyError('mine')"))
    with pytest.raises(ModelError, match="mine"):
        planner.verify(path, emulated="t4")


def test_without_a_card_the_message_says_what_needs_none(write_model: WriteModel) -> None:
    path = write_model(MODEL.format(beyond_100="pass"))
    with Runner(parse_target(path), device=Engine.CUDA, timeout_s=60) as runner:
        runner.wait_loaded()
        with pytest.raises(UnsupportedPlatformError, match="torch sees no GPU"):
            runner.run("", step_config({}))


# The code of physical runs, on PyTorch's CUDA with the emulated libraries below it: what a card
# would answer but for its times.
PHYSICAL = """
import json, sys
from planner.worker.engines import emulation
libraries, profile, path, fraction, batch = json.loads(sys.argv[1])
emulation.load(libraries)
emulation.configure(profile)
import torch
emulation.configure(emulation.settle_architecture(profile)[0])
from planner.config.parse import step_config
from planner.wire.jobs import RunJob
from planner.worker.target.contract import load
from planner.worker.engines.real import run_on_card
from planner.config.target import parse_target
config = step_config({"batch_size": batch, "steps": 4, "optimizer": "sgd"})
trace = run_on_card(
    load(parse_target(path)), RunJob(profile=fraction, config=config)
).trace
card = trace.card
print(json.dumps({
    "outcome": trace.outcome.value, "steps": len(trace.step_s),
    "failure": trace.failure and trace.failure.message,
    "reserved": trace.peak_reserved_bytes, "build_on": trace.build_on,
    "card": card and [card.used_bytes, card.total_bytes, card.reserved_bytes],
}))
sys.stdout.flush()
import os
os._exit(0)
"""


def physical(path: str, device: EmulatedDevice, *, kept_bytes: int | None, batch: int) -> dict:
    torch = find_torch()
    cards = ProfileFactory(torch=torch, device=device)
    (budget,) = memory_budgets(["t4"], hardware_db=None, gpu_memory=None, reserve=0)
    given = [
        [str(library) for library in device.libraries],
        cards.limited(budget),
        path,
        limit_profile(kept_bytes=kept_bytes),
        batch,
    ]
    done = subprocess.run(
        [sys.executable, "-c", PHYSICAL, json.dumps(given)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TORCH_CPP_LOG_LEVEL": "ERROR"},
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_run_on_a_card_tells_times_and_what_the_card_held(
    write_model: WriteModel, device: EmulatedDevice
) -> None:
    path = write_model(MODEL.format(beyond_100="pass"))
    found = physical(path, device, kept_bytes=None, batch=64)
    assert (found["outcome"], found["steps"]) == ("completed", 4)
    assert found["build_on"] == "cpu"  # with the weights that the user's code gives
    used, total, reserved = found["card"]
    assert reserved == found["reserved"] > 60 << 20
    assert reserved <= used < total


def test_what_is_to_be_kept_free_is_a_limit(
    write_model: WriteModel, device: EmulatedDevice
) -> None:
    """A batch of 200,000 rows takes 1.5 GiB, and its activations 3 GiB each; the card has 14."""
    path = write_model(MODEL.format(beyond_100="pass"))
    assert physical(path, device, kept_bytes=GIB, batch=200_000)["outcome"] == "completed"
    assert physical(path, device, kept_bytes=10 * GIB, batch=200_000)["outcome"] == "oom"


def test_ctrl_c_in_the_middle_leaves_nothing_behind(
    write_model: WriteModel, tmp_path: Path
) -> None:
    path = write_model(MODEL.format(beyond_100="time.sleep(1000) if os.path.exists('/') else 0"))
    text = Path(path).read_text().replace("batch.shape[0] > 100", "batch.shape[0] > 10**9")
    Path(path).write_text(text)
    command = [sys.executable, "-m", "planner", "verify", path, "--emulated", "t4"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("probe"):
                break
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=20)
        assert (process.returncode, stdout) == (130, "")
        members = [entry for entry in living_processes() if entry.session == process.pid]
        assert not members
    finally:
        process.kill()
        process.wait()


def test_two_at_once_do_not_meet(write_model: WriteModel) -> None:
    path = write_model(MODEL.format(beyond_100="pass"))
    command = [
        sys.executable, "-m", "planner", "verify", path, "--emulated", "t4", "--json", "-q",
        "--optimizer", "sgd",
    ]  # fmt: skip
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    documents = [json.loads(process.communicate(timeout=240)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    answers = {document["measured"]["max_batch_size"] for document in documents}
    assert len(answers) == 1
    assert all(document["device"]["kind"] == "emulated" for document in documents)
    assert documents[0]["device"]["memory_bytes"] < 16 * GIB
