"""Which kept runs may stand for a card: those of a search that was finished, and not its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from planner.config.step import StepConfig
from planner.emulator.profile import UNLIMITED_BYTES
from planner.estimation.context import RunContext
from planner.estimation.kept_device import ReplayedDevice, _runs_like
from planner.estimation.size_axes import ImageAxis
from planner.memory.budget import MemoryBudget
from planner.process.kept.answers import FinishedSearch
from planner.process.kept.runs import KeptRuns, NotKeptError
from planner.wire.jobs import RunJob
from planner.wire.trace import Recording

CONFIG = StepConfig(batch_size=4)
EXPANDABLE = StepConfig(batch_size=4, alloc_conf="expandable_segments:True")


def profile(name: str, capacity_bytes: int = UNLIMITED_BYTES) -> str:
    return f"name={name} (emulated)\nmajor=8\nminor=6\ncapacity_bytes={capacity_bytes}\n"


def finished(name: str, limit_bytes: int, config: StepConfig = CONFIG) -> FinishedSearch:
    job = RunJob(profile=profile(name), config=config, recording=Recording.EVENTS)
    return FinishedSearch(job=job, limited=profile(name, limit_bytes))


def chosen(*found: FinishedSearch) -> list[str]:
    """Returns the profiles and settings of the runs that may stand for a 3090 with 24 bytes."""
    cards = SimpleNamespace(
        unlimited=lambda _: profile("3090"), limited=lambda _: profile("3090", 24)
    )
    setup = cast(RunContext, SimpleNamespace(config=CONFIG, cards=cards))
    answers: Any = SimpleNamespace(finished=lambda job: list(found))
    jobs = _runs_like(setup, KeptRuns(answers=answers), cast(MemoryBudget, None))
    return [f"{job.profile.split()[0]} {job.config.alloc_conf}" for job in jobs]


def test_the_card_itself_comes_first_then_its_setting() -> None:
    found = chosen(finished("a40", 48), finished("3090", 20, EXPANDABLE), finished("3090", 20))
    assert found == [
        "name=3090 None", "name=3090 expandable_segments:True", "name=a40 None"
    ]  # fmt: skip


def test_nothing_stands_for_a_search_of_its_own_that_was_finished() -> None:
    """It met a failure, which is not kept: a replay would give another answer than the runs."""
    with pytest.raises(NotKeptError):
        chosen(finished("a40", 48), finished("3090", 24))


def test_nothing_stands_where_nothing_was_finished() -> None:
    with pytest.raises(NotKeptError):
        chosen()


def test_nothing_stands_for_a_search_of_the_largest_image() -> None:
    """Kept runs at other sizes are not looked up, so an answer would leave the size out."""
    cards = SimpleNamespace(
        unlimited=lambda _: profile("3090"), limited=lambda _: profile("3090", 24)
    )
    axis = ImageAxis(height=512, width=512, unit=64)
    setup = SimpleNamespace(config=CONFIG, cards=cards, size_axes=(axis,))
    answers: Any = SimpleNamespace(finished=lambda job: [finished("a40", 48)])
    device = ReplayedDevice(
        setup=cast(RunContext, setup),
        kept=KeptRuns(answers=answers),
        budget=cast(MemoryBudget, None),
    )
    with pytest.raises(NotKeptError):
        device.answer(True)
