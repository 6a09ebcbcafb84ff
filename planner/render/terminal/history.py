"""Kept verifications and traces as tables for people, made with rich.

In: HistoryEntries, TraceEntries. Out: renderables. Convention: own words are plain ASCII, sizes
are rounded; the JSON has the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.render.terminal.heading import after_backward
from planner.results.verification import Figures, relative_error
from planner.units import counted, format_bytes
from planner.verification.history import HistoryEntry
from planner.verification.kept_traces import TraceEntry

_NOTHING = "-"
_EMPTY = "nothing is kept yet"
_HEADINGS = (
    "id", "time (UTC)", "card", "driver", "torch", "target", "precision", "batch", "device total",
    "predicted", "error", "confirmed",
)  # fmt: skip


def history_table(entries: Sequence[HistoryEntry | TraceEntry]) -> RenderableType:
    """Returns a line for each entry, the oldest first."""
    if not entries:
        return Text(_EMPTY)
    table = _table()
    for heading in _HEADINGS:
        table.add_column(heading, overflow="fold")
    for one in entries:
        if isinstance(one, TraceEntry):
            table.add_row(*map(Text, _trace_cells(one)))
            continue
        predicted, measured = one.predicted.device_total_bytes, one.measured.device_total_bytes
        cells = (
            str(one.id), one.recorded_at.replace("T", " ").rstrip("Z"), one.card,
            one.driver or _NOTHING, one.torch, one.target, one.precision, str(one.batch_size),
            _size(measured), _size(predicted), _error(predicted, measured),
            "yes" if one.confirmed else "no",
        )  # fmt: skip
        table.add_row(*map(Text, cells))
    return table


def _trace_cells(entry: TraceEntry) -> tuple[str, ...]:
    """Returns the cells of a trace, which has no figures of memory."""
    found = (
        str(entry.id), entry.recorded_at.replace("T", " ").rstrip("Z"), entry.card,
        entry.driver or _NOTHING, entry.torch, entry.target,
    )  # fmt: skip
    return (*found, *(_NOTHING for _ in _HEADINGS[len(found) :]))


def _trace_entry(entry: TraceEntry) -> RenderableType:
    """Returns a trace: the work of each kind of kernel, predicted and measured."""
    step = "" if entry.step_s is None else f", {1000 * entry.step_s:.4g} ms each"
    lines = (
        f"{entry.target}, entry {entry.id} of {entry.recorded_at}",
        f"{entry.card}, {counted(entry.steps, 'step')}{step}",
    )
    table = _table()
    for heading in ("kernels", "predicted", "measured", "factor"):
        table.add_column(heading)
    for one in entry.factors:
        cells = (
            one.kind,
            _value("work_s", one.predicted_s),
            _value("work_s", one.measured_s),
            f"{one.factor:.2f}" if one.is_credible else f"{one.factor:.2f}, not used",
        )
        table.add_row(*map(Text, cells))
    return Group(*map(Text, lines), Text(), table)


def _job(entry: HistoryEntry) -> list[str]:
    """Returns the words for the run."""
    beside = after_backward(entry.clip_grad_norm, entry.ema)
    return [entry.target, entry.mode, entry.precision, f"batch {entry.batch_size}", *beside]


def history_entry(entry: HistoryEntry | TraceEntry) -> RenderableType:
    """Returns one entry: the run, and each figure, predicted and measured."""
    if isinstance(entry, TraceEntry):
        return _trace_entry(entry)
    lines = (
        f"verification {entry.id} of {entry.recorded_at}",
        ", ".join(_job(entry)),
        f"{entry.card}, driver {entry.driver or 'not known'}, torch {entry.torch}",
        "confirmed" if entry.confirmed else "not confirmed",
        *([f"settings: {', '.join(entry.step.settings)}"] if entry.step.settings else []),
    )
    table = _table()
    for heading in ("", "predicted", "measured", "error"):
        table.add_column(heading)
    for field in fields(Figures):
        predicted, measured = (
            getattr(entry.predicted, field.name),
            getattr(entry.measured, field.name),
        )
        if predicted is None and measured is None:
            continue
        label = field.name.removesuffix("_bytes").removesuffix("_s").replace("_", " ")
        cells = (
            label,
            _value(field.name, predicted),
            _value(field.name, measured),
            _error(predicted, measured),
        )
        table.add_row(*map(Text, cells))
    return Group(*map(Text, lines), Text(), table)


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


def _value(name: str, value: float | None) -> str:
    if value is None:
        return _NOTHING
    if name.endswith("_bytes"):
        return format_bytes(int(value))
    return f"{value:.4g} s" if name.endswith("_s") else str(value)


def _size(size_bytes: int | None) -> str:
    return _NOTHING if size_bytes is None else format_bytes(size_bytes)


def _error(predicted: float | None, measured: float | None) -> str:
    error = relative_error(predicted, measured)
    return _NOTHING if error is None else f"{error:+.2%}"
