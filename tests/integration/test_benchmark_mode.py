"""cuDNN's benchmark mode on an emulated card, which has no times to choose by."""

from __future__ import annotations

import pytest

from tests.integration.child_runs import WriteModel, traces

pytestmark = pytest.mark.slow

MODEL = """
torch.backends.cudnn.benchmark = {mode}

def build_model():
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1, groups=64),
        nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1),
    )

def build_batch(batch_size):
    return torch.randn(batch_size, 3, 64, 64)
"""


def test_the_same_engines_win_each_time_and_it_is_said(write_model: WriteModel) -> None:
    first, second, third = traces(write_model(MODEL.format(mode=True)), {}, {}, {})
    assert first.peak_allocated_bytes == second.peak_allocated_bytes == third.peak_allocated_bytes
    assert first.peak_reserved_bytes == second.peak_reserved_bytes == third.peak_reserved_bytes
    assert any("least workspace is taken to win" in note for note in first.assumptions)


def test_trying_engines_takes_no_less_than_the_engines_that_are_chosen_without(
    write_model: WriteModel,
) -> None:
    (tried,) = traces(write_model(MODEL.format(mode=True)), {})
    (chosen,) = traces(write_model(MODEL.format(mode=False), "plain.py"), {})
    # Beside the workspaces both hold the same; the first step tries the largest of them.
    assert tried.step_peak_allocated_bytes[0] >= chosen.step_peak_allocated_bytes[0]
    assert not any("least workspace" in note for note in chosen.assumptions)
