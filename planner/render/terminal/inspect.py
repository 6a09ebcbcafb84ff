"""An Inspection as a table of modules for people, made with rich.

In: Inspection. Out: a renderable. Convention: neighbours with the same classes and figures, down
to their innermost row, share rows; these show the cost of one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from planner.render.terminal.heading import values_line, weight_words
from planner.render.terminal.layout import FittedTable, closing
from planner.results.inspection import Inspection
from planner.units import format_bytes, format_count, format_flops
from planner.wire.module_counts import FlopRules, ModuleCounts

_INDENT = "  "
_NOTHING = "-"
_UNCOUNTED_SHOWN = 8
_COLUMNS = (
    "module", "class", "parameters", "trainable", "forward", "activations", "saved", "FLOPs/byte",
)  # fmt: skip
_NAME_COLUMN = 0
_TEXT_COLUMNS = (0, 1)
_LEFT_OUT_FIRST = (3, 5, 1, 7, 2)  # trainable, activations, class, FLOPs/byte, parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """Modules that share a row, first to last, and the figures of the first."""

    first: ModuleCounts
    last: str
    number: int = 1


@dataclass(slots=True, kw_only=True)
class _Node:
    """A module and the modules in it."""

    module: ModuleCounts
    parts: list[_Node] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Returns the last part of its path."""
        return self.module.path.rpartition(".")[2]

    def shape(self) -> tuple[Any, ...]:
        """Returns everything that equal modules have in common: all but the path."""
        figures = replace(self.module, path="")
        return (figures, tuple((part.name, part.shape()) for part in self.parts))


def render(inspection: Inspection, *, verbose: bool = False) -> RenderableType:
    """Returns the report: totals, modules, rules, assumptions; notes if `verbose`."""
    parts: list[RenderableType] = [_heading(inspection), Text(), _module_table(inspection)]
    sections = (("counted", _rules(inspection)),)
    return Group(*parts, *closing(sections, inspection, verbose=verbose))


def _heading(inspection: Inspection) -> RenderableType:
    versions, model = inspection.versions, inspection.model
    step, config = model.step, inspection.config
    totals = [f"{format_flops(step.forward_flops_per_sample)} a sample in the forward"]
    totals.append(f"{format_flops(step.step_flops)} in a step, without the optimizer")
    if step.activations_per_sample is not None:
        totals.append(f"{format_count(step.activations_per_sample)} activations a sample")
    parameters = f"{format_count(model.counts.parameters)} parameters"
    length = config.sequence_length
    sequence = "" if length is None else f"sequence {length}, "
    return Group(
        Text(inspection.target, style="bold"),
        Text(
            f"{parameters}, one training step with batch {config.batch_size}, "
            f"{sequence}{weight_words(config, model.counts.weight_dtypes)}, as on {inspection.gpu}"
        ),
        Text(", ".join(totals)),
        Text(f"torch {versions.torch}, Python {versions.python}, planner {versions.planner}"),
        Text(values_line(inspection.values)),
    )


def _module_table(inspection: Inspection) -> RenderableType:
    return FittedTable(
        columns=_COLUMNS,
        lines=[tuple(map(Text, _cells(row))) for row in _rows([_tree(inspection.modules)])],
        left=_TEXT_COLUMNS,
        left_out_first=_LEFT_OUT_FIRST,
        folded=_NAME_COLUMN,
    )


def _cells(row: _Row) -> tuple[str, ...]:
    module = row.first
    return (
        _INDENT * module.depth + _name(row),
        f"{row.number} x {module.kind}" if row.number > 1 else module.kind,
        _count(module.parameters),
        _count(module.trainable_parameters),
        format_flops(module.forward_flops) if module.forward_flops else _NOTHING,
        _NOTHING if module.activations is None else _count(module.activations),
        format_bytes(module.saved_bytes) if module.saved_bytes else _NOTHING,
        _intensity(module.arithmetic_intensity_flops_per_byte),
    )


def _name(row: _Row) -> str:
    if not row.first.path:
        return "(model)"
    name = row.first.path.rpartition(".")[2]
    return name if row.number == 1 else f"{name} .. {row.last}"


def _count(count: int) -> str:
    return format_count(count) if count else _NOTHING


def _intensity(flops_per_byte: float | None) -> str:
    if not flops_per_byte:
        return _NOTHING
    return f"{flops_per_byte:.3g}" if flops_per_byte < 1000 else f"{flops_per_byte:.0f}"


def _tree(modules: Sequence[ModuleCounts]) -> _Node:
    """Returns the model with the modules in it, from rows in which an outer module comes first."""
    nodes = {module.path: _Node(module=module) for module in modules}
    for path, node in nodes.items():
        if path:
            nodes[path.rpartition(".")[0]].parts.append(node)
    return nodes[""]


def _rows(nodes: Sequence[_Node]) -> Iterator[_Row]:
    """Yields the rows of neighbours and of the modules in them; equal neighbours share a row."""
    for _, alike in groupby(nodes, key=_Node.shape):
        group = list(alike)
        yield _Row(first=group[0].module, last=group[-1].name, number=len(group))
        yield from _rows(group[0].parts)


def _rules(inspection: Inspection) -> list[str]:
    model = inspection.model
    fvcore = model.flop_rules is FlopRules.FVCORE
    lines = [f"modules by {model.structure.value}, FLOPs by the rules of {model.flop_rules.value}"]
    if fvcore:
        by_torch = format_flops(model.forward_flops_by_torch)
        lines.append(f"the forward by the formulas of torch.utils.flop_counter: {by_torch}")
    uncounted = model.step.uncounted_operators
    if uncounted:
        shown = ", ".join(f"{item.name} ({item.calls} x)" for item in uncounted[:_UNCOUNTED_SHOWN])
        more = len(uncounted) - _UNCOUNTED_SHOWN
        rest = f" and {more} more" if more > 0 else ""
        lines.append(f"not counted, because there is no rule: {shown}{rest}")
    return lines
