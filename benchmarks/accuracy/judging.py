"""Gives verdicts: compares predictions with measurements.

In: Results of one source. Out: Judged, in the same order. Convention: a constant is the median of
measured - predicted over about half of the models, drawn by a seed; these are not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

from benchmarks.accuracy.reading import fitting_half
from benchmarks.accuracy.records import Judged, Quantity, Result, Verdict
from benchmarks.accuracy.sources import (
    BRACKET_TOLERANCE_FRACTION,
    H100_BOUNDS,
    INDEX_LIMIT_ELEMENTS,
    SAME_NETWORK_FRACTION,
    Judging,
    Source,
)

Offsets = dict[str, int]


def judge(source: Source, results: Sequence[Result], left_out: frozenset[str]) -> list[Judged]:
    """Returns a verdict for each result. `left_out`: cases whose figure is not of memory."""
    if source.judging is Judging.OFFSET:
        return _with_offset(source, results, left_out)
    one = _bracket if source.judging is Judging.BRACKET else _absolute
    return [_or_not_run(result, one) for result in results]


def offsets(source: Source, results: Sequence[Result], fitted: frozenset[str]) -> Offsets:
    """Fits the constant of each card in bytes on the results of the models in `fitted`."""
    gaps: dict[str, list[int]] = {}
    for result in results:
        measured, predicted = result.case.measured_bytes, result.prediction.peak_reserved_bytes
        if fit_key(source, result) in fitted and measured is not None and predicted is not None:
            gaps.setdefault(result.case.card, []).append(measured - predicted)
    return {card: round(median(found)) for card, found in gaps.items()}


def offsets_of(source: Source, judged: Sequence[Judged]) -> Offsets:
    """Returns the constants of the given verdicts."""
    fitted = [one.result for one in judged if one.verdict is Verdict.FITTED]
    return offsets(source, fitted, frozenset(fit_key(source, one) for one in fitted))


def without_workspaces(results: Sequence[Result]) -> list[Result]:
    """Returns the results with their peaks without cuDNN's workspaces, if these are known."""
    return [
        replace(one, prediction=replace(one.prediction, peak_reserved_bytes=other))
        for one in results
        if (other := one.prediction.without_workspaces_bytes) is not None
    ]


def fit_key(source: Source, result: Result) -> str:
    """Returns the unit from which halves are drawn: the model, or the case if models are few."""
    return result.case.name if source.halves_by_case else result.case.model


def another_network(result: Result) -> str:
    """Returns why the network of this name is not the measured one; "" if it is."""
    published, built = result.case.parameters_millions, result.prediction.parameters
    if published is None or built is None:
        return ""
    # Published with two digits: up to 0.005 off.
    if abs(built / 1e6 - published) <= 0.006 + SAME_NETWORK_FRACTION * published:
        return ""
    return f"another network: {published:.2f} M parameters when measured, {built / 1e6:.2f} M here"


def _or_not_run(result: Result, judge_one: Callable[[Result], Judged]) -> Judged:
    if result.prediction.trouble:
        trouble = result.prediction.trouble
        return Judged(result=result, verdict=Verdict.NOT_RUN, note=trouble)
    return judge_one(result)


def _absolute(result: Result) -> Judged:
    case, prediction = result.case, result.prediction
    is_reserved = case.quantity is Quantity.PEAK_RESERVED
    predicted = prediction.peak_reserved_bytes if is_reserved else prediction.peak_allocated_bytes
    return _against(result, predicted, H100_BOUNDS[case.quantity])


def _with_offset(
    source: Source, results: Sequence[Result], left_out: frozenset[str]
) -> list[Judged]:
    reasons = {one.case.name: another_network(one) for one in results}
    reasons |= dict.fromkeys(left_out, "the figure is the size of the card, not that of the step")
    usable = [one for one in results if not reasons[one.case.name]]
    fitted = fitting_half((fit_key(source, one) for one in usable), source.half_seed)
    constants = offsets(source, usable, fitted)

    def one(result: Result) -> Judged:
        reserved = result.prediction.peak_reserved_bytes
        constant = constants.get(result.case.card)
        reason = reasons[result.case.name]
        if not reason and (constant is None or reserved is None):
            reason = "no case of this card is in the half that its constant would be fitted on"
        if reason or constant is None or reserved is None:
            return Judged(result=result, verdict=Verdict.LEFT_OUT, note=reason)
        judged = _against(result, reserved + constant, source.bound)
        is_fitted = fit_key(source, result) in fitted
        return replace(judged, verdict=Verdict.FITTED) if is_fitted else judged

    return [_or_not_run(result, one) for result in results]


def _against(result: Result, predicted: int | None, bound: float) -> Judged:
    measured = result.case.measured_bytes
    assert measured is not None
    assert predicted is not None
    error = (predicted - measured) / measured
    verdict = Verdict.WITHIN if abs(error) <= bound else Verdict.BEYOND
    return Judged(result=result, verdict=verdict, predicted_bytes=predicted, error=error)


def _bracket(result: Result) -> Judged:
    prediction = result.prediction
    other = another_network(result)
    if other:
        return Judged(result=result, verdict=Verdict.LEFT_OUT, note=other)
    if (prediction.largest_elements or 0) > INDEX_LIMIT_ELEMENTS:
        note = "a tensor has more elements than 32-bit indices reach: the failure may be that"
        return Judged(result=result, verdict=Verdict.LEFT_OUT, note=note)
    ran = result.case.quantity is Quantity.FITS
    is_right = prediction.fits is ran
    note = ""
    if not is_right and not ran and prediction.fits_smaller is False:
        is_right = True
        note = f"fails on a card smaller by {BRACKET_TOLERANCE_FRACTION:.2f} of its memory"
    verdict = Verdict.RIGHT if is_right else Verdict.WRONG
    return Judged(result=result, verdict=verdict, note=note)
