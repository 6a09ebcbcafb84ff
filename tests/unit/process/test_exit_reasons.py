"""How a run ended, in words."""

from __future__ import annotations

import pytest

import planner.errors
from planner.process.exit_reasons import death, ending, told_stack
from planner.wire.protocol import CLOSED_PIPE_CODE, JobEnded


@pytest.mark.parametrize(
    ("code", "hinted"),
    [(127, True), (1, False)],
    ids=["undefined symbol", "sys.exit"],
)
def test_a_function_that_is_missing_at_its_first_call_is_a_hint(code: int, hinted: bool) -> None:
    said = death(JobEnded(number=1, exit_code=code), "the run with batch 4")
    assert said.startswith("the run with batch 4 ended before it had a result: ")
    assert f"exit code {code}" in said
    assert ('"symbol lookup error"' in said) is hinted


def test_a_run_that_could_not_answer_says_why() -> None:
    said = death(JobEnded(number=1, exit_code=CLOSED_PIPE_CODE), "the run with batch 4")
    assert said.startswith(
        "the run with batch 4 could not give its result: the model's code closed"
    )
    assert "did not open" in ending(CLOSED_PIPE_CODE, "while importing")
    assert ending(-9, "while importing").startswith(
        "the child process ended while importing: killed by SIGKILL; the usual cause"
    )
    assert ending(3, "while importing").endswith("exit code 3")


USER = '  File "/home/me/model.py", line 7 in forward'
OWN = f'  File "{planner.errors.__file__}", line 1 in step'


def test_a_stack_that_several_processes_share_is_told_once_without_our_frames() -> None:
    one = f"Thread 0x1 (most recent call first):\n{USER}\n{OWN}\n\n"
    other = f"Current thread 0x2 (most recent call first):\n{USER}\n{OWN}\n"
    assert told_stack(one + other) == f":\nThread 0x1 (most recent call first):\n{USER}"


def test_a_report_without_frames_of_the_user_is_nothing() -> None:
    assert told_stack("") == ""
    assert told_stack(f"Thread 0x1 (most recent call first):\n{OWN}\n") == ""
