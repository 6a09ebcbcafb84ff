"""Predicts published starts, with constants of all rows or of those of other sources.

In: Row. Out: Judged. Convention: an error of the cache is (predicted - printed) over the card's
memory; one of tokens is relative, from the printed size of the cache, so that it is the
arithmetic's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.serving.cases import Case, Row
from planner.catalog.served_shapes import catalog_shapes
from planner.hardware.database import GpuDatabase, load_gpus
from planner.memory.kv_cache.facts import ServedModel, served_model
from planner.memory.serving.card import ServingCard
from planner.memory.serving.engine import EngineMemory
from planner.memory.serving.formats import PLAIN, WeightFormat, named_format
from planner.memory.serving.vllm import vllm_memory
from planner.memory.serving.vllm_terms import FittedTerms
from planner.units import GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A row with its model and card at hand."""

    row: Row
    case: Case
    model: ServedModel
    weights: WeightFormat
    card: ServingCard

    def memory(self, terms: FittedTerms) -> EngineMemory:
        """Returns the prediction with these constants."""
        return vllm_memory(
            self.model,
            self.weights,
            self.case.config,
            self.card,
            terms=terms,
            weight_ranks=self.case.weight_ranks,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A start with its prediction. Errors are fractions; None: the row has no such figure."""

    start: Start
    memory: EngineMemory
    cache_error: float | None
    tokens_error: float | None
    weights_error: float | None
    is_inside: bool | None
    """Whether the printed cache is inside the interval of constants from other sources."""


def starts(rows: Sequence[Row]) -> list[Start]:
    """Returns the rows that have a case, with model and card."""
    database = load_gpus()
    return [_start(row, row.case, database) for row in rows if row.case is not None]


def _start(row: Row, case: Case, database: GpuDatabase) -> Start:
    shapes = catalog_shapes(case.model)
    assert shapes is not None, f"{case.model} is not in the catalog"
    model = served_model(shapes)
    spec = database.find(case.card).spec
    total = spec.usable_memory_bytes if case.total_gib is None else int(case.total_gib * GIB)
    quant = case.config.quant
    weights = PLAIN
    if quant is not None:
        weights = named_format(quant, has_states=model.has_states, has_experts=model.experts > 0)
    card = ServingCard(
        name=spec.name,
        total_bytes=total,
        context_bytes=spec.profile.context_overhead_bytes,
        nvlink_bytes_per_s=spec.nvlink_bytes_per_s,
        compute_capability=spec.profile.compute_capability,
    )
    return Start(row=row, case=case, model=model, weights=weights, card=card)


def judged(start: Start, terms: FittedTerms, terms_of_others: FittedTerms) -> Judged:
    """Predicts a start; `terms_of_others` are fitted without the source of the row."""
    row = start.row
    memory, held_out = start.memory(terms), start.memory(terms_of_others)
    cache = None if row.kv_gib is None else row.kv_gib * GIB
    weights = memory.parts[0].size_bytes
    return Judged(
        start=start,
        memory=held_out,
        cache_error=(
            None if cache is None else (held_out.cache.middle - cache) / start.card.total_bytes
        ),
        tokens_error=_tokens_error(memory, row),
        weights_error=None if row.weights_gib is None else weights / (row.weights_gib * GIB) - 1,
        is_inside=None if cache is None else held_out.cache.low <= cache <= held_out.cache.high,
    )


def _tokens_error(memory: EngineMemory, row: Row) -> float | None:
    """Returns the error of the tokens of the printed cache."""
    judges = row.case is not None and row.case.judges_tokens
    if not judges or row.kv_gib is None or row.kv_gib < 0 or row.tokens is None:
        return None
    return memory.pool.tokens(int(row.kv_gib * GIB), memory.max_model_len) / row.tokens - 1
