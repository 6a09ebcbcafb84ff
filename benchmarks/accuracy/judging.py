"""Gives verdicts: compares predictions with measurements.

In: Results of one source. Out: Judged, in the same order. Convention: a constant is the median of
measured - predicted over about half of the models, drawn by a seed; these are not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

from benchmarks.accuracy.records import (
    BRACKET_TOLERANCE_FRACTION,
    Judged,
    Judging,
    Quantity,
    Result,
    Source,
    Verdict,
)
from benchmarks.record.rows import fitting_half

# Some kernels of PyTorch and cuDNN refuse more elements: their indices are signed 32-bit numbers.
INDEX_LIMIT_ELEMENTS = 2**31 - 1

# Networks of one name that differ by no more than this in their parameters are taken for the same:
# later versions of timm have moved a bias here and there.
SAME_NETWORK_FRACTION = 0.005

Offsets = dict[str, int]


def judge(source: Source, results: Sequence[Result], left_out: frozenset[str]) -> list[Judged]:
    """Returns a verdict for each result. `left_out`: cases whose figure is not of memory."""
    if source.judging is Judging.OFFSET:
        return _with_offset(source, results, left_out)
    one = _bracket if source.judging is Judging.BRACKET else _absolute
    return [_or_not_run(source, result, one) for result in results]


def violations(source: Source, judged: Sequence[Judged], *, whole: bool) -> list[str]:
    """Returns the bounds that fail, in words; the bound of a median counts only for the `whole`."""
    found = [
        f"{one.result.case.name}: not run: {one.note}"
        for one in judged
        if one.verdict is Verdict.NOT_RUN
    ]
    for quantity, bounds in source.bounds.items():
        errors = {
            one.result.case.run: one.error
            for one in judged
            if one.result.case.quantity is quantity and one.error is not None
        }
        found += [
            f"{run}: {quantity.value} is off by {error:+.4%}, beyond {bounds.row:.1%}"
            for run, error in errors.items()
            if abs(error) > bounds.row
        ]
        if not whole or bounds.median is None or not errors:
            continue
        middle = median(map(abs, errors.values()))
        if middle > bounds.median:
            found.append(
                f"the median error of {quantity.value} is {middle:.4%}, beyond {bounds.median:.2%}"
            )
    return found


def offsets(source: Source, results: Sequence[Result], fitted: frozenset[str]) -> Offsets:
    """Fits the constant of each card in bytes on the results of the models in `fitted`."""
    gaps: dict[str, list[int]] = {}
    for result in results:
        measured, predicted = result.case.measured_bytes, _peak(result)
        in_half = source.halved_by.of(result.case) in fitted
        if in_half and measured is not None and predicted is not None:
            gaps.setdefault(result.case.step.card, []).append(measured - predicted)
    return {card: round(median(found)) for card, found in gaps.items()}


def offsets_of(source: Source, judged: Sequence[Judged]) -> Offsets:
    """Returns the constants of the given verdicts."""
    fitted = [one.result for one in judged if one.verdict is Verdict.FITTED]
    return offsets(source, fitted, frozenset(source.halved_by.of(one.case) for one in fitted))


def without_workspaces(results: Sequence[Result]) -> list[Result]:
    """Returns the results with their peaks without cuDNN's workspaces, if these are known."""
    return [
        replace(one, prediction=replace(one.prediction, peak_reserved_bytes=other))
        for one in results
        if (other := one.prediction.without_workspaces_bytes) is not None
    ]


def another_network(result: Result) -> str:
    """Returns why the network of this name is not the measured one; "" if it is."""
    published, built = result.case.parameters_millions, result.prediction.parameters
    if published is None or built is None:
        return ""
    # Published with two digits: up to 0.005 off.
    if abs(built / 1e6 - published) <= 0.006 + SAME_NETWORK_FRACTION * published:
        return ""
    return f"another network: {published:.2f} M parameters when measured, {built / 1e6:.2f} M here"


def _or_not_run(
    source: Source, result: Result, judge_one: Callable[[Source, Result], Judged]
) -> Judged:
    if result.prediction.trouble:
        trouble = result.prediction.trouble
        return Judged(result=result, verdict=Verdict.NOT_RUN, note=trouble)
    return judge_one(source, result)


def _peak(result: Result) -> int | None:
    """Returns the predicted peak of the measured kind; the driver's figure holds peak reserved."""
    if result.case.quantity is Quantity.PEAK_ALLOCATED:
        return result.prediction.peak_allocated_bytes
    if result.case.quantity is Quantity.PEAK_ACTIVE:
        return result.prediction.peak_active_bytes
    return result.prediction.peak_reserved_bytes


def _absolute(source: Source, result: Result) -> Judged:
    judged = _against(source, result, _peak(result))
    return replace(judged, verdict=Verdict.FITTED) if result.case.chosen_on else judged


def _with_offset(
    source: Source, results: Sequence[Result], left_out: frozenset[str]
) -> list[Judged]:
    reasons = {one.case.name: another_network(one) for one in results}
    reasons |= dict.fromkeys(left_out, "the figure is the size of the card, not that of the step")
    usable = [one for one in results if not reasons[one.case.name]]
    fitted = fitting_half((source.halved_by.of(one.case) for one in usable), source.half_seed)
    constants = offsets(source, usable, fitted)

    def one(source: Source, result: Result) -> Judged:
        peak = _peak(result)
        constant = constants.get(result.case.step.card)
        reason = reasons[result.case.name]
        if not reason and (constant is None or peak is None):
            reason = "no case of this card is in the half that its constant would be fitted on"
        if reason or constant is None or peak is None:
            return Judged(result=result, verdict=Verdict.LEFT_OUT, note=reason)
        judged = _against(source, result, peak + constant)
        is_fitted = source.halved_by.of(result.case) in fitted
        return replace(judged, verdict=Verdict.FITTED) if is_fitted else judged

    return [_or_not_run(source, result, one) for result in results]


def _against(source: Source, result: Result, predicted: int | None) -> Judged:
    measured = result.case.measured_bytes
    assert measured is not None
    assert predicted is not None
    error = (predicted - measured) / measured
    bound = source.bounds[result.case.quantity].row
    verdict = Verdict.WITHIN if abs(error) <= bound else Verdict.BEYOND
    return Judged(result=result, verdict=verdict, predicted_bytes=predicted, error=error)


def _bracket(source: Source, result: Result) -> Judged:
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
