"""Some micro-batches stand for very many."""

from __future__ import annotations

import pytest
import torch

from planner.config.parse import step_config
from planner.units import MIB
from planner.worker.drive.accumulation import MOST_RUN, Accumulation, shortened

CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("asked", "run"), [(1, 1), (MOST_RUN, MOST_RUN), (MOST_RUN + 1, MOST_RUN), (10**6, MOST_RUN)]
)
def test_at_most_so_many_are_run(asked: int, run: int) -> None:
    config = shortened(step_config({"accumulate": asked}))
    assert config.accumulate == run
    accumulation = Accumulation(asked=asked, device=CUDA)
    assert bool(accumulation.assumptions()) is (asked > run)
    assert accumulation.warnings() == ()


def _watched(asked: int, held: list[int], monkeypatch: pytest.MonkeyPatch) -> Accumulation:
    accumulation = Accumulation(asked=asked, device=CUDA)
    readings = iter(held)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: next(readings))
    for _ in held:
        accumulation.after_micro_batch()
    return accumulation


def test_memory_that_grows_is_a_warning_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = [number * MIB for number in range(MOST_RUN)]
    (warning,) = _watched(MOST_RUN + 1000, held, monkeypatch).warnings()
    assert "grew by 32.0 MiB" in warning
    assert "about 1000 MiB more" in warning


def test_memory_that_stays_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [5 * MIB, *[9 * MIB] * (MOST_RUN - 1)]  # the first makes the gradients
    assert _watched(10**6, held, monkeypatch).warnings() == ()
