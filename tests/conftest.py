"""Shared by all tests: estimates made by hand, golden files and the flag that refreshes them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from planner.config.step import Precision, StepConfig
from planner.config.weights import WeightDtype
from planner.cost.energy import StepCost, StepLoad, step_cost
from planner.cost.price import parse_price
from planner.input_pipeline.host_ram import HostRam, Room
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate, Versions
from planner.results.inspection import Inspection
from planner.results.step_time import Gain, HostNeeds, StepTime
from planner.timing.bottleneck import Bottleneck, Bound, without_room
from planner.units import GIB, MIB
from planner.wire.module_counts import (
    FlopRules,
    ModelCounts,
    ModuleCounts,
    OperatorCalls,
    StepCounts,
    Structure,
)
from planner.wire.trace import Counts, Phase

GOLDEN = Path(__file__).parent / "golden"
UNIT = Path(__file__).parent / "unit"
# These run PyTorch, a compiler or whole fits, import each room in a process, or read the whole
# database for every test.
_ROOMS = (
    "worker", "emulator", "models", "benchmarks", "test_architecture.py", "test_benchmarks.py",
    "test_spellings.py", "memory/test_largest.py", "cli/test_gpus.py", "cli/test_hostile_texts.py",
    "config/test_inputs.py",
)  # fmt: skip
NOT_QUICK = tuple(UNIT / name for name in _ROOMS)

# A shell starts background jobs with SIGINT ignored, nohup with SIGHUP, and what they start
# inherits that: the tests that send them need them to arrive.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def device_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of this test run: the emulated device is built once, by whoever is first.

    The processes of pytest-xdist have a folder each, all in that of the run; a lock in the cache
    makes the others wait for the build.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "vram-planner-cache"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def no_history(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the history of the user: the folder is not there."""
    folder = tmp_path_factory.getbasetemp() / "no-history"
    monkeypatch.setenv("VRAM_PLANNER_DATA", str(folder))


@pytest.fixture(autouse=True)
def no_kept_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is served from answers that were kept before; tests of those answers undo this."""
    monkeypatch.setenv("VRAM_PLANNER_NO_CACHE", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--refresh-golden",
        action="store_true",
        help="write tests/golden/* anew from what the code gives now; read the diff afterwards",
    )


def _may_be_quick(path: Path) -> bool:
    """Whether a folder or file of tests can have quick ones."""
    return path.is_relative_to(UNIT) and not any(path.is_relative_to(one) for one in NOT_QUICK)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m quick` nothing else is imported: half of the rest imports torch."""
    if config.option.markexpr != "quick" or UNIT.is_relative_to(collection_path):
        return None
    return None if _may_be_quick(collection_path) else True


@pytest.hookimpl(tryfirst=True)  # before -m chooses by the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as quick what starts no process, draws no examples and needs no torch."""
    for item in items:
        if " at 0x" in item.nodeid:  # pytest-xdist compares what each process has collected
            raise pytest.UsageError(f"{item.nodeid}: the address is another in each process")
        starts_processes = hasattr(getattr(item, "module", None), "subprocess")
        draws = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        is_slow = item.get_closest_marker("slow") is not None
        if _may_be_quick(item.path) and not (starts_processes or draws or is_slow):
            item.add_marker("quick")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Holds the promise of the mark."""
    if session.config.option.markexpr == "quick" and "torch" in sys.modules:
        raise pytest.UsageError("a test file with quick tests imports torch; see NOT_QUICK")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with a file of tests/golden, or writes that file with --refresh-golden."""
    refresh = bool(request.config.getoption("--refresh-golden"))

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if refresh:
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing; write it with: pytest --refresh-golden"
        assert text == path.read_text(encoding="utf-8")

    return check


@pytest.fixture
def step_time() -> StepTime:
    """A step of 100 ms, 60 of them bound by arithmetic and 30 by memory bandwidth."""
    return StepTime(
        step_s=0.1,
        samples_per_s=160.0,
        gpu_s=0.1,
        launch_s=0.02,
        phases_s=(
            (Phase.FORWARD, 0.03), (Phase.LOSS, 2e-6), (Phase.BACKWARD, 0.06),
            (Phase.OPTIMIZER_STEP, 0.009998),
        ),
        bottleneck=Bottleneck(
            bound=Bound.COMPUTE,
            shares=((Bound.COMPUTE, 0.6), (Bound.BANDWIDTH, 0.3), (Bound.LAUNCHES, 0.2)),
            runner_up=Bound.BANDWIDTH,
            takes_over_factor=2.0,
        ),
        loader_s=0.05,
        copy_s=0.0001,
        interval_s=(0.08, 0.13),
        interval_coverage=0.9,
        interval_basis="20 published step times",
        gains=(Gain(change="--precision amp-bf16", factor=2.13),),
    )  # fmt: skip


@pytest.fixture
def host_needs() -> HostNeeds:
    """Tokens for a card in half of 8 GiB, in a container with 64 MiB of shared memory."""
    return HostNeeds(
        requested="epyc-7742",
        ram=HostRam(
            base_bytes=2 * GIB, workers_bytes=GIB, prefetch_bytes=GIB // 2,
            pinned_bytes=GIB // 2, dataset_bytes=0, checkpoint_bytes=0, shm_peak_bytes=80 * MIB,
        ),
        ram_room=Room.FITS,
        usable_ram_bytes=8 * GIB,
        shm_room=Room.DOES_NOT_FIT,
        shm_bytes=64 * MIB,
        workers=8,
        cores=64.0,
        cores_needed=2.345,
        cores_like="AMD EPYC 7742",
        data="tokens",
    )  # fmt: skip


@pytest.fixture
def cost() -> StepCost:
    """Of 160 samples a second on 400 W, at 3.6 USD an hour."""
    load = StepLoad(
        step_s=0.1, samples_per_step=16, tdp_w=400, compute_fraction=0.6, bandwidth_fraction=0.3
    )
    return step_cost(load, dataset_samples=576_000, price=parse_price("3.6 USD/h"))


@pytest.fixture
def a100(step_time: StepTime, host_needs: HostNeeds, cost: StepCost) -> DeviceEstimate:
    """A card on which the step fits."""
    return DeviceEstimate(
        requested="a100",
        name="NVIDIA A100-SXM4-80GB",
        id="a100-sxm4-80gb",
        other_names=("NVIDIA A100 80GB SXM", "A100"),
        total_memory_bytes=81049 * MIB,
        usable_memory_bytes=81049 * MIB,
        context_overhead_bytes=512 * MIB,
        reserve_bytes=0,
        peak_allocated_bytes=20 * GIB,
        peak_reserved_bytes=22 * GIB,
        fits=True,
        max_batch_size=57,
        attention_backends=("flash",),
        note="assuming A100-SXM4-80GB; also: a100-pcie-40gb",
        device_total_interval_bytes=(22 * GIB, 24 * GIB),
        interval_coverage=0.9,
        interval_basis="19 runs (peak reserved) and 30 figures (context overhead)",
        suggested_batch_size=54,
        suggested_margin_bytes=3 * GIB,
        time=step_time,
        host=host_needs,
        cost=cost,
    )


@pytest.fixture
def t4(step_time: StepTime) -> DeviceEstimate:
    """A card on which the step does not fit, but a smaller batch does."""
    time = replace(
        step_time,
        bottleneck=without_room(step_time.bottleneck, Bound.VRAM),
        interval_s=None,
        loader_s=None,
        copy_s=None,
        gains=(),
    )
    return DeviceEstimate(
        requested="t4",
        name="Tesla T4",
        id="t4",
        suggested_batch_reason="no largest batch was searched",
        total_memory_bytes=14909 * MIB,
        usable_memory_bytes=14909 * MIB,
        context_overhead_bytes=198 * MIB,
        reserve_bytes=0,
        peak_allocated_bytes=20 * GIB,
        peak_reserved_bytes=22 * GIB,
        fits=False,
        max_batch_size=10,
        attention_backends=("efficient",),
        time=time,
    )


@pytest.fixture
def estimate(a100: DeviceEstimate, t4: DeviceEstimate) -> Estimate:
    """GPT-2 on both cards."""
    return Estimate(
        target="models/gpt2.py",
        config=StepConfig(batch_size=16, precision=Precision.FP32),
        counts=Counts(
            parameters=124_439_808,
            trainable_parameters=124_439_808,
            buffers=0,
            weight_dtypes=(
                WeightDtype(dtype="float32", elements=124_439_808, size_bytes=497_759_232),
            ),
        ),
        gpus=(a100, t4),
        versions=Versions(
            torch="2.14.1+cu130", cuda="13.0", cudnn="9.24.0", python="3.11.7", planner="0.1.0"
        ),
        optimizer="AdamW",
        build_on="meta",
        assumptions=(
            "a100: assuming A100-SXM4-80GB; also: a100-pcie-40gb",
            "optimizer: AdamW (none was given)",
            "values read from the card are zero here, and may steer the model: "
            "models/gpt2.py:91 in forward, 12 times; models/gpt2.py:95 in forward",
        ),
        warnings=("a run ended with SIGSEGV after it had delivered its result",),
    )


@pytest.fixture
def inspection() -> Inspection:
    """A small net with two blocks that are alike."""

    def row(path: str, kind: str, size: int, trainable: int, figures: int) -> ModuleCounts:
        return ModuleCounts(
            path=path,
            kind=kind,
            parameters=size,
            trainable_parameters=trainable,
            forward_flops=4000 * figures,
            activations=32 * figures,
            saved_bytes=1024 * figures,
            read_bytes=1500 * figures,
            written_bytes=500 * figures,
        )

    whole = row("", "Net", 30, 20, 2)
    return Inspection(
        target="models/net.py",
        config=StepConfig(batch_size=8, precision=Precision.FP32),
        depth=2,
        gpu="Tesla T4",
        model=ModelCounts(
            counts=Counts(
                parameters=30,
                trainable_parameters=20,
                buffers=0,
                weight_dtypes=(WeightDtype(dtype="float32", elements=30, size_bytes=120),),
            ),
            step=StepCounts(
                forward_flops_per_sample=1250,
                step_flops=30000,
                activations_per_sample=8,
                uncounted_operators=(
                    OperatorCalls(name="aten::fft_rfft", calls=2),
                    OperatorCalls(name="my::kernel", calls=1),
                ),
            ),
            modules=(
                replace(
                    whole,
                    forward_flops=10000,
                    saved_bytes=3072,
                    read_bytes=4000,
                    written_bytes=1000,
                ),
                row("blocks", "ModuleList", 20, 20, 2),
                row("blocks.0", "Block", 10, 10, 1),
                row("blocks.1", "Block", 10, 10, 1),
                row("flatten", "Flatten", 0, 0, 0),
            ),
            structure=Structure.MODULE_HOOKS,
            flop_rules=FlopRules.FVCORE,
            forward_flops_by_torch=9900,
            build_on="meta",
        ),
        versions=Versions(
            torch="2.14.1+cu130", cuda="13.0", cudnn="9.24.0", python="3.11.7", planner="0.1.0"
        ),
        assumptions=("modules were told by hooks, because torch.fx cannot trace the model",),
    )
