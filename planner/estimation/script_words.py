"""Says what a report of a script or block rests on: its end, its batch, its disk.

In: the request, the report that counts, the last run. Out: assumptions and warnings as texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.estimation.script_request import ScriptRequest
from planner.process.script.ends import early_end, further_processes
from planner.process.script.runner import ScriptRunner
from planner.units import counted
from planner.wire.script import ScriptEnd, ScriptReport
from planner.wire.warden import ShieldKind

INFERS = (
    "the {what} makes no optimizer step: its whole run counts as one step of inference, timed from "
    "the first call of a model on"
)


def script_warnings(
    request: ScriptRequest, report: ScriptReport, runner: ScriptRunner
) -> Iterator[str]:
    """Yields the warnings about how the script ended."""
    if runner.infers:
        yield from idle_optimizers(report, "script")
        yield from _others(runner)
    else:
        yield from _early(request, report, runner)
    yield from recoveries(report, "script")


def idle_optimizers(report: ScriptReport, what: str) -> Iterator[str]:
    """Yields a warning where an inference has an optimizer."""
    if report.idle_optimizers:
        names = ", ".join(report.idle_optimizers)
        yield (
            f"the {what} makes an optimizer that never steps ({names}): "
            "if it shall train, see why it ended before; a training needs more memory"
        )


def _others(runner: ScriptRunner) -> Iterator[str]:
    others = 0 if runner.result is None else further_processes(runner.result)
    if others:
        yield (
            f"{others + 1} processes of the command used the card: the figures are those of the "
            "one with the highest peak, and the others need memory too"
        )


def _early(request: ScriptRequest, report: ScriptReport, runner: ScriptRunner) -> Iterator[str]:
    ended = None if runner.result is None else runner.result.ended
    early = early_end(report, request.limits, ended)
    if early is not None:
        yield early


def recoveries(report: ScriptReport, what: str) -> Iterator[str]:
    """Yields a warning where the card was full and the script or block went on."""
    if report.recovered_out_of_memory:
        yield (
            f"the card was full {counted(report.recovered_out_of_memory, 'time')} and the {what} "
            "went on by itself: its figures are of what it did then"
        )


def script_assumptions(
    request: ScriptRequest, report: ScriptReport, runner: ScriptRunner, *, can_search: bool
) -> Iterator[str]:
    """Yields what the figures of the script rest on."""
    if request.stand_in_note is not None:
        yield request.stand_in_note
    if runner.infers:
        yield INFERS.format(what="script")
    if report.end is ScriptEnd.STEPS_DONE:
        yield (
            f"the script was ended where optimizer step {request.limits.steps + 1} began: what it "
            "does later (evaluation, checkpoints) is not in the figures; --steps goes further"
        )
    if report.batch_from:
        yield f"the batch size is that of {_batch_source(request, report, runner)}"
    else:
        yield "the batch size of the script is not known: it counts as 1"
    if request.search and not can_search:
        why = "" if runner.infers else "the script makes no DataLoader that shuffles; "
        yield (
            f"no largest batch: {why}name the argument of the command that holds the batch with "
            "--batch-arg"
        )
    elif request.search and request.batch_argument is None:
        yield (
            "other batches are runs with another batch_size of the first DataLoader that shuffles; "
            "--batch-arg names an argument of the command in its place"
        )
    yield from _said_of_shield(runner)
    if report.saved:
        yield f"saved without the bytes of tensors, and thrown away: {_listed(report.saved)}"


def _batch_source(request: ScriptRequest, report: ScriptReport, runner: ScriptRunner) -> str:
    if request.batch_argument is not None:
        return f"{request.batch_argument} in the command"
    if report.loader_batch_size is not None and not runner.infers:
        return "the first DataLoader that shuffles"
    return report.batch_from


def _said_of_shield(runner: ScriptRunner) -> Iterator[str]:
    result = runner.result
    assert result is not None, "there was a run"
    if result.shield.kind is ShieldKind.NAMESPACES:
        yield "what the script wrote was thrown away, and it had no network"
    elif result.shield.kind is ShieldKind.LANDLOCK:
        yield (
            "this machine allows no namespaces: writes of the script failed, outside of the "
            "folders of --allow-writes and of its temporary files; it had the network"
        )
    else:
        yield "the script could write everywhere, as --allow-writes / says; it had the network"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
