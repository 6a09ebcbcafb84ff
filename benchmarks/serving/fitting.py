"""Fits the constants of the three terms of vLLM to published starts.

In: starts, and what they print of their parts. Out: FittedTerms. Convention: a constant whose term
is printed is the median of the printed ones; the others make the sum of the absolute errors of the
cache small, by steps of one at a time. Ratios are measured over predicted sums of the terms, each
with the constants of all given starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

from benchmarks.serving.judging import Start
from planner.memory.serving.vllm_rules import VllmSettings, vllm_settings
from planner.memory.serving.vllm_terms import (
    FLOOR_BYTES,
    SWITCHED_BYTES_PER_S,
    FittedTerms,
    TermConstants,
    forward_bytes,
    logits,
)
from planner.units import GIB

# Where the search begins; medians of printed terms take the place of the first five.
_BEGIN = TermConstants(
    alone=0.2 * GIB,
    ranks_by_switch=1.4 * GIB,
    ranks_by_bus=0.3 * GIB,
    sorted_logit=38.5,
    forward_factor=1.2,
    ranks_by_bus_now=0.9 * GIB,
    kernel_logit=12.0,
    graph=150e3,
)
_SEARCHED = ("ranks_by_bus_now", "kernel_logit", "graph")
_STEPS = (1.3, 1.1, 1.03)
_ROUNDS = 12
_FARTHEST = 4.0  # times where the search begins: beyond it a constant has no rows that show it


def fitted(starts: Sequence[Start]) -> FittedTerms:
    """Returns the constants for these starts, and the ratios that remain."""
    used = [start for start in starts if start.row.kv_gib is not None]
    constants = _searched(used, _from_printed_terms(starts))
    terms = _terms(constants)
    return FittedTerms(
        constants=constants,
        ratios=tuple(sorted(round(_ratio(start, terms), 4) for start in used)),
        starts=len(used),
        sources=len({start.row.source for start in used}),
        inside=0,
    )


def _from_printed_terms(starts: Sequence[Start]) -> TermConstants:
    """Returns the constants at the beginning, with medians where the term is printed."""
    printed: dict[str, list[float]] = {}
    for start in starts:
        for name, value in _printed_constants(start):
            printed.setdefault(name, []).append(value)
    return replace(_BEGIN, **{name: median(values) for name, values in printed.items()})


def _printed_constants(start: Start) -> Iterator[tuple[str, float]]:
    """Yields what a start says of single constants."""
    row, settings = start.row, settings_of(start)
    outside = row.non_torch_gib
    if outside is None and row.consumed_gib is not None and row.weights_gib is not None:
        outside = row.consumed_gib - row.weights_gib
    is_now = settings.rules.counts_graphs
    if outside is not None:
        name = "alone"
        if start.case.config.tensor_parallel > 1:
            switched = start.card.nvlink_bytes_per_s >= SWITCHED_BYTES_PER_S
            name = "ranks_by_switch" if switched else "ranks_by_bus"
        if not (name == "ranks_by_bus" and is_now):
            yield name, outside * GIB
    if row.activation_gib is None or is_now:  # a newer version prints graphs with them
        return
    peak = row.activation_gib * GIB
    if settings.rules.version >= (0, 7) and not settings.rules.is_v1:
        ranks = start.case.config.tensor_parallel
        yield "forward_factor", peak / forward_bytes(start.model, settings.step_tokens, ranks)
    elif not settings.rules.has_sampling_kernel:
        yield "sorted_logit", peak / logits(start.model, settings)


def settings_of(start: Start) -> VllmSettings:
    """Returns the settings of a start, by default where the row has none."""
    return vllm_settings(
        start.case.config,
        total_bytes=start.card.total_bytes,
        card=start.card.name,
        longest=start.model.longest_context,
    )


def _searched(used: Sequence[Start], constants: TermConstants) -> TermConstants:
    best = _error(used, constants)
    for step in _STEPS:
        for _ in range(_ROUNDS):
            before = best
            for name in _SEARCHED:
                constants, best = _moved(used, constants, name, step, best)
            if best == before:
                break
    return constants


def _moved(
    used: Sequence[Start], constants: TermConstants, name: str, step: float, best: float
) -> tuple[TermConstants, float]:
    begin = getattr(_BEGIN, name)
    for factor in (step, 1 / step):
        value = getattr(constants, name) * factor
        if not begin / _FARTHEST <= value <= begin * _FARTHEST:
            continue
        tried = replace(constants, **{name: value})
        error = _error(used, tried)
        if error < best:
            return tried, error
    return constants, best


def _error(used: Sequence[Start], constants: TermConstants) -> float:
    terms = _terms(constants)
    return sum(
        abs(start.memory(terms).cache.middle - _printed(start)) / start.card.total_bytes
        for start in used
    )


def _ratio(start: Start, terms: FittedTerms) -> float:
    """Returns measured over predicted sum of the terms that come out of the budget."""
    memory = start.memory(terms)
    left = memory.budget_bytes - memory.parts[0].size_bytes
    predicted = left - memory.cache.middle
    return (left - _printed(start) + FLOOR_BYTES) / (predicted + FLOOR_BYTES)


def _printed(start: Start) -> float:
    assert start.row.kv_gib is not None, "only rows with a cache are used"
    return start.row.kv_gib * GIB


def _terms(constants: TermConstants) -> FittedTerms:
    return FittedTerms(constants=constants, ratios=(1.0,), starts=0, sources=0, inside=0)
