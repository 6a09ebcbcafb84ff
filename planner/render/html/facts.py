"""What a page about an Estimate says in words: verdict, figures, tables, assumptions.

In: an Estimate. Out: dicts of plain texts for the templates. Convention: figures are rounded, as in
the report of the terminal; texts from outside are plain text, which the templates escape.
"""

from __future__ import annotations

from typing import Any

from planner.render.html.payload import card_names
from planner.render.html.roofs import chart_of, lead_of, roofline_or_why, rows_of
from planner.render.terminal.advice import advice
from planner.render.terminal.heading import software, step_words, values_line
from planner.render.terminal.step_time import bound_words, faster, speed_rows
from planner.results import words
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import EMULATED, Estimate
from planner.results.lanes import Lanes, lanes_of
from planner.results.parallel_form import parallel_words
from planner.results.ranks import RankRow
from planner.results.step_time import StepTime
from planner.results.values import ValuesResult
from planner.units import (
    counted,
    format_bytes,
    format_count,
    format_duration,
    format_flops,
    format_percent,
    format_significant,
)

_IN_FIGURES = frozenset(("step time", "time interval", "throughput", "bound"))
_NO_TIME = "The operators of this step could not be counted, so its time is not known."


def estimate_facts(estimate: Estimate) -> dict[str, Any]:
    """Returns the texts of an Estimate's page, and the chart of each card."""
    return {
        "title": estimate.target,
        "lines": _lines(estimate),
        "cards": [_card(estimate, index) for index in range(len(estimate.gpus))],
        "advice": advice(estimate),
        "faster": faster(estimate),
        "ranks": _ranks(estimate),
        **shared_facts(estimate),
    }


def shared_facts(result: Any) -> dict[str, Any]:
    """Returns what results of every kind have: warnings, assumptions, values, versions."""
    values: ValuesResult = result.values
    notes = tuple(result.notes)
    return {
        "warnings": result.warnings,
        "assumptions": tuple(one for one in result.assumptions if one not in notes),
        "notes": notes,
        "software": software(result.versions),
        "values": values_line(values) if result.engine == EMULATED else "",
        "reads": _reads(values),
        "model_arguments": [f"{name}={value}" for name, value in result.model_arguments],
    }


def _lines(estimate: Estimate) -> list[str]:
    config, counts = estimate.config, estimate.counts
    steps = step_words(config, estimate.optimizer, counts.weight_dtypes)
    lines = [
        f"{format_count(counts.parameters)} parameters, "
        f"{', '.join((words.step_words(config), *steps))}"
    ]
    if config.parallel is not None:
        samples = counted(config.samples_of_a_step, "sample")
        lines.append(f"{parallel_words(config.parallel)}: {samples} in a step of all")
    if estimate.step is not None:
        forward = format_flops(estimate.step.forward_flops_per_sample)
        lines.append(f"{forward} for a sample in forward, "
                     f"{format_flops(estimate.step.step_flops)} in a step without the optimizer"
                     )  # fmt: skip
    return lines


def _card(estimate: Estimate, index: int) -> dict[str, Any]:
    entry = estimate.gpus[index]
    roofline = roofline_or_why(estimate, index)
    return {
        "requested": card_names(estimate)[index],
        "name": entry.name,
        "note": entry.note or "",
        "figures": _figures(entry),
        "memory": _memory_rows(entry),
        "interval_basis": _basis(entry),
        "time": None if entry.time is None else _time(entry, entry.time),
        "no_time": _NO_TIME,
        "chart": chart_of(roofline),
        "roofline": lead_of(roofline),
        "roofline_rows": rows_of(roofline),
        "what_ifs": [
            f"{found.alloc_conf or 'torch defaults'}: peak reserved "
            f"{format_bytes(found.peak_reserved_bytes)}, {'fits' if found.fits else 'does not fit'}"
            + ("" if found.max_batch_size is None else f", largest batch {found.max_batch_size}")
            for found in entry.what_ifs
        ],
    }


def _figures(entry: DeviceEstimate) -> list[dict[str, str]]:
    """Returns the figures under the verdict: label, value, note."""
    interval = entry.device_total_interval_bytes
    covered = entry.interval_coverage
    cases = "" if covered is None else f"in {format_percent(covered, 1)} of cases"
    found = [
        {
            "label": "Interval of device total",
            "value": "not known" if interval is None else " to ".join(map(format_bytes, interval)),
            "note": "no past errors are known" if interval is None else cases,
            "of": "run",
        },
        {"label": "Largest batch", **_largest(entry)},
    ]
    if entry.time is None:
        return [*found, {"label": "Step time", "value": "not known", "note": "", "of": "run"}]
    return [*found, *_time_figures(entry, entry.time)]


def _largest(entry: DeviceEstimate) -> dict[str, str]:
    if entry.max_batch_size is None:
        return {"value": "not searched", "note": "", "of": "card"}
    if entry.max_batch_size == 0:
        return {"value": "none", "note": "not even batch 1 fits", "of": "card"}
    if entry.max_batch_is_bound:
        return {"value": f"{entry.max_batch_size} or more", "note": "", "of": "card"}
    how = "confirmed by runs" if entry.max_batch_confirmed else "by replay, not confirmed by a run"
    if entry.suggested_batch_size:
        how += f"; {entry.suggested_batch_size} fits in the whole interval"
    return {"value": str(entry.max_batch_size), "note": how, "of": "card"}


def _time_figures(entry: DeviceEstimate, time: StepTime) -> list[dict[str, str]]:
    note = ""
    if time.interval_s is not None and time.interval_s[0] < time.interval_s[1]:
        note = " to ".join(map(format_duration, time.interval_s))
        if time.interval_coverage is not None:
            note += f" in {format_percent(time.interval_coverage, 1)} of cases"
    return [
        {
            "label": "Step time",
            "value": format_duration(time.step_s),
            "note": note if entry.fits else "if it fitted",
            "of": "run",
        },
        {
            "label": "Throughput",
            "value": f"{format_significant(time.samples_per_s)} samples/s",
            "note": "",
            "of": "run",
        },
        {
            "label": "Bound by",
            "value": time.bottleneck.bound.value,
            "note": bound_words(time).partition(", ")[2]
            and f"{bound_words(time).partition(', ')[2]} of the step",
            "of": "run",
        },
    ]


def _memory_rows(entry: DeviceEstimate) -> list[tuple[str, str, str]]:
    rows = [
        ("Peak allocated", entry.peak_allocated_bytes),
        ("Peak reserved", entry.peak_reserved_bytes),
        ("CUDA context", entry.context_overhead_bytes),
        ("Libraries outside of PyTorch", entry.outside_bytes),
        ("Correction by past runs", entry.reserved_offset_bytes),
        ("Device total", entry.device_total_bytes),
        ("Kept free", entry.reserve_bytes),
        ("Usable memory", entry.usable_memory_bytes),
        ("Memory of the card", entry.total_memory_bytes),
    ]
    return [(label, format_bytes(size), f"{size:,}") for label, size in rows if size]


def _basis(entry: DeviceEstimate) -> list[str]:
    found = [entry.interval_basis and f"Memory: {entry.interval_basis}"]
    if entry.time is not None and entry.time.interval_basis:
        found.append(f"Time: {entry.time.interval_basis}")
    found.append(entry.calibration)
    found.append(
        entry.suggested_batch_reason and f"No batch is suggested: {entry.suggested_batch_reason}"
    )
    return [one for one in found if one]


def _time(entry: DeviceEstimate, time: StepTime) -> dict[str, Any]:
    found = lanes_of(time)
    rows = [
        (label.removeprefix("- "), text)
        for label, text in speed_rows(entry).items()
        if text and label not in _IN_FIGURES
    ]
    return {
        "step": format_duration(time.step_s),
        "why": found.why,
        "bars": _bars(found, time.step_s),
        "rows": rows,
        "mfu": None if time.mfu is None else format_percent(time.mfu, 1),
        "gains": [
            f"{'about ' if gain.is_approximate else ''}{format_significant(gain.factor)} times as "
            f"fast with {gain.change}"
            for gain in time.gains
        ],
        "uncounted": list(time.uncounted_operators),
    }


def _bars(found: Lanes, step_s: float) -> list[dict[str, Any]]:
    """Returns a bar for each lane, and under it one for each part of a lane that has several."""
    longest = max(step_s, *(lane.seconds for lane in found.lanes))

    def bar(name: str, seconds: float, begin: float, **more: bool) -> dict[str, Any]:
        figures = f"{format_duration(seconds)}, {format_percent(seconds, step_s)}"
        return {
            "name": name, "begin": begin / longest, "share": seconds / longest, "text": figures,
            "is_part": False, "is_bound": False, **more,
        }  # fmt: skip

    bars = []
    for lane in found.lanes:
        alone = len(lane.parts) == 1
        is_bound = alone and lane.parts[0].is_bound
        bars.append(bar(lane.name, lane.seconds, 0, decides=lane.decides, is_bound=is_bound))
        begin = 0.0
        for part in () if alone else lane.parts:
            bars.append(
                bar(part.name, part.seconds, begin, decides=lane.decides, is_part=True,
                    is_bound=part.is_bound)
            )  # fmt: skip
            begin += part.seconds
    return bars


def _ranks(estimate: Estimate) -> dict[str, Any] | None:
    found = estimate.ranks
    if found is None:
        return None
    return {
        "lead": f"The figures of this page are those of rank {found.worst}: {found.reason}.",
        "rows": [
            {
                "name": row.name,
                "role": row.role,
                "is_worst": row.first <= found.worst <= row.last,
                "allocated": _peak(estimate, row, "peak_allocated_bytes"),
                "reserved": _peak(estimate, row, "peak_reserved_bytes"),
            }
            for row in found.rows
        ],
        "messages": _messages(estimate),
    }


def _messages(estimate: Estimate) -> list[tuple[str, ...]]:
    """Returns the messages of a micro-batch on the first card, those that take longest first."""
    kept = estimate.operators[0] if estimate.operators else None
    if kept is None:
        return []
    rows: list[tuple[str, ...]] = []
    for one in sorted(kept.messages, key=lambda timed: -timed.total_s):
        sent = one.message
        hosts = "" if sent.hosts == 1 else f" on {counted(sent.hosts, 'machine')}"
        rows.append(
            (
                sent.collective.value.replace("_", "-"),
                f"{sent.group or 'all'}, {counted(sent.ranks, 'rank')}{hosts}",
                sent.phase.value,
                format_bytes(sent.size_bytes),
                str(sent.calls),
                format_duration(one.message_s),
                format_duration(one.total_s),
            )
        )
    return rows


def _peak(estimate: Estimate, row: RankRow, name: str) -> str:
    """Returns a peak of ranks; those with the rank of the report have its figures."""
    size_bytes: int | None = getattr(row, name)
    if size_bytes is None and estimate.ranks and row.first <= estimate.ranks.worst <= row.last:
        size_bytes = getattr(estimate.gpus[0], name)
    return "not run" if size_bytes is None else format_bytes(size_bytes)


def _reads(values: ValuesResult) -> list[dict[str, str]]:
    return [
        {
            "source": f"{read.file}:{read.line}" if read.file else "backward",
            "function": read.function,
            "operator": read.operator,
            "count": str(read.count),
            "decision": read.decision.value,
        }
        for read in values.reads
    ]
