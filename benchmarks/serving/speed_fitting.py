"""Fits what the CPU of an engine adds, and collects the errors of published loads.

In: SpeedRow. Out: SpeedTerms by engine, as the document of speed_terms.json. Convention: a constant
is one of a short list; the best has the least mean error of the sources' mean errors. An error for
the interval is that of constants from the other sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import exp
from statistics import fmean, median
from typing import Any

from benchmarks.serving.speed_cases import LoadKind, SpeedRow
from benchmarks.serving.speed_judging import Figure, SpeedJudged, speed_judged
from planner.config.serving import EngineName
from planner.timing.serving.host_terms import HostTerms

_STEPS_S = (0.0, 2e-4, 4e-4, 7e-4, 1e-3, 1.5e-3)
_REQUESTS_S = (0.0, 5e-6, 1e-5, 2e-5)
# Of a layer outside of a CUDA graph: some 12 kernels, each launched in 6 to 8 us of Python and
# dispatch (planner/timing/issue.json). No row tells it apart.
_LAYER_S = 1e-4
_SPEEDS = (Figure.TOKENS, Figure.TPOT)
# Engines whose rows give the interval of another: of SGLang there are few.
_RELATED = {
    EngineName.VLLM: (EngineName.VLLM,),
    EngineName.SGLANG: (EngineName.SGLANG, EngineName.VLLM),
    EngineName.TRTLLM: (EngineName.TRTLLM,),
}


def fitted_speed(rows: Sequence[SpeedRow]) -> tuple[dict[str, Any], list[SpeedJudged]]:
    """Returns the document, and every figure judged with constants from other sources."""
    document: dict[str, Any] = {}
    judged: dict[EngineName, list[SpeedJudged]] = {}
    for engine in _RELATED:
        own = [row for row in rows if row.config.engine is engine]
        judged[engine] = _held_out(own)
        document[engine.value] = {"host": _microseconds(host_terms(own))}
    for engine, related in _RELATED.items():
        used = [one for name in related for one in judged[name] if _counts(one)]
        document[engine.value]["tokens"] = _errors(used, _SPEEDS)
        document[engine.value]["first"] = _errors(used, (Figure.FIRST,))
    return document, [one for found in judged.values() for one in found]


def host_terms(rows: Sequence[SpeedRow]) -> HostTerms:
    """Returns the constants of an engine; without rows of loads none is added."""
    loads = [row for row in rows if row.kind is not LoadKind.BATCH]
    best = min(
        (
            HostTerms(step_s=step_s, request_s=request_s, layer_s=_LAYER_S, first_s=0.0)
            for step_s, request_s in product(_STEPS_S, _REQUESTS_S)
        ),
        key=lambda host: _mean_error(loads, host),
    )
    first_s = _first_s(loads, best)
    return HostTerms(
        step_s=best.step_s, request_s=best.request_s, layer_s=_LAYER_S, first_s=first_s
    )


def _mean_error(rows: Iterable[SpeedRow], host: HostTerms) -> float:
    errors: dict[str, list[float]] = {}
    for row in rows:
        for one in speed_judged(row, host):
            if one.figure in _SPEEDS:
                errors.setdefault(row.source, []).append(abs(one.error))
    return fmean(map(fmean, errors.values())) if errors else 0.0


def _first_s(rows: Iterable[SpeedRow], host: HostTerms) -> float:
    """Returns the median of what is published above the predicted time of few users."""
    more = [
        max(0.0, one.published - one.predicted)
        for row in rows
        for one in speed_judged(row, host)
        if one.figure is Figure.FIRST
    ]
    return round(median(more), 4) if more else 0.0


def _held_out(rows: Sequence[SpeedRow]) -> list[SpeedJudged]:
    found = []
    for source in {row.source: None for row in rows}:
        host = host_terms([row for row in rows if row.source != source])
        for row in rows:
            if row.source == source:
                found += speed_judged(row, host)
    return found


def _counts(one: SpeedJudged) -> bool:
    """Returns whether a figure counts for the interval: loads, and first tokens that are alone."""
    return one.row.kind is not LoadKind.BATCH or one.figure is Figure.FIRST


def _errors(judged: Iterable[SpeedJudged], figures: Sequence[Figure]) -> Mapping[str, Any]:
    used = [one for one in judged if one.figure in figures]
    return {
        "ratios": sorted(round(exp(one.error), 4) for one in used),
        "sources": len({one.row.source for one in used}),
    }


def _microseconds(host: HostTerms) -> dict[str, float]:
    return {
        "step_us": round(1e6 * host.step_s, 1),
        "request_us": round(1e6 * host.request_s, 1),
        "layer_us": round(1e6 * host.layer_s, 1),
        "first_us": round(1e6 * host.first_s, 1),
    }
