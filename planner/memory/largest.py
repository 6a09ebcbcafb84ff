"""Finds the largest batch or sequence of one card: forecast by replay, confirmed by runs.

In: functions that run the step at some values. Out: LargestValue. Convention: runs decide; a replay
only proposes which runs to make. Where the requests of a step follow no rule, every try is a run,
and the reason is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from planner.memory.allocator.settings import AllocatorSettings
from planner.memory.forecast import Forecast
from planner.memory.probe import Probe, ProbeOutcome
from planner.memory.sample_parts import Mismatch, Sample, SampleParts
from planner.memory.scaling import ScaledRequests, fit_parts, is_near
from planner.memory.search import BOUND, Capacity, confirmed, largest_fitting

_APART = 64  # samples near each other are 1/64 apart
_ALIGNED = 8  # multiples of it have kernels of their own: samples near each other are all multiples
_ROUNDS = 3
_ATTEMPTS = 2  # to confirm a forecast, before the search goes on by runs


class Method(str, Enum):
    """The way a largest batch was found."""

    REPLAY = "replay"  # by a replay of recorded requests
    RUNS = "runs"  # by trying batch after batch


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestValue:
    """The result of a search. `is_confirmed`: the answer was run and fits, and the next value was
    run and does not. At the bound of the search no next value is run.

    `reason` says why it was not found by replay. `scaled` are the requests at every value, None
    where they follow no rule. `has_no_limit`: no request depends on the value.
    """

    capacity: Capacity
    method: Method
    is_confirmed: bool
    reason: str = ""
    scaled: ScaledRequests | None = None
    has_no_limit: bool = False

    @property
    def limited(self) -> Capacity | None:
        """Returns the capacity set by memory; None where no request depends on the value."""
        return None if self.has_no_limit else self.capacity


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayTarget:
    """A card for replays; `settings` are its allocator's, None where they cannot be replayed."""

    capacity_bytes: int
    total_memory_bytes: int
    settings: AllocatorSettings | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFns:
    """Functions that run the step at several values in parallel.

    `samples` are runs without a limit, None where one failed; `probes` are runs on the card.
    `probes_and_sample` runs probes at some values and a sample at one more, side by side.
    """

    samples: Callable[[Sequence[int]], list[Sample | None]]
    probes: Callable[[Sequence[int]], list[Probe]]
    probes_and_sample: Callable[[Sequence[int], int], tuple[list[Probe], Sample | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStart:
    """The known facts before the search.

    `values` are those to sample, one more than the degree of the rule; `sample` is one of them if
    it was run; `known` is the result of the requested value; `start` is the first try by runs.
    """

    values: tuple[int, ...]
    sample: Sample | None
    known: tuple[Probe, ...]
    start: int
    trouble: str = ""  # why a replay is of no use; "" where it is


def largest(tries: ProbeFns, card: ReplayTarget, beginning: SearchStart) -> LargestValue:
    """Returns the largest value that fits on the card."""
    if beginning.trouble or card.settings is None:
        reason = beginning.trouble or "this allocator cannot be replayed"
        return _by_runs(tries, card, beginning, reason)
    rule = _Rule(tries, degree=len(beginning.values) - 1, sample=beginning.sample)
    known = list(beginning.known)
    try:
        scaled = rule.learn(beginning.values)
        for _ in range(_ATTEMPTS):
            scaled, answer = _forecast(rule, scaled, card, min(beginning.values))
            if scaled.is_constant:
                return _without_runs(scaled, answer, beginning)
            if _is_confirmed(rule, answer, known, scaled) or rule.is_sampled(answer):
                break
            scaled = rule.learn((max(answer, min(beginning.values)),))
    except _NoRuleError as error:
        if rule.answer is None:
            return _by_runs(tries, card, beginning, str(error))
        capacity, reason = _confirmed(tries, rule.answer, known, None), str(error)
        return _by_those_runs(capacity, reason)
    capacity = _confirmed(tries, answer, known, scaled)
    right = capacity.largest == answer
    return LargestValue(
        capacity=capacity,
        method=Method.REPLAY if right else Method.RUNS,
        is_confirmed=not capacity.is_bound,
        reason="" if right else f"a replay of the recorded requests had given {answer}",
        scaled=scaled,
    )


def _confirmed(
    tries: ProbeFns, answer: int, known: Sequence[Probe], scaled: ScaledRequests | None
) -> Capacity:
    return confirmed(
        lambda value: tries.probes([value])[0],
        answer=answer,
        known=tuple(known),
        below=lambda value: _run_below(value, scaled),
    )


def _run_below(value: int, scaled: ScaledRequests | None) -> tuple[int, ...]:
    """Returns the value below where it must be run too: no replay knows scratch without a rule."""
    return (
        (value - 1,) if value > 1 and scaled is not None and scaled.has_scratch_of_its_own else ()
    )


def _forecast(
    rule: _Rule, scaled: ScaledRequests, card: ReplayTarget, smallest: int
) -> tuple[ScaledRequests, int]:
    """The largest value by replay, of a rule that holds there as far as it can be had."""
    # With smaller values before any run: unet on an A10G fits with 452 and not with 451.
    answer = rule.largest(scaled, card)
    for _ in range(_ROUNDS):
        if answer < smallest or answer >= BOUND or rule.holds_at(answer, scaled):
            break
        scaled = rule.learn((answer,))
        answer = rule.largest(scaled, card)
    return scaled, answer


def _is_confirmed(rule: _Rule, answer: int, known: list[Probe], scaled: ScaledRequests) -> bool:
    """Runs the answer and its neighbours where they are not known yet, and adds them to `known`."""
    first = max(1, answer)
    values = [first, first + 1, *_run_below(answer, scaled)] if 0 < answer < BOUND else [first]
    tried = {probe.value for probe in known}
    known += rule.probes([value for value in values if value not in tried], answer, scaled)
    shown = {probe.value: probe.outcome is ProbeOutcome.FITS for probe in known}
    return all(shown[value] == (value <= answer) for value in values)


def _without_runs(scaled: ScaledRequests, answer: int, beginning: SearchStart) -> LargestValue:
    """Returns the result where no request depends on the value: there is nothing to run."""
    return LargestValue(
        capacity=Capacity(largest=answer, is_bound=answer >= BOUND, probes=beginning.known),
        method=Method.REPLAY,
        is_confirmed=False,
        scaled=scaled,
        has_no_limit=answer >= BOUND,
    )


def forecasts(
    tries: ProbeFns,
    cards: Sequence[ReplayTarget],
    beginning: SearchStart,
) -> list[LargestValue] | None:
    """Returns by replay the largest value for each of several cards that run the same kernels.

    None where the requests follow no rule. 0 means that not even the smallest sample fits: only a
    run can show whether 1 does.
    """
    smallest = min(beginning.values)
    rule = _Rule(tries, degree=len(beginning.values) - 1, sample=beginning.sample)
    try:
        scaled = rule.learn(beginning.values)
    except _NoRuleError:
        return None
    answers: dict[ReplayTarget, int] = {}
    for card in sorted(set(cards), key=lambda one: one.capacity_bytes):
        guess = _between(answers, card)
        answers[card] = rule.largest(scaled, card, guess, look_below=False)
    return [
        LargestValue(
            capacity=Capacity(
                largest=answers[card] if answers[card] >= smallest else 0,
                is_bound=answers[card] >= BOUND,
                probes=(),
            ),
            method=Method.REPLAY,
            is_confirmed=False,
            scaled=scaled,
            has_no_limit=scaled.is_constant and answers[card] >= BOUND,
        )
        for card in cards
    ]


def _between(answers: Mapping[ReplayTarget, int], card: ReplayTarget) -> int | None:
    """Guesses on the line through the smallest and the largest card so far; None: no line."""
    known = {one.capacity_bytes: answer for one, answer in answers.items() if answer < BOUND}
    one, two = min(known, default=0), max(known, default=0)
    if two == card.capacity_bytes:
        return known[two]
    if one == two:
        return None
    slope = (known[two] - known[one]) / (two - one)
    return max(1, known[two] + round((card.capacity_bytes - two) * slope))


def _by_runs(
    tries: ProbeFns, card: ReplayTarget, beginning: SearchStart, reason: str
) -> LargestValue:
    capacity = largest_fitting(
        lambda value: tries.probes([value])[0],
        limit_bytes=card.capacity_bytes,
        known=beginning.known,
        start=beginning.start,
    )
    return _by_those_runs(capacity, reason)


def _by_those_runs(capacity: Capacity, reason: str) -> LargestValue:
    return LargestValue(
        capacity=capacity,
        method=Method.RUNS,
        is_confirmed=not capacity.is_bound,
        reason=reason,
    )


class _NoRuleError(Exception):
    """No rule was found for the requests of the step."""


class _Rule:
    """Learns the rule that the samples have in common.

    Kernels are chosen by size: samples far apart may need other scratch, or make other requests.
    Samples near each other do not, so the rule is learnt anew where an answer is expected.
    """

    def __init__(self, tries: ProbeFns, *, degree: int, sample: Sample | None) -> None:
        self._tries = tries
        self._degree = degree
        known = () if sample is None else (sample,)
        self._samples = {one.value: SampleParts(one) for one in known}
        self._ahead: dict[int, Sample] = {}  # a sample that no rule has asked for yet
        self._is_local = False
        self._forecast: Forecast | None = None
        self.answer: int | None = None  # the last one

    def learn(self, values: Sequence[int]) -> ScaledRequests:
        """Fits the samples at `values` and all before; if they differ, samples near the last value.

        Raises:
            _NoRuleError: a sample failed, or samples near each other differ too.
        """
        self._take(values)
        found = fit_parts(self._samples.values(), self._degree)
        if isinstance(found, Mismatch):
            self._is_local = True
            step = max(1, values[-1] // _APART)
            if values[-1] >= _ALIGNED * _ALIGNED:
                step = -(-step // _ALIGNED) * _ALIGNED
            near = [values[-1] + step * index for index in range(self._degree + 1)]
            self._take(near)
            found = fit_parts([self._samples[value] for value in near], self._degree)
        if isinstance(found, Mismatch):
            raise _NoRuleError(f"the requests of the step are not alike: {found.reason}")
        return found

    def holds_at(self, value: int, scaled: ScaledRequests) -> bool:
        """Returns whether the rule holds at `value` without further samples."""
        if not self._is_local and not scaled.has_scratch_of_its_own:
            return True
        return is_near(value, self._samples)

    def largest(
        self,
        scaled: ScaledRequests,
        card: ReplayTarget,
        guess: int | None = None,
        look_below: bool = True,
    ) -> int:
        """Returns the largest value on a card by replay."""
        assert card.settings is not None
        if self._forecast is None or self._forecast.scaled is not scaled:
            self._forecast = Forecast(scaled, card.settings)
        capacity = self._forecast.largest(
            capacity_bytes=card.capacity_bytes,
            total_memory_bytes=card.total_memory_bytes,
            guess=guess,
            look_below=look_below,
        )
        self.answer = capacity.largest
        return capacity.largest

    def probes(self, values: Sequence[int], answer: int, scaled: ScaledRequests) -> list[Probe]:
        """Runs probes that are to confirm `answer`.

        Scratch without a rule makes many a first answer wrong, and a sample at the answer comes
        next then: that one is run beside the probes, where a processor is often idle.
        """
        is_doubtful = scaled.has_scratch_of_its_own and 0 < answer < BOUND
        if not values or not is_doubtful or self._ahead or self.is_sampled(answer):
            return self._tries.probes(values)
        found, sample = self._tries.probes_and_sample(values, answer)
        if sample is not None:
            self._ahead[answer] = sample
        return found

    def is_sampled(self, value: int) -> bool:
        """Returns whether there is a sample at `value` itself."""
        return value in self._samples

    def _take(self, values: Sequence[int]) -> None:
        self._samples |= {
            value: SampleParts(self._ahead[value]) for value in values if value in self._ahead
        }
        missing = [value for value in values if value not in self._samples]
        if not missing:
            return
        for value, sample in zip(missing, self._tries.samples(missing), strict=True):
            if sample is None:
                raise _NoRuleError(f"the step fails at {value}, for another reason than memory")
            self._samples[value] = SampleParts(sample)
