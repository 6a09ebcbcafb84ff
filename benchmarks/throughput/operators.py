"""Counts the operators of one step, in the environment of the measurements.

In: steps as JSON. Out: their operators as JSON, or the trouble. Convention: operator_document
of planner is the form of an operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.record.emulated import TROUBLES, card_budget, config_of, first_line, opened
from benchmarks.record.records import Step, step_of
from planner.results.inspection import operator_document
from planner.wire.trace import FlopSource, OperatorRecord, Phase, TensorShape


def answers(documents: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields the operators of each step, or the trouble."""
    for document in documents:
        try:
            yield {"operators": _operators(step_of(document))}
        except TROUBLES as error:
            yield {"trouble": first_line(error)}


def operators_of(documents: list[dict[str, Any]]) -> tuple[OperatorRecord, ...]:
    """Reads operators from their JSON."""
    return tuple(
        OperatorRecord(
            name=one["name"],
            phase=Phase(one["phase"]),
            inputs=tuple(_tensor(tensor) for tensor in one["inputs"]),
            outputs=tuple(_tensor(tensor) for tensor in one["outputs"]),
            calls=one["calls"],
            flops=one["flops"],
            flop_source=FlopSource(one["flop_source"]),
            read_bytes=one["read_bytes"],
            written_bytes=one["written_bytes"],
        )
        for one in documents
    )


def _operators(step: Step) -> list[dict[str, Any]]:
    budget = card_budget(step.card)
    with opened(step, budget) as model:
        counted = model.runner.count(model.cards.unlimited(budget), config_of(step))
    return [dict(operator_document(one)) for one in counted.operators]


def _tensor(document: dict[str, Any]) -> TensorShape:
    return TensorShape(**{**document, "shape": tuple(document["shape"])})
