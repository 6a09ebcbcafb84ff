"""Predicts published loads, by the steps and the steady state that the product has.

In: SpeedRow, HostTerms. Out: SpeedJudged. Convention: a ratio is published over predicted seconds:
above 1 the engine was slower than predicted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from math import log

from benchmarks.serving.speed_cases import LoadKind, SpeedRow
from planner.catalog.served_shapes import catalog_shapes
from planner.config.serving import EngineName, ServingConfig, ServingLoad
from planner.errors import UsageError
from planner.estimation.serving_speed import ServedBy, holding_of, stepper_of
from planner.estimation.serving_start import serving_card
from planner.hardware.database import load_gpus, load_links
from planner.memory.kv_cache.facts import served_model
from planner.memory.serving.engines import engine_memory
from planner.timing.serving.attention import Prompts
from planner.timing.serving.host_terms import HostTerms, SpeedErrors, SpeedTerms
from planner.timing.serving.steady import Demand, Holding, SteadyLoad, steady_load
from planner.timing.serving.step import ServedStep, Stepper

_NO_ERRORS = SpeedErrors(ratios=(1.0,), sources=0)
_BATCH_TOKENS = 8192  # of a step in which a batch is read
_QUEUE = 1 << 14
FEW_USERS = 4  # so few prompts seldom wait for each other


class Figure(str, Enum):
    """A published figure."""

    TOKENS = "tokens/s"
    TPOT = "TPOT"
    FIRST = "TTFT, few users"
    FIRST_OF_LOAD = "TTFT, more users"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedJudged:
    """One figure of a row. `at_once_s`: of TTFT under load, the mean if all users ask at once."""

    row: SpeedRow
    figure: Figure
    published: float
    predicted: float
    at_once_s: float | None = None

    @property
    def ratio(self) -> float:
        """Returns published over predicted seconds."""
        if self.figure is Figure.TOKENS:
            return self.predicted / self.published
        return self.published / self.predicted

    @property
    def error(self) -> float:
        """Returns the logarithm of the ratio."""
        return log(self.ratio)


def speed_judged(row: SpeedRow, host: HostTerms) -> list[SpeedJudged]:
    """Predicts each figure of a row."""
    return list(_batch(row, host) if row.kind is LoadKind.BATCH else _load(row, host))


@lru_cache(maxsize=512)
def _served(model: str, card: str, config: ServingConfig) -> ServedBy:
    shapes = catalog_shapes(model)
    assert shapes is not None, f"{model} is not in the catalog"
    facts, spec = served_model(shapes), load_gpus().find(card).spec
    seen = serving_card(spec, spec.usable_memory_bytes)
    try:
        memory, _ = engine_memory(facts, config, seen)
    except UsageError:  # sglang with states: of its memory only the limits are not known
        memory, _ = engine_memory(facts, replace(config, engine=EngineName.VLLM), seen)
    return ServedBy(model=facts, config=config, memory=memory, card=spec, links=load_links())


def _batch(row: SpeedRow, host: HostTerms) -> Iterator[SpeedJudged]:
    stepper = _stepper(row, host)
    users = row.users or 1
    sequences = max(1, min(users, _BATCH_TOKENS // row.prompt))
    read = stepper.time(
        ServedStep(prompts=Prompts(sequences=sequences, tokens=row.prompt), ended=sequences)
    )
    whole_s = read.total_s * users / sequences
    if row.ttft_s is not None:
        yield SpeedJudged(
            row=row, figure=Figure.FIRST, published=row.ttft_s, predicted=whole_s + host.first_s
        )
    if row.tokens_per_s is not None:
        context = row.prompt + row.output / 2
        each = stepper.time(ServedStep(requests=users, context=context))
        whole_s += (row.output - 1) * each.total_s
        yield SpeedJudged(
            row=row, figure=Figure.TOKENS, published=row.tokens_per_s,
            predicted=users * row.output / whole_s,
        )  # fmt: skip


def _load(row: SpeedRow, host: HostTerms) -> Iterator[SpeedJudged]:
    found = steady_of(row, host)
    if row.tokens_per_s is not None:
        yield SpeedJudged(
            row=row, figure=Figure.TOKENS, published=row.tokens_per_s,
            predicted=row.output * found.requests_per_s,
        )  # fmt: skip
    if row.tpot_s is not None:
        yield SpeedJudged(row=row, figure=Figure.TPOT, published=row.tpot_s, predicted=found.tpot_s)
    if row.ttft_s is not None:
        yield SpeedJudged(
            row=row,
            figure=Figure.FIRST if (row.users or _QUEUE) <= FEW_USERS else Figure.FIRST_OF_LOAD,
            published=row.ttft_s,
            predicted=found.ttft_s,
            at_once_s=max(found.ttft_s, (found.alone_ttft_s + found.last_ttft_s) / 2),
        )


def steady_of(row: SpeedRow, host: HostTerms) -> SteadyLoad:
    """Returns the steady state of a row's load."""
    served = _served(row.model, row.card, row.config)
    stepper = _stepper(row, host)
    load = ServingLoad(users=row.users or _QUEUE, prompt=row.prompt, output=row.output)
    holding = holding_of(served.memory, row.config.engine, load)
    users = float(load.users)
    if row.kind is LoadKind.MOST:  # what waits in the queue is no user
        users = min(users, holding.requests)
    if row.kind is LoadKind.STEADY and row.config.engine is EngineName.SGLANG:
        holding = Holding(step_tokens=holding.step_tokens, requests=max(users, holding.requests))
    demand = Demand(users=users, prompt=row.prompt, output=row.output)
    return steady_load(stepper, demand, holding)


def _stepper(row: SpeedRow, host: HostTerms) -> Stepper:
    return replace(_bare_stepper(row.model, row.card, row.config), host=host)


@lru_cache(maxsize=512)
def _bare_stepper(model: str, card: str, config: ServingConfig) -> Stepper:
    none = HostTerms(step_s=0.0, request_s=0.0, layer_s=0.0, first_s=0.0)
    terms = SpeedTerms(host=none, tokens=_NO_ERRORS, first=_NO_ERRORS)
    return stepper_of(_served(model, card, config), terms)
