"""What a trace of torch.profiler measured, as a table of kinds of kernels and sentences.

In: LearnedTrace. Out: lines of text. Convention: times are of one step, in milliseconds.
"""

from __future__ import annotations

from planner.render.terminal.learned import kept_line
from planner.units import counted, format_percent
from planner.verification.learned_trace import LearnedTrace

_NAMES_SHOWN = 5
_LEAST_SHARE = 0.005  # of the kernels' time, to be named


def learned_trace_lines(learned: LearnedTrace) -> list[str]:
    """Returns the report, line by line."""
    lines = [_verdict(learned), "", *_figures(learned), ""]
    if learned.comparisons:
        lines += [*_table(learned), ""]
    remarks = _remarks(learned)
    lines += [f"- {text}" for text in remarks]
    kept = kept_line("times of kernels", "them", kept_as=learned.kept_as, not_kept=learned.not_kept)
    return [*lines, *([""] if remarks else []), kept]


def _verdict(learned: LearnedTrace) -> str:
    spans = counted(learned.steps, "whole step") if learned.steps else "one span"
    return f"{learned.card}: {counted(learned.kernels, 'kernel')} of {spans}"


def _figures(learned: LearnedTrace) -> list[str]:
    whole = "step, on the CPU's clock" if learned.steps else ""
    rows = [
        (whole, learned.step_s),
        ("kernels", learned.kernels_s),
        ("- compared with their prediction", learned.compared_s),
        ("- too short to show more than begin and end", learned.short_s or None),
        ("copies to and from the host", learned.host_copies_s or None),
        ("messages between GPUs", learned.messages_s or None),
    ]
    known = [(label, seconds) for label, seconds in rows if seconds is not None]
    width = max(len(label) for label, _ in known)
    return [f"{label:{width}}  {_ms(seconds)}" for label, seconds in known]


def _table(learned: LearnedTrace) -> list[str]:
    width = max(len("kernels"), *(len(one.kind) for one in learned.comparisons))
    lines = [f"{'kernels':{width}}  {'measured':>12}  {'predicted':>12}  factor"]
    for one in learned.comparisons:
        mark = "" if one.is_credible else "  not used: too far to be the same kernels"
        lines.append(
            f"{one.kind:{width}}  {_ms(one.measured_s):>12}  {_ms(one.predicted_s):>12}"
            f"  {one.factor:6.2f}{mark}"
        )
    return lines


def _remarks(learned: LearnedTrace) -> list[str]:
    found = list(learned.notes)
    if learned.left_out_steps:
        found.append(
            f"{counted(learned.left_out_steps, 'step')} left out: incomplete, or unlike the others"
        )
    least_s = _LEAST_SHARE * learned.kernels_s
    names = [(name, seconds) for name, seconds in learned.not_compared if seconds >= least_s]
    if names:
        said = ", ".join(
            f"{name} ({format_percent(seconds / learned.kernels_s, 1)})"
            for name, seconds in names[:_NAMES_SHOWN]
        )
        more = len(names) - _NAMES_SHOWN
        found.append(f"not compared: {said}{f' and {more} more' if more > 0 else ''}")
    return found


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3f} ms"
