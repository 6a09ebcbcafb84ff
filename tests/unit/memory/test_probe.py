"""Tests of how probes end: the words of runs, and which of them say something about memory."""

from __future__ import annotations

import pytest

from planner.memory.probe import ProbeOutcome, is_about_memory, probe_outcome
from planner.wire.trace import RunOutcome


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (RunOutcome.COMPLETED, ProbeOutcome.FITS),
        (RunOutcome.OUT_OF_MEMORY, ProbeOutcome.OOM),
        (RunOutcome.CUDA_ERROR, ProbeOutcome.CUDA_ERROR),
        (RunOutcome.MODEL_ERROR, ProbeOutcome.MODEL_ERROR),
    ],
)
def test_a_run_that_ended_is_a_probe(run: RunOutcome, expected: ProbeOutcome) -> None:
    assert probe_outcome(run) is expected


@pytest.mark.parametrize("run", RunOutcome)
def test_each_end_of_a_run_is_a_word_of_probes(run: RunOutcome) -> None:
    assert isinstance(probe_outcome(run), ProbeOutcome)


@pytest.mark.parametrize("outcome", ProbeOutcome)
def test_only_these_say_something_about_memory(outcome: ProbeOutcome) -> None:
    assert is_about_memory(outcome) is (outcome.value in {"fits", "oom"})
