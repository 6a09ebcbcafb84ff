"""An Estimate as a table for people, made with rich.

In: Estimate. Out: a renderable. Convention: the verdict is first; own words are plain ASCII, bars
too where a terminal has no others, and sizes are rounded; the JSON has the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from planner.config.step import Mode
from planner.memory.peak import ROUNDING
from planner.render.terminal.advice import advice
from planner.render.terminal.breakdown import largest_tensors
from planner.render.terminal.every_card import every_card
from planner.render.terminal.fits import fits_cell_in_full
from planner.render.terminal.heading import software, step_words, values_line
from planner.render.terminal.largest import (
    largest_batch_in_full,
    largest_image,
    longest_sequence,
    most_frames,
    suggested_batch,
)
from planner.render.terminal.layout import closing, verdict_lines
from planner.render.terminal.sparkline import StepSparkline, bar
from planner.render.terminal.stages import stages_table
from planner.render.terminal.step_time import faster, speed_rows
from planner.render.terminal.verdict import verdict
from planner.results import words
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import EMULATED, Estimate
from planner.results.full_state import (
    loading_each_words,
    loading_words,
    on_card_words,
    ram_words,
    saving_words,
)
from planner.results.palette import CATEGORY_COLOURS
from planner.results.parallel_form import parallel_words
from planner.units import counted, format_bytes, format_count, format_flops, format_percent
from planner.wire.trace import Phase, TensorCategory

_GAP = 2  # blanks between two columns
_WIDEST_TABLE = 120  # more cards than fit go into a second table, also on a pipe
_BAR_WIDTH, _SIZE_WIDTH = 10, 8  # of a part of the peak
_NOTHING = "-"
_PARTS_OF_PEAK = tuple(f"- {one}" for one in (*(part.value for part in TensorCategory), ROUNDING))
_PARTS_OF_STEP = tuple(f"- {phase.value}" for phase in Phase)
_STATE_ROWS = (
    "full state saved", "- left on the card", "- RAM of rank 0", "full state loaded",
    "- by every rank",
)  # fmt: skip
# An empty line is between two groups of rows.
_GROUPS: tuple[tuple[str, ...], ...] = (
    ("card", "fits", "peak allocated", "peak reserved", "context overhead", "outside PyTorch",
     "device total", "interval", "kept free", "usable memory", "attention"),
    ("largest batch", "suggested batch", "longest sequence", "largest image", "most frames"),
    ("peak is in", *_PARTS_OF_PEAK),
    ("step time", "time interval", "throughput", "first token", "later tokens", *_PARTS_OF_STEP,
     "- offload", "messages", "pipeline bubble", "bound", "next bound"),
    _STATE_ROWS,
    ("cores needed", "workers", "host memory", "shared memory"),
    ("energy", "cost", "epoch", "epoch energy", "epoch cost"),
)  # fmt: skip
# Rows that explain another one: only with --verbose.
_EXPLAINING = frozenset(
    ("peak allocated", "attention", "peak is in", *_PARTS_OF_PEAK, *_PARTS_OF_STEP, "next bound",
     "- by every rank", "energy")
)  # fmt: skip


def render(estimate: Estimate, *, verbose: bool = False) -> RenderableType:
    """Returns the report: verdict, the run, the cards, advice, warnings, assumptions.

    Rows and sentences that explain figures are left out without `verbose`.
    """
    table = _CardTables(estimate, verbose=verbose)
    cards = every_card(estimate) if estimate.is_survey else table
    parts: list[RenderableType] = [verdict_lines(verdict(estimate)), Text()]
    parts += [_heading(estimate), Text(), cards]
    if not estimate.is_survey:
        for found in filter(None, map(stages_table, estimate.gpus)):
            parts += [Text(), found]
    peak = estimate.gpus[0].breakdown
    if verbose and not estimate.is_survey and any(estimate.allocations[:1]):
        trace = estimate.allocations[0]
        assert trace is not None
        parts += [Text(), StepSparkline(estimate.gpus[0].requested, trace)]
    if verbose and peak is not None:
        parts += [Text(), largest_tensors(estimate.gpus[0].requested, peak)]
    others = [] if estimate.is_survey or not table.left_out else [counted(table.left_out, "row")]
    if peak is not None:
        others.append("the largest tensors at the peak")
    sections = (
        ("does not fit", () if estimate.is_survey else advice(estimate)),
        ("to go faster", () if estimate.is_survey else faster(estimate)),
        ("under another allocator setting, by replay", _what_ifs(estimate)),
    )
    return Group(*parts, *closing(sections, estimate, verbose=verbose, left_out=others))


def _heading(estimate: Estimate) -> RenderableType:
    lines = [_workload(estimate), *_ranks(estimate), *_work(estimate)]
    lines.append(software(estimate.versions))
    if estimate.engine == EMULATED:  # real hardware has real values
        lines.append(values_line(estimate.values))
    return Group(Text(estimate.target, style="bold"), *map(Text, lines))


def _workload(estimate: Estimate) -> str:
    config, counts = estimate.config, estimate.counts
    parameters = f"{format_count(counts.parameters)} parameters"
    if counts.trainable_parameters != counts.parameters:
        parameters += f" ({format_count(counts.trainable_parameters)} trainable)"
    batch = words.step_words(config)
    if config.accumulate > 1:
        batch += " accumulated"
    return ", ".join((parameters, batch, *_step_words(estimate)))


def _ranks(estimate: Estimate) -> tuple[str, ...]:
    """Returns how the job is spread over several GPUs, and whose figures these are."""
    parallel, ranks = estimate.config.parallel, estimate.ranks
    if parallel is None:
        return ()
    samples = estimate.config.samples_of_a_step
    line = f"{parallel_words(parallel)}: {counted(samples, 'sample')} in a step of all"
    if ranks is None:
        return (line,)
    return (line, f"figures are those of rank {ranks.worst}: {ranks.reason}")


def _step_words(estimate: Estimate) -> list[str]:
    return step_words(estimate.config, estimate.optimizer, estimate.counts.weight_dtypes)


def _work(estimate: Estimate) -> tuple[str, ...]:
    """Returns the FLOPs of the step in words, if they could be counted."""
    step = estimate.step
    if step is None:
        return ()
    forward, whole = format_flops(step.forward_flops_per_sample), format_flops(step.step_flops)
    of = "the forward" if estimate.config.mode is Mode.INFER else "forward and backward"
    parallel = estimate.config.parallel
    if parallel is not None and parallel.pipeline > 1:
        return (
            f"{forward} for a sample in forward on this rank, {whole} for {of} of its "
            f"{parallel.microbatches} micro-batches",
        )
    return (f"{forward} for a sample in forward, {whole} for {of} of the batch",)


def _what_ifs(estimate: Estimate) -> tuple[str, ...]:
    return tuple(
        f"{entry.requested}, {found.alloc_conf or 'torch defaults'}: peak reserved "
        f"{format_bytes(found.peak_reserved_bytes)}, {'fits' if found.fits else 'does not fit'}"
        + ("" if found.max_batch_size is None else f", largest batch {found.max_batch_size}")
        for entry in estimate.gpus
        for found in entry.what_ifs
    )


class _CardTables:
    """A column for each card, in as many tables as the width needs."""

    def __init__(self, estimate: Estimate, *, verbose: bool) -> None:
        self._estimate = estimate
        self._columns = self._cells_of_cards(is_ascii=True)
        # Rows that are not empty for at least one card.
        known = [[label for label in group if self._is_known(label)] for group in _GROUPS]
        self._groups = [
            [label for label in group if verbose or label not in _EXPLAINING] for group in known
        ]
        self.left_out = sum(map(len, known)) - sum(map(len, self._groups))

    def _cells_of_cards(self, *, is_ascii: bool) -> list[tuple[str, dict[str, Text]]]:
        return [
            (entry.requested, _cells(entry, is_ascii=is_ascii)) for entry in self._estimate.gpus
        ]

    def _is_known(self, label: str) -> bool:
        return any(cells[label] for _, cells in self._columns)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        limit = min(options.max_width, _WIDEST_TABLE)
        label_width = max(len(label) for group in self._groups for label in group)
        used, shown = label_width, list[tuple[str, dict[str, Text]]]()
        for title, cells in self._cells_of_cards(is_ascii=options.ascii_only):
            width = _GAP + max(len(title), *(len(text) for text in cells.values()))
            if shown and used + width > limit:
                yield self._table(shown)
                yield Text()
                used, shown = label_width, []
            shown.append((title, cells))
            used += width
        yield self._table(shown)

    def _table(self, columns: Sequence[tuple[str, dict[str, Text]]]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
        table.add_column(no_wrap=True)
        for title, _ in columns:
            table.add_column(Text(title), overflow="fold")
        for number, group in enumerate(filter(None, self._groups)):
            if number:
                table.add_row()
            for label in group:
                table.add_row(label, *(cells[label] or _NOTHING for _, cells in columns))
        return table


def _cells(entry: DeviceEstimate, *, is_ascii: bool) -> dict[str, Text]:
    """Returns label and value of each row for one card; empty where there is nothing to say."""
    used_bytes = entry.device_total_bytes + entry.reserve_bytes
    kept_free = format_bytes(entry.reserve_bytes) if entry.reserve_bytes else ""
    return {
        "card": Text(entry.name),
        "fits": fits_cell_in_full(entry),
        "peak allocated": Text(format_bytes(entry.peak_allocated_bytes)),
        "peak reserved": Text(format_bytes(entry.peak_reserved_bytes)),
        "context overhead": Text(format_bytes(entry.context_overhead_bytes)),
        "outside PyTorch": Text(_outside(entry)),
        "device total": Text(format_bytes(entry.device_total_bytes)),
        "interval": Text(_interval(entry)),
        "kept free": Text(kept_free),
        "usable memory": Text(
            f"{format_bytes(entry.usable_memory_bytes)}, "
            f"{format_percent(used_bytes, entry.usable_memory_bytes)} taken"
        ),
        "largest batch": Text(largest_batch_in_full(entry)),
        "suggested batch": Text(suggested_batch(entry)),
        "longest sequence": Text(longest_sequence(entry)),
        "largest image": Text(largest_image(entry)),
        "most frames": Text(most_frames(entry)),
        "attention": Text(", ".join(entry.attention_backends)),
        **_breakdown_cells(entry, is_ascii=is_ascii),
        **_state_cells(entry),
        **{label: Text(text) for label, text in speed_rows(entry).items()},
    }


def _outside(entry: DeviceEstimate) -> str:
    """Returns the memory that libraries take from CUDA themselves."""
    if not entry.outside_bytes:
        return ""
    unified = f", {format_bytes(entry.managed_bytes)} unified" if entry.managed_bytes else ""
    return f"{format_bytes(entry.outside_bytes)}{unified}"


def _breakdown_cells(entry: DeviceEstimate, *, is_ascii: bool) -> dict[str, Text]:
    """Returns the parts of the peak allocated, a row for each category that any card may have."""
    found = entry.peak_summary
    sums = {} if found is None else found.by_category()
    where = "" if found is None else f"step {found.peak_step}, {found.peak_phase.value}"
    return {
        "peak is in": Text(where),
        **{
            f"- {name}": _part_of_peak(name, sums, is_ascii=is_ascii)
            for name in (*(category.value for category in TensorCategory), ROUNDING)
        },
    }


def _part_of_peak(name: str, sums: Mapping[str, int], *, is_ascii: bool) -> Text:
    """Returns a size with a bar, as long as its share of the peak; empty for 0 bytes."""
    size = sums.get(name, 0)
    if not size:
        return Text()
    drawn = bar(size, sum(sums.values()), _BAR_WIDTH, is_ascii=is_ascii)
    text = Text(format_bytes(size).ljust(_SIZE_WIDTH) + " ")
    return text.append(drawn, style=CATEGORY_COLOURS[name])


def _state_cells(entry: DeviceEstimate) -> dict[str, Text]:
    """Returns the rows on saving and loading the whole state of a job on several GPUs."""
    state = entry.full_state
    texts: tuple[str, ...] = ("",) * len(_STATE_ROWS)
    if state is not None:
        texts = (
            saving_words(state, entry.peak_allocated_bytes),
            on_card_words(state),
            ram_words(state),
            loading_words(state),
            loading_each_words(state),
        )
    return dict(zip(_STATE_ROWS, map(Text, texts), strict=True))


def _interval(entry: DeviceEstimate) -> str:
    """Returns the interval of the device total, and the share of cases within it."""
    if entry.device_total_interval_bytes is None:
        return ""
    low, high = map(format_bytes, entry.device_total_interval_bytes)
    covered = (
        "" if entry.interval_coverage is None else f", {format_percent(entry.interval_coverage, 1)}"
    )
    return f"{low} to {high}{covered}"
