"""One child serves runs with several settings of PyTorch's allocator, as if started with each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

import planner
from planner.config.step import StepConfig
from planner.config.target import parse_target
from planner.emulator.build import EmulatedDevice
from planner.emulator.profile import UNLIMITED_BYTES, device_profile
from planner.emulator.torch_install import find_torch
from planner.errors import UsageError
from planner.memory.allocator.settings import TorchVersion
from planner.memory.budget import memory_budgets
from planner.process.client import Runner
from planner.wire.trace import StepTrace
from planner.wire.variables import ALLOC_CONF_VARIABLES
from tests.integration.child_runs import WriteModel

pytestmark = pytest.mark.slow

VERSION = TorchVersion.parse(find_torch().version)
# Large and small tensors, of sizes that each setting rounds or places in another way.
MODEL = """
    {first}

    def build_model():
        {early}
        sizes = (100, 400, 700, 1000, 1300, 1600, 1900)
        return nn.Sequential(*(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])))

    def build_batch(batch_size):
        return torch.randn(batch_size, 100)

    def training_step(model, batch):
        held = [
            torch.empty(mib << 20, dtype=torch.uint8, device="cuda")
            for mib in (21, 33, 70, 150, 1, 3, 9)
        ]
        del held[1::2]
        held += [
            torch.empty(mib << 20, dtype=torch.uint8, device="cuda") for mib in (11, 31, 60, 65)
        ]
        return model(batch).mean()
"""
SETTINGS = (
    "expandable_segments:True",
    "max_split_size_mb:64",
    "roundup_power2_divisions:4",
    *(["large_segment_size_mb:64"] if VERSION.at_least(2, 11) else []),
)
CONFIG = StepConfig(batch_size=64, steps=2)
Figures = tuple[int, int, int]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ALLOC_CONF_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@contextmanager
def runner(
    path: str, device: EmulatedDevice, alloc_conf: str | None = None
) -> Iterator[tuple[Runner, str]]:
    """A Runner on an A100 without a limit, and the card's profile."""
    (budget,) = memory_budgets(["a100"], hardware_db=None, gpu_memory=None, reserve=0)
    profile = device_profile(
        budget.card,
        torch=find_torch(),
        device=device,
        total_memory_bytes=budget.usable_memory_bytes,
        capacity_bytes=UNLIMITED_BYTES,
    )
    with Runner(
        parse_target(path), device=device, profile=profile, timeout_s=120, alloc_conf=alloc_conf
    ) as found:
        found.wait_loaded()
        yield found, profile


def figures(trace: StepTrace) -> Figures:
    assert trace.failure is None, trace.failure
    return trace.peak_allocated_bytes, trace.peak_active_bytes, trace.peak_reserved_bytes


def served_by_one(
    path: str, device: EmulatedDevice, settings: Sequence[str | None], single_run: str | None = None
) -> list[Figures]:
    """The runs with each setting, by one Runner that began with the first of them."""
    with runner(path, device, settings[0]) as (found, profile):
        assert found.single_run == single_run
        return [
            figures(found.run(profile, replace(CONFIG, alloc_conf=setting))) for setting in settings
        ]


def started_with(
    path: str, device: EmulatedDevice, variable: str, setting: str, patch: pytest.MonkeyPatch
) -> Figures:
    """The run of a child that finds the setting in its environment."""
    with patch.context() as changed:
        changed.setenv(variable, setting)
        with runner(path, device) as (found, profile):
            return figures(found.run(profile, CONFIG))


@pytest.fixture
def plain(write_model: WriteModel) -> str:
    return write_model(MODEL.format(first="", early=""))


def test_each_run_has_its_own_setting(
    device: EmulatedDevice, plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_none, *found, again = served_by_one(plain, device, [None, *SETTINGS, None])
    assert again == with_none
    assert len({with_none, *found}) == 1 + len(SETTINGS)  # each shows
    assert found == [
        started_with(plain, device, "PYTORCH_CUDA_ALLOC_CONF", setting, monkeypatch)
        for setting in SETTINGS
    ]


@pytest.mark.parametrize(
    "variable",
    [
        "PYTORCH_CUDA_ALLOC_CONF",
        pytest.param(
            "PYTORCH_ALLOC_CONF",
            marks=pytest.mark.skipif(not VERSION.at_least(2, 15), reason="may be read or not"),
        ),
    ],
)
def test_the_environment_holds_where_nothing_is_asked_for(
    device: EmulatedDevice, plain: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    usual, rounded, split = served_by_one(
        plain, device, [None, "roundup_power2_divisions:4", "max_split_size_mb:64"]
    )
    monkeypatch.setenv(variable, "roundup_power2_divisions:4")
    settings = ["max_split_size_mb:64", None, ""]
    assert served_by_one(plain, device, settings) == [split, rounded, usual]


# What a user's code may do while it is imported, after which no run can be forked.
EARLY = {
    "the model's code uses the card while it is imported": 'torch.zeros(8, device="cuda")',
    "the model's code sets the allocator up while it is imported": (
        'torch._C._accelerator_setAllocatorSettings("max_split_size_mb:64")'
    ),
}


@pytest.mark.parametrize("reason", EARLY)
def test_a_child_of_a_single_run_is_started_with_its_setting(
    device: EmulatedDevice, write_model: WriteModel, reason: str
) -> None:
    if "sets the allocator" in reason and not VERSION.at_least(2, 15):
        pytest.skip("this torch does not tell which setting it has read")
    line = EARLY[reason]
    early = write_model(MODEL.format(first=line, early=""), name="early.py")
    late = write_model(MODEL.format(first="", early=line), name="late.py")
    settings = ["roundup_power2_divisions:4", "expandable_segments:True", None]
    found = served_by_one(early, device, settings, single_run=reason)
    assert found == served_by_one(late, device, settings)
    assert len(set(found)) > 1  # what the user's code sets takes the place of some


def test_a_run_with_another_backend_has_a_child_of_its_own(
    device: EmulatedDevice, plain: str
) -> None:
    with runner(plain, device) as (found, profile):
        usual = found.run(profile, CONFIG)
        config = replace(CONFIG, alloc_conf="backend:cudaMallocAsync")
        pool, log = found.requests(profile, config)
        assert found.record(profile, config) == (pool, None)
        assert found.run(profile, CONFIG) == usual
    assert log is None  # that backend keeps no history
    assert figures(pool) != figures(usual)
    with runner(plain, device, config.alloc_conf) as (found, profile):
        assert found.run(profile, config) == pool
        assert found.run(profile, CONFIG) == usual


def test_a_setting_that_torch_refuses(device: EmulatedDevice, plain: str) -> None:
    with runner(plain, device) as (found, profile):
        with pytest.raises(UsageError, match="torch refuses PYTORCH_CUDA_ALLOC_CONF=no_such:1: "):
            found.run(profile, replace(CONFIG, alloc_conf="no_such:1"))
        figures(found.run(profile, CONFIG))


# Ways in which a user's code makes torch forget a part of its history.
FORGETTING = ("None", '"all", max_entries=3')


@pytest.mark.parametrize("arguments", FORGETTING)
def test_a_history_of_the_users_own_leaves_no_recording(
    device: EmulatedDevice, write_model: WriteModel, arguments: str
) -> None:
    early = f"torch.cuda.memory._record_memory_history({arguments})"
    path = write_model(MODEL.format(first="", early=early))
    with runner(path, device) as (found, profile):
        trace = found.run(profile, CONFIG)
        assert found.requests(profile, CONFIG) == (trace, None)
        assert found.record(profile, CONFIG) == (trace, None)


def test_one_tensor_beyond_the_addresses_of_expandable_segments_does_not_fit(
    write_model: WriteModel,
) -> None:
    """They reach over 9/8 of the card: 18 GiB on a T4. PyTorch reads past their end beyond it."""
    path = write_model(
        """
        def build_model():
            return nn.Linear(8, 8)

        def build_batch(batch_size):
            return torch.randn(batch_size, 8)

        def training_step(model, batch):
            held = torch.empty(20 << 30, dtype=torch.uint8, device=batch.device)
            return model(batch).mean() + held[0]
        """
    )
    options = {"gpu": "t4", "max_batch": False, "alloc_conf": "expandable_segments:True"}
    estimate = planner.estimate(path, **options)  # type: ignore[arg-type] # of the table
    assert not estimate.fits()
    assert any("9/8 of the card" in warning for warning in estimate.warnings)
