"""How a command ended becomes one report, or a sentence that says what was seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.errors import ChildError, ChildTimeoutError, ModelError, PlannerError, UsageError
from planner.process.script.ends import ScriptLimits, early_end, report_of
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


def test_a_script_with_few_data_is_a_warning() -> None:
    early = replace(DONE, end=ScriptEnd.ENDED, steps=2)
    said = early_end(early, LIMITS, CommandEnded(code=3, left=0))
    assert said is not None
    assert said.startswith(
        "the script ended by itself with exit code 3 after 2 of 3 optimizer steps"
    )
    assert early_end(DONE, LIMITS, None) is None
