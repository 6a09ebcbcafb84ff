"""How the processes of a script ended becomes one report, or an error that says what was seen.

In: a CommandResult, limits. Out: the ScriptReport that counts. Convention: a script that ends by
itself with exit code 0 is one of inference where it has used memory of the card, has called no
backward and has made no optimizer step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.errors import ChildError, ChildTimeoutError, ModelError, UsageError
from planner.process.exit_reasons import hint, signal_name
from planner.process.script.watched_command import CommandResult, was_refused
from planner.units import counted
from planner.wire.script import ENDED_CODE, PlayedRank, ScriptEnd, ScriptReport
from planner.wire.trace import RunOutcome
from planner.wire.warden import CommandEnded, ShieldKind

_SHIELDS = (ShieldKind.NAMESPACES, ShieldKind.LANDLOCK)
_EXTENSIONS = "torch/utils/cpp_extension.py"
_COMPILES = (
    ". It compiles an extension, which is lost after each run: run the script once without "
    "planner, or keep it with --allow-writes ~/.cache/torch_extensions"
)
_ENDS = (ScriptEnd.STEPS_DONE, ScriptEnd.EXCEPTION, ScriptEnd.ENDED, ScriptEnd.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptLimits:
    """Steps and seconds of a run, folders whose writes are kept, and shields to try.

    `ranks` is the rank that is played of a job on several GPUs.
    """

    steps: int
    timeout_s: float
    kept: tuple[Path, ...] = ()
    shields: tuple[ShieldKind, ...] = _SHIELDS
    ranks: PlayedRank | None = None


def report_of(
    result: CommandResult, limits: ScriptLimits, *, infers: bool | None = False
) -> ScriptReport:
    """Returns the report that counts: of the process that made the most steps.

    `infers` is whether the script is one of inference, whose process with the highest peak counts;
    None: this run decides.

    Raises:
        PlannerError: there is none that gives a figure; says why.
    """
    if was_refused(result):
        raise UsageError(
            "nothing on this machine keeps what the script writes from the disk "
            f"({'; '.join(result.shield.reasons)}). Name the folders that it may write with "
            "--allow-writes DIR, or allow all with --allow-writes /"
        )
    if result.timed_out:
        raise ChildTimeoutError(
            f"the script did not {_wanted(limits, infers)} within {limits.timeout_s:g} s "
            f"and was stopped; allow more with --timeout, or look where it waits"
            f"{_COMPILES if _EXTENSIONS in result.stack else ''}{result.stack}"
        )
    if not result.reports:
        raise _without_report(result)
    found = max(result.reports, key=lambda one: _weight(one, infers))
    refusals = [one.refusal for one in result.reports if one.end is ScriptEnd.REFUSED]
    if refusals:
        raise UsageError(refusals[0])
    if found.end is ScriptEnd.EXCEPTION:
        return found
    code = 0 if result.ended is None else result.ended.code
    if infers and code:
        raise ModelError(_another_code(found, code))
    if not found.steps:
        if infers is None and code == 0 and is_inference(result.reports):
            return found
        raise ModelError(_without_a_step(found, result))
    check_card_used(found, "script")
    return found


def is_inference(reports: Sequence[ScriptReport]) -> bool:
    """Returns whether the processes of a script or block are those of an inference."""
    return not any(one.steps or one.called_backward for one in reports) and any(
        one.end is ScriptEnd.ENDED and _has_memory(one) for one in reports
    )


def further_processes(result: CommandResult) -> int:
    """Returns how many processes used memory of the card, besides the one that counts."""
    return max(0, sum(_has_memory(one) for one in result.reports) - 1)


def _has_memory(report: ScriptReport) -> bool:
    return report.used_card and report.answer.trace.peak_allocated_bytes > 0


def _weight(report: ScriptReport, infers: bool | None) -> tuple[int, bool, int, int]:
    """Returns by what the report that counts is the greatest."""
    can_infer = infers or (infers is None and is_inference([report]))
    peak_bytes = report.answer.trace.peak_reserved_bytes if can_infer else 0
    return report.steps, report.used_card, -_ENDS.index(report.end), peak_bytes


def _wanted(limits: ScriptLimits, infers: bool | None) -> str:
    steps = f"make {limits.steps} optimizer steps"
    return "end" if infers else f"{steps}, nor end," if infers is None else steps


def _another_code(found: ScriptReport, code: int) -> str:
    times = found.recovered_out_of_memory
    why = f"; the card was full {counted(times, 'time')} in it" if times else ""
    return f"the script ended with exit code {code}, and in its first run with 0{why}"


def check_card_used(report: ScriptReport, what: str) -> None:
    """Checks a script or block that has made steps.

    Raises:
        ModelError: it never used the card.
    """
    if not report.used_card:
        raise ModelError(
            f"the {what} made {report.steps} optimizer steps and never used the card: it trains on "
            "the CPU. Look at the device that it chooses"
        )


def _without_report(result: CommandResult) -> ModelError | ChildError:
    ended = result.ended
    if ended is None:
        return ChildError("the script was stopped before it had a result")
    if ended.code == ENDED_CODE:
        return ChildError(
            "the script made its steps, and planner could not report them; what it printed says "
            "why. Please report this"
        )
    if ended.left:
        return ModelError(
            f"the command ended at once and left {ended.left} processes in the background, which "
            "were stopped: start the script in the foreground"
        )
    if ended.code < 0:
        number = -ended.code
        return ChildError(
            f"the script ended before it had a result: killed by {signal_name(number)}"
            f"{hint(number)}"
        )
    if not result.torch_seen:
        return ModelError(
            f"the command ended (exit code {ended.code}) and no Python of it imported torch; "
            "what it printed says why. `python -I` and a PYTHONPATH of its own keep planner out"
        )
    return ModelError(
        f"the script left its process (exit code {ended.code}) before it made a step, without "
        "Python's exit handlers: os._exit, or a crash in native code"
    )


def _without_a_step(found: ScriptReport, result: CommandResult) -> str:
    code = "" if result.ended is None else f" with exit code {result.ended.code}"
    if not found.used_card:
        return (
            f"the script ended{code} without using the card: it imported torch, made no optimizer "
            "step and put nothing on the card"
        )
    return f"the script ended{code} {without_step(found)}"


def without_step(found: ScriptReport) -> str:
    """Returns what a script or block that used the card has not done before its end."""
    if found.called_backward:
        also = ", after a backward"
    else:
        also = "" if _has_memory(found) else ", and put nothing on the card"
    return (
        f"before an optimizer made a step{also}; optimizers are seen that are subclasses of "
        "torch.optim.Optimizer"
    )


def early_end(report: ScriptReport, limits: ScriptLimits, ended: CommandEnded | None) -> str | None:
    """Returns a warning where the script made fewer steps than it was given."""
    if (
        report.end is ScriptEnd.STEPS_DONE
        or report.answer.trace.outcome is not RunOutcome.COMPLETED
    ):
        return None
    code = f" with exit code {ended.code}" if ended is not None and ended.code else ""
    return (
        f"the script ended by itself{code} after {report.steps} of {limits.steps} optimizer steps "
        "(few data, early stopping, or its own limit): the peak of later steps may be higher"
    )
