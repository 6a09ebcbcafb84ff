"""From the answers of the cards to one Estimate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.card_run import CardAnswer
from planner.memory.budget import memory_budgets
from planner.memory.capacity import Capacity, Probe, Verdict
from planner.results import Estimate, Versions
from planner.summary import summarize
from planner.trace import Counts, Outcome, StepTrace, ValueRead
from planner.units import GIB, MIB
from planner.workload import StepConfig

VERSIONS = Versions(torch="2.14.1", cuda="13.0", cudnn=None, python="3.11.7", planner="0.1.0")
TRACE = StepTrace(
    outcome=Outcome.COMPLETED,
    batch_size=8,
    peak_allocated_bytes=5 * GIB,
    peak_active_bytes=5 * GIB,
    peak_reserved_bytes=6 * GIB,
    optimizer="AdamW",
    build_on="meta",
    counts=Counts(parameters=10, trainable_parameters=9, buffers=1),
    attention_backends=("flash",),
)


@pytest.fixture(autouse=True)
def _no_allocator_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)


def answer(card: str = "t4", capacity: Capacity | None = None, **trace: Any) -> CardAnswer:
    (budget,) = memory_budgets([card], hardware_db=None, gpu_memory=None, reserve="1GiB")
    return CardAnswer(budget=budget, trace=replace(TRACE, **trace), fits=True, capacity=capacity)


def summary(*answers: CardAnswer, run_warnings: tuple[str, ...] = (), **config: Any) -> Estimate:
    return summarize("net.py", StepConfig(**config), answers, VERSIONS, run_warnings)


def test_figures_come_from_trace_and_card() -> None:
    found = summary(answer(), answer("rtx3090", peak_reserved_bytes=7 * GIB))
    assert (found.target, found.optimizer, found.build_on) == ("net.py", "AdamW", "meta")
    assert (found.counts, found.versions) == (TRACE.counts, VERSIONS)
    t4, rtx3090 = found.gpus
    assert (t4.requested, t4.name) == ("t4", "Tesla T4")
    assert (t4.usable_memory_bytes, t4.context_overhead_bytes) == (14909 * MIB, 198 * MIB)
    assert (t4.peak_allocated_bytes, t4.peak_reserved_bytes) == (5 * GIB, 6 * GIB)
    assert t4.reserve_bytes == GIB
    assert t4.attention_backends == ("flash",)
    assert (t4.max_batch_size, t4.max_batch_is_bound) == (None, False)
    assert rtx3090.peak_reserved_bytes == 7 * GIB


def test_what_a_name_was_taken_for_is_an_assumption() -> None:
    found = summary(answer("a100"), answer("t4"))
    note = found.gpus[0].note
    assert note is not None
    assert found.assumptions == (f"a100: {note}",)


def test_texts_of_all_cards_are_said_once_others_name_their_card() -> None:
    found = summary(
        answer("t4", assumptions=("everywhere", "here"), warnings=("on both",)),
        answer("rtx3090", assumptions=("everywhere",), warnings=("on both",)),
    )
    assert found.assumptions == ("everywhere", "t4: here")
    assert found.warnings == ("on both",)


def test_values_read_name_their_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    reads = [
        ValueRead(file=str(tmp_path / "net.py"), line=3, function="forward", count=2),
        ValueRead(file="/elsewhere/loss.py", line=9, function="loss", count=1),
    ]
    (text,) = summary(answer(value_reads=tuple(reads))).assumptions
    assert text.endswith("net.py:3 in forward, 2 times; /elsewhere/loss.py:9 in loss")
    assert str(tmp_path) not in text


def test_many_values_read_are_counted() -> None:
    read = ValueRead(file="/net.py", line=1, function="forward", count=1)
    reads = tuple(replace(read, line=line) for line in range(1, 9))
    (text,) = summary(answer(value_reads=reads)).assumptions
    assert "/net.py:5 in forward; and 3 more places" in text
    assert "/net.py:6" not in text


def test_a_search_that_met_its_bound_warns() -> None:
    found = summary(answer(capacity=Capacity(max_batch_size=1 << 24, is_bound=True, probes=())))
    assert found.max_batch_size == 1 << 24
    assert found.gpus[0].max_batch_is_bound
    (warning,) = found.warnings
    assert warning.startswith("t4: the search for the largest batch stopped at its bound")


def test_a_batch_that_fails_for_another_reason_warns() -> None:
    probe = Probe(batch_size=5, verdict=Verdict.ERROR, detail="ValueError: odd")
    found = summary(answer(capacity=Capacity(max_batch_size=4, is_bound=False, probes=(probe,))))
    assert found.warnings == ("t4: batch 5 fails for another reason than memory: ValueError: odd",)


def test_warnings_of_the_runs_are_said_once() -> None:
    text = "a run ended with SIGSEGV after it had delivered its result"
    assert summary(answer(), run_warnings=(text, text)).warnings == (text,)


def test_allocator_settings_of_the_environment_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    (text,) = summary(answer()).assumptions
    assert "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True" in text
    assert summary(answer(), alloc_conf="max_split_size_mb:64").assumptions == ()
