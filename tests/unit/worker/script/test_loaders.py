"""The first DataLoader that shuffles is that of the training, and can get another batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from planner.worker.script.loaders import TrainingLoader

DATA = TensorDataset(torch.arange(64))


@pytest.fixture
def watched() -> Iterator[Callable[[int | None], TrainingLoader]]:
    """Watches DataLoaders; the class is as before at the end."""
    made = DataLoader.__init__

    def watch(batch_size: int | None) -> TrainingLoader:
        found = TrainingLoader(batch_size)
        found.watch()
        return found

    yield watch
    DataLoader.__init__ = made  # type: ignore[method-assign] # as it was


def test_its_batch_size_is_seen(watched: Callable[[int | None], TrainingLoader]) -> None:
    seen = watched(None)
    DataLoader(DATA, 4)
    assert seen.batch_size is None
    loader = DataLoader(DATA, 8, True)
    DataLoader(DATA, batch_size=16, shuffle=True)
    assert (seen.batch_size, loader.batch_size) == (8, 8)


def test_it_is_changed_and_others_are_not(
    watched: Callable[[int | None], TrainingLoader],
) -> None:
    seen = watched(32)
    first = DataLoader(DATA, batch_size=8, sampler=RandomSampler(DATA))
    alike = DataLoader(DATA, batch_size=8, shuffle=True)
    other = DataLoader(DATA, batch_size=16, shuffle=True)
    evaluation = DataLoader(DATA, batch_size=8)
    sizes = [one.batch_size for one in (first, alike, other, evaluation)]
    assert sizes == [32, 32, 16, 8]
    assert len(next(iter(first))[0]) == 32
    assert seen.batch_size == 8


def test_a_wrong_call_fails_as_before(watched: Callable[[int | None], TrainingLoader]) -> None:
    watched(32)
    with pytest.raises(TypeError):
        DataLoader(DATA, nothing=1)  # type: ignore[call-arg] # what is tested


@pytest.mark.parametrize("batch_size", [16, 100])
def test_a_larger_batch_is_full_and_an_epoch_keeps_its_batches(
    watched: Callable[[int | None], TrainingLoader], batch_size: int
) -> None:
    watched(batch_size)
    loader = DataLoader(DATA, batch_size=8, shuffle=True)
    assert [len(batch) for (batch,) in loader] == [batch_size] * 8
