"""Answers are given again for the same job alone, and only what may be kept is kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from planner.config.generation import ImageSize, TokenWindow
from planner.config.parallel import DataParallel, ParallelConfig
from planner.config.step import (
    BuildOn,
    CompileMode,
    DataDependent,
    InputSpec,
    Mode,
    Offload,
    OptimizerName,
    Precision,
    SizeAt,
    StepConfig,
)
from planner.emulator.profile import UNLIMITED_BYTES
from planner.process.kept.answers import FinishedSearch, KeptAnswers, KeptAxis
from planner.process.kept.state import now_ns
from planner.process.kept.store import Store
from planner.wire.jobs import CountJob, NeedsValues, RunAnswer, RunJob
from planner.wire.own_lever import OwnLever
from planner.wire.protocol import ChildVersions, Loaded
from planner.wire.reads import Reads
from planner.wire.trace import Failure, Recording, RequestLog, RunOutcome, StepTrace
from planner.wire.value_reads import ReadLog, ValuesPass, ValuesRequest

PROFILE = f"name=T4\nmajor=7\nminor=5\nmultiprocessors=40\ncapacity_bytes={UNLIMITED_BYTES}\n"
CONFIG = StepConfig(batch_size=4)
JOB = RunJob(profile=PROFILE, config=CONFIG)
VERSIONS = ChildVersions(torch="2.9.0", cuda="13.0", python="3.11.7")
LEVERS = (OwnLever(name="narrow", arguments=(("width", 2),), note="half the width"),)
KEPT_LOAD = Loaded(versions=VERSIONS, levers=LEVERS)
NO_READS = Reads()


def trace(outcome: RunOutcome = RunOutcome.COMPLETED) -> StepTrace:
    return StepTrace(
        outcome=outcome,
        batch_size=4,
        peak_allocated_bytes=1,
        peak_active_bytes=2,
        peak_reserved_bytes=3,
        failure=None
        if outcome is RunOutcome.COMPLETED
        else Failure(kind="ValueError", message="no"),
    )


ANSWER = RunAnswer(trace=trace())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "net.py"
    file.write_text("WIDTH = 1")
    time.sleep(0.02)  # older than any child that is started now
    return file


def opened(tmp_path: Path, environment: Mapping[str, str] | None = None) -> KeptAnswers:
    return KeptAnswers(Store(folder=tmp_path / "answers"), "key", environment or {})


def loaded(model: Path, **more: Any) -> Loaded:
    reads = Reads(modules=(str(model),), **more)
    return Loaded(versions=VERSIONS, reads=reads, levers=LEVERS)


def filled(tmp_path: Path, model: Path, job: RunJob = JOB) -> KeptAnswers:
    kept = opened(tmp_path)
    assert kept.keep_loaded(loaded(model), now_ns())
    kept.keep(job, ANSWER, NO_READS)
    assert kept.reason is None
    return kept


def test_an_answer_is_given_again(tmp_path: Path, model: Path) -> None:
    assert opened(tmp_path).loaded() is None
    filled(tmp_path, model)
    again = opened(tmp_path)
    assert again.answer(JOB) is None, "nothing is known of the target yet"
    assert again.loaded() == KEPT_LOAD
    assert again.answer(JOB) == ANSWER


def test_an_edit_of_a_module_is_a_miss_and_its_undoing_a_hit(tmp_path: Path, model: Path) -> None:
    filled(tmp_path, model)
    model.write_text("WIDTH = 2")
    assert opened(tmp_path).loaded() is None
    model.write_text("WIDTH = 1")
    assert opened(tmp_path).loaded() == KEPT_LOAD


OTHER_VALUES: dict[str, Any] = {
    "batch_size": 5, "sequence_length": 128, "mode": Mode.INFER, "precision": Precision.BF16,
    "optimizer": OptimizerName.SGD, "optimizer_arguments": (("lr", 0.1),),
    "inputs": (InputSpec(shape=(3,)),), "channels_last": True, "checkpoint_activations": True,
    "accumulate": 2, "set_to_none": False, "steps": 2, "build_on": BuildOn.CPU,
    "alloc_conf": "expandable_segments:True", "data_dependent": DataDependent.MOST,
    "size_at": (SizeAt(file="net.py", line=1, size=2),), "batch_from_data": True,
    "clip_grad_norm": 1.0, "ema": 0.9, "checkpoint_blocks": "every:2", "chunked_loss": 4,
    "compile": CompileMode.DEFAULT,
    "optimizer_in_backward": True, "offload": (Offload.ACTIVATIONS,),
    "parallel": ParallelConfig(gpus=8, data=DataParallel.FSDP, shard=8),
    "window": TokenWindow(skipped=4, tokens=4),
    "size": ImageSize(height=64, width=64),
}  # fmt: skip
OTHER_JOBS: dict[str, RunJob | CountJob] = {
    **{
        name: replace(JOB, config=replace(CONFIG, **{name: value}))
        for name, value in OTHER_VALUES.items()
    },
    "card": replace(JOB, profile=PROFILE.replace("40", "41")),
    "limit": replace(JOB, profile=PROFILE.replace(str(UNLIMITED_BYTES), "7")),
    "recording": replace(JOB, recording=Recording.REQUESTS),
    "pass": replace(JOB, values=ValuesRequest(kind=ValuesPass.VALUES)),
    "seed": replace(JOB, values=ValuesRequest(seed=1)),
    "log": replace(JOB, values=ValuesRequest(log=ReadLog(seed=1))),
    "kind": CountJob(profile=PROFILE, config=CONFIG, depth=0),
}


def test_every_field_of_a_step_is_in_the_table() -> None:
    assert OTHER_VALUES.keys() >= {field.name for field in fields(StepConfig)}


@pytest.mark.parametrize("job", OTHER_JOBS.values(), ids=OTHER_JOBS.keys())
def test_another_job_is_a_miss(tmp_path: Path, model: Path, job: RunJob | CountJob) -> None:
    kept = filled(tmp_path, model)
    assert kept.answer(JOB) == ANSWER
    assert kept.answer(job) is None


def test_what_the_job_itself_has_read_counts_too(tmp_path: Path, model: Path) -> None:
    kept = opened(tmp_path)
    kept.keep_loaded(loaded(model), now_ns())
    late = tmp_path / "late.json"
    kept.keep(JOB, ANSWER, Reads(files=(str(late),)))
    again = opened(tmp_path)
    assert again.loaded() == KEPT_LOAD
    if kept.reason is None:  # the folder is as old as its newest file
        assert again.answer(JOB) == ANSWER
    late.write_text("{}")
    last = opened(tmp_path)
    assert last.loaded() == KEPT_LOAD
    assert last.answer(JOB) is None


@pytest.mark.parametrize("outcome", [RunOutcome.MODEL_ERROR, RunOutcome.CUDA_ERROR])
def test_a_failure_is_not_kept(tmp_path: Path, model: Path, outcome: RunOutcome) -> None:
    kept = opened(tmp_path)
    kept.keep_loaded(loaded(model), now_ns())
    kept.keep(JOB, RunAnswer(trace=trace(outcome)), NO_READS)
    assert kept.answer(JOB) is None


def test_a_need_for_values_is_kept(tmp_path: Path, model: Path) -> None:
    kept = opened(tmp_path)
    kept.keep_loaded(loaded(model), now_ns())
    kept.keep(JOB, NeedsValues(), NO_READS)
    assert kept.answer(JOB) == NeedsValues()


def test_a_child_for_one_run_is_not_kept(tmp_path: Path, model: Path) -> None:
    kept = opened(tmp_path)
    kept.keep_loaded(replace(loaded(model), single_run="it uses the card"), now_ns())
    kept.keep(JOB, ANSWER, NO_READS)
    assert kept.reason == "it uses the card"
    assert opened(tmp_path).loaded() is None


def test_unknown_reads_are_not_kept(tmp_path: Path, model: Path) -> None:
    kept = opened(tmp_path)
    kept.keep_loaded(loaded(model, unkept="opens a connection"), now_ns())
    assert kept.reason == "the model's code opens a connection while it is imported"
    kept = opened(tmp_path)
    kept.keep_loaded(loaded(model), now_ns())
    kept.keep(JOB, ANSWER, Reads(unkept="starts a process"))
    assert kept.reason is not None
    assert kept.reason.endswith(": the step starts a process")
    assert kept.answer(JOB) is None


def test_a_file_edited_while_it_is_loaded_is_not_kept(tmp_path: Path, model: Path) -> None:
    kept = opened(tmp_path)
    since_ns = now_ns()
    time.sleep(0.02)
    model.write_text("WIDTH = 2")
    kept.keep_loaded(loaded(model), since_ns)
    assert kept.reason == "a file has changed while the model was loaded"
    assert opened(tmp_path).loaded() is None


def test_a_target_that_changed_since_it_was_looked_up_is_noticed(
    tmp_path: Path, model: Path
) -> None:
    filled(tmp_path, model)
    kept = opened(tmp_path)
    assert kept.loaded() == KEPT_LOAD
    model.write_text("WIDTH = 2")
    time.sleep(0.02)
    assert not kept.keep_loaded(loaded(model), now_ns())


def test_recorded_runs_are_found_for_another_card_and_batch(tmp_path: Path, model: Path) -> None:
    log = RequestLog(kinds=(), blocks=(), sizes_bytes=(), streams=())
    job = replace(JOB, recording=Recording.REQUESTS)
    kept = filled(tmp_path, model, job)
    kept.keep(job, RunAnswer(trace=trace(), requests=log), NO_READS)
    other = PROFILE.replace("T4", "Quadro RTX 8000").replace("40", "72")
    setting = replace(CONFIG, batch_size=9, alloc_conf="expandable_segments:True")
    assert kept.recorded(other, setting, KeptAxis.BATCH) == [job]
    assert kept.recorded(other.replace("minor=5", "minor=0"), setting, KeptAxis.BATCH) == []
    assert kept.recorded(other, replace(setting, steps=2), KeptAxis.BATCH) == []
    assert kept.recorded(other, setting, KeptAxis.SEQUENCE) == []


def test_runs_with_a_limit_are_not_replayed(tmp_path: Path, model: Path) -> None:
    job = RunJob(
        profile=PROFILE.replace(str(UNLIMITED_BYTES), "9"),
        config=CONFIG,
        recording=Recording.REQUESTS,
    )
    kept = filled(tmp_path, model, job)
    assert kept.recorded(PROFILE, CONFIG, KeptAxis.BATCH) == []


def test_finished_searches_are_found_for_another_card_and_setting(
    tmp_path: Path, model: Path
) -> None:
    job = replace(JOB, recording=Recording.EVENTS)
    kept = filled(tmp_path, model)
    done = FinishedSearch(job=job, limited="limit")
    other = replace(
        job,
        profile=PROFILE.replace("40", "72"),
        config=replace(CONFIG, alloc_conf="expandable_segments:True"),
    )
    assert kept.finished(other) == []
    kept.keep_finished(done)
    assert kept.finished(other) == [done]
    assert kept.finished(replace(other, config=replace(CONFIG, batch_size=9))) == []
    assert kept.finished(replace(other, profile=PROFILE.replace("minor=5", "minor=6"))) == []


def test_a_full_disk_is_a_warning(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = opened(tmp_path)
    kept.keep_loaded(loaded(model), now_ns())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "write", full)
    kept.keep(JOB, ANSWER, NO_READS)
    assert kept.warning is not None
    assert kept.warning.endswith("No space left on device")


def test_a_garbled_answer_is_a_miss(tmp_path: Path, model: Path) -> None:
    kept = filled(tmp_path, model)
    store = Store(folder=tmp_path / "answers")
    for path in (tmp_path / "answers").rglob("*"):
        if path.is_file() and path.name not in ("load",) and path.parent.name != "names":
            name = str(path.relative_to(tmp_path / "answers"))
            store.write(name, b'{"kind":"RunAnswer"}\n{}')
    assert kept.answer(JOB) is None
