"""How a command ended becomes one report, or a sentence that says what was seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.errors import ChildError, ChildTimeoutError, ModelError, PlannerError, UsageError
from planner.process.script.ends import (
    ScriptLimits,
    early_end,
    further_processes,
    is_inference,
    report_of,
)
from planner.process.script.watched_command import CommandResult
from planner.wire.jobs import RunAnswer
from planner.wire.script import ScriptEnd, ScriptReport
from planner.wire.trace import Failure, RunOutcome, StepTrace
from planner.wire.warden import REFUSED_CODE, CommandEnded, Shield, ShieldKind

LIMITS = ScriptLimits(steps=3, timeout_s=60.0)
TRACE = StepTrace(
    outcome=RunOutcome.COMPLETED,
    batch_size=8,
    peak_allocated_bytes=1,
    peak_active_bytes=1,
    peak_reserved_bytes=1,
)
DONE = ScriptReport(
    end=ScriptEnd.STEPS_DONE,
    answer=RunAnswer(trace=TRACE),
    steps=3,
    torch="2.14.1",
    cuda="13.0",
    python="3.11.7",
)
ENDED = CommandEnded(code=0, left=0)
RESULT = CommandResult(
    reports=(),
    ended=ENDED,
    shield=Shield(kind=ShieldKind.NAMESPACES),
    timed_out=False,
    stack="",
    torch_seen=True,
)
IDLE = replace(DONE, end=ScriptEnd.ENDED, steps=0, used_card=False)


def test_the_process_with_most_steps_counts() -> None:
    result = replace(RESULT, reports=(IDLE, DONE, replace(IDLE, used_card=True)))
    assert report_of(result, LIMITS) is DONE


def test_an_exception_counts_before_a_process_that_did_nothing() -> None:
    failed = replace(TRACE, outcome=RunOutcome.MODEL_ERROR, failure=Failure(kind="E", message="m"))
    report = replace(
        DONE, end=ScriptEnd.EXCEPTION, steps=0, used_card=False, answer=RunAnswer(trace=failed)
    )
    assert report_of(replace(RESULT, reports=(IDLE, report)), LIMITS) is report


@pytest.mark.parametrize(
    ("result", "kind", "said"),
    [
        (replace(RESULT, reports=(IDLE,)), ModelError, "without using the card"),
        (
            replace(RESULT, reports=(replace(IDLE, used_card=True),)),
            ModelError,
            "before an optimizer made a step",
        ),
        (
            replace(RESULT, reports=(replace(DONE, used_card=False),)),
            ModelError,
            "made 3 optimizer steps and never used the card",
        ),
        (replace(RESULT, ended=CommandEnded(code=77, left=0)), ChildError, "could not report"),
        (replace(RESULT, torch_seen=False), ModelError, "no Python of it imported torch"),
        (RESULT, ModelError, "without Python's exit handlers"),
        (
            replace(RESULT, ended=CommandEnded(code=0, left=2)),
            ModelError,
            "left 2 processes in the background",
        ),
        (
            replace(RESULT, ended=CommandEnded(code=-9, left=0)),
            ChildError,
            "killed by SIGKILL; the usual cause is that the host ran out of RAM",
        ),
        (
            replace(RESULT, reports=(replace(IDLE, end=ScriptEnd.REFUSED, refusal="2 ranks"),)),
            UsageError,
            "2 ranks",
        ),
        (replace(RESULT, ended=None), ChildError, "stopped before it had a result"),
        (
            replace(
                RESULT, ended=None, timed_out=True, stack=":\n  torch/utils/cpp_extension.py line 2"
            ),
            ChildTimeoutError,
            "run the script once without planner",
        ),
        (
            replace(RESULT, ended=None, timed_out=True, stack=":\n  train.py line 3"),
            ChildTimeoutError,
            "did not make 3 optimizer steps within 60 s",
        ),
        (
            replace(
                RESULT,
                ended=CommandEnded(code=REFUSED_CODE, left=0),
                shield=Shield(kind=ShieldKind.NOTHING, reasons=("unshare: denied",)),
            ),
            UsageError,
            "unshare: denied.*--allow-writes DIR",
        ),
    ],
)
def test_what_gives_no_figure_is_said(
    result: CommandResult, kind: type[PlannerError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        report_of(result, LIMITS)


INFERS = replace(IDLE, used_card=True)


def _with_peak(report: ScriptReport, peak_bytes: int) -> ScriptReport:
    trace = replace(TRACE, peak_allocated_bytes=peak_bytes, peak_reserved_bytes=peak_bytes)
    return replace(report, answer=RunAnswer(trace=trace))


def test_a_first_run_that_trains_nothing_is_one_of_inference() -> None:
    result = replace(RESULT, reports=(IDLE, INFERS))
    assert report_of(result, LIMITS, infers=None) is INFERS
    assert is_inference(result.reports)


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        pytest.param(IDLE, 0, "without using the card", id="no card"),
        pytest.param(_with_peak(INFERS, 0), 0, "put nothing on the card", id="nothing on it"),
        pytest.param(replace(INFERS, called_backward=True), 0, "after a backward", id="backward"),
        pytest.param(INFERS, 3, "with exit code 3 before an optimizer", id="exit code"),
    ],
)
def test_other_first_runs_without_a_step_are_errors(
    report: ScriptReport, code: int, said: str
) -> None:
    result = replace(RESULT, reports=(report,), ended=CommandEnded(code=code, left=0))
    with pytest.raises(ModelError, match=said):
        report_of(result, LIMITS, infers=None)


def test_a_process_that_trains_keeps_a_command_from_inference() -> None:
    backward = replace(INFERS, called_backward=True)
    with pytest.raises(ModelError, match="before an optimizer made a step"):
        report_of(replace(RESULT, reports=(INFERS, backward)), LIMITS, infers=None)
    assert report_of(replace(RESULT, reports=(INFERS, DONE)), LIMITS, infers=None) is DONE


def test_of_several_processes_that_infer_the_highest_peak_counts() -> None:
    low, high = (_with_peak(replace(INFERS, steps=1), peak) for peak in (5, 7))
    result = replace(RESULT, reports=(low, high, IDLE))
    assert report_of(result, LIMITS, infers=True) is high
    assert further_processes(result) == 1


def test_a_later_run_of_an_inference_must_end_alike() -> None:
    full = replace(INFERS, steps=1, recovered_out_of_memory=2)
    result = replace(RESULT, reports=(full,), ended=CommandEnded(code=1, left=0))
    with pytest.raises(ModelError, match=r"exit code 1, and in .* with 0; .* 2 times"):
        report_of(result, LIMITS, infers=True)


@pytest.mark.parametrize(
    ("infers", "said"),
    [
        (None, "did not make 3 optimizer steps, nor end, within 60 s"),
        (True, "did not end within 60 s"),
    ],
)
def test_a_script_that_goes_on_is_told_what_it_did_not(infers: bool | None, said: str) -> None:
    with pytest.raises(ChildTimeoutError, match=said):
        report_of(replace(RESULT, ended=None, timed_out=True), LIMITS, infers=infers)


def test_a_script_with_few_data_is_a_warning() -> None:
    early = replace(DONE, end=ScriptEnd.ENDED, steps=2)
    said = early_end(early, LIMITS, CommandEnded(code=3, left=0))
    assert said is not None
    assert said.startswith(
        "the script ended by itself with exit code 3 after 2 of 3 optimizer steps"
    )
    assert early_end(DONE, LIMITS, None) is None
