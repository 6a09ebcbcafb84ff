"""Compares predicted step times with measured ones that were not used to fit the efficiencies.

In: Rows and counted cases. Out: Judged. Convention: cases are held out, or for development;
doubtful ones are neither fitted on nor judged. On those for development, constants are fitted on
one half of the networks (of the rows, if a source has few) and judged on the other half, and vice
versa. Some sources are also judged with constants from all others. Every card is judged with
constants from all other cards, held-out cases too: no constant has seen either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import torch

from benchmarks.record.rows import half_of
from benchmarks.record.statistics import ErrorStatistics, error_statistics
from benchmarks.throughput.fitting import Parameters, Rows, fit, predicted_s, seen, source_shares
from benchmarks.throughput.records import Counted, Use
from benchmarks.throughput.sources import SOURCES, issue_s, timed
from benchmarks.throughput.spreading import Sample, measured_of
from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec
from planner.timing.kernels import KernelKind
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.spread import (
    Distance,
    Measured,
    architecture,
    step_precision,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Predicted seconds by the number of a case.

    `by_halves`: with constants of the other half; `left_out`: of all other sources; `by_cards`: of
    all other cards; `shipped`: of all cases for development. `held_out` are the numbers of the
    others, which have no half, and `doubtful` those that are only predicted. `constants` are fitted
    on the cases `fitted`; those of `grouped` have grouped convolutions. `samples` are the
    errors for the interval, and `measured` what the shipped constants have seen.
    """

    by_halves: dict[int, float]
    left_out: dict[int, float]
    by_cards: dict[int, float]
    shipped: tuple[float, ...]
    held_out: frozenset[int]
    doubtful: frozenset[int]
    constants: Parameters
    fitted: tuple[int, ...]
    grouped: frozenset[int]
    cards: tuple[str, ...]
    samples: tuple[Sample, ...]
    measured: Measured


def judge(data: Rows, counted: Sequence[Counted], held_out: Collection[str]) -> Judged:
    """Fits on each half, on all without each source, card and architecture that is left out, and
    on all; never on `held_out`.
    """
    return _Judge(data, counted, held_out).judged()


class _Judge:
    """What the fits of one judgement share."""

    def __init__(self, data: Rows, counted: Sequence[Counted], held_out: Collection[str]) -> None:
        self._data = data
        self._cases = [one.case for one in counted]
        find = load_gpus(None).find
        self._specs = [find(case.step.card).spec for case in self._cases]
        self._precisions = [
            step_precision(timed(one), card, tf32_matmul=one.case.tf32)
            for one, card in zip(counted, self._specs, strict=True)
        ]
        self._launch_s = [issue_s(one) for one in counted]
        every = range(len(counted))
        self._doubtful = frozenset(n for n in every if self._cases[n].use is Use.DOUBTFUL)
        self._apart = frozenset(n for n in every if self._cases[n].name in held_out)
        self._fitted = [n for n in every if n not in self._apart | self._doubtful]
        self._samples: list[Sample] = []
        self._shares: list[dict[TimeSource, float]] = []  # of the last predictions

    def judged(self) -> Judged:
        by_halves = self._by_halves()
        left_out = self._by_sources()
        by_cards = self._by(lambda card: card.id, is_judged=True)
        self._by(lambda card: architecture(card.compute_capability), is_judged=False)
        every = fit(self._data, self._fitted)
        return Judged(
            by_halves=by_halves,
            left_out=left_out,
            by_cards=by_cards,
            shipped=tuple(predicted_s(self._data, every).tolist()),
            held_out=self._apart,
            doubtful=self._doubtful,
            constants=every,
            fitted=tuple(self._fitted),
            grouped=_grouped(self._data),
            cards=tuple(card.id for card in self._specs),
            samples=tuple(self._samples),
            measured=self._measured(self._fitted),
        )

    def _by_halves(self) -> dict[int, float]:
        halves = [half_of(SOURCES[case.source].halved_by.of(case)) for case in self._cases]
        found: dict[int, float] = {}
        for half in (0, 1):
            fitted = [number for number in self._fitted if halves[number] == half]
            judged = [number for number in self._fitted if halves[number] != half]
            predicted = self._predicted(fitted, judged)
            self._add_samples(fitted, predicted, is_judged=False)
            found |= predicted
        return found

    def _by_sources(self) -> dict[int, float]:
        found: dict[int, float] = {}
        for name in (source.name for source in SOURCES.values() if source.left_out):
            fitted = [number for number in self._fitted if self._cases[number].source != name]
            judged = [number for number, case in enumerate(self._cases) if case.source == name]
            found |= self._predicted(fitted, judged)
        return found

    def _by(self, group: Callable[[GpuSpec], str], *, is_judged: bool) -> dict[int, float]:
        """Predicts all cases of each group of cards with constants of all other groups."""
        groups = [group(card) for card in self._specs]
        found: dict[int, float] = {}
        for name in sorted(set(groups)):
            fitted = [number for number in self._fitted if groups[number] != name]
            judged = [number for number, one in enumerate(groups) if one == name]
            predicted = self._predicted(fitted, judged)
            self._add_samples(fitted, predicted, is_judged=is_judged)
            found |= predicted
        return found

    def _predicted(self, fitted: Sequence[int], judged: Sequence[int]) -> dict[int, float]:
        """Predicts the judged cases, with constants of the fitted ones."""
        if not judged or not fitted:  # possible in a sample
            return {}
        found = fit(self._data, fitted)
        self._shares = source_shares(self._data, found, seen(self._data, fitted))
        seconds = predicted_s(self._data, found).tolist()
        return {number: seconds[number] for number in judged}

    def _add_samples(
        self, fitted: Sequence[int], predicted: dict[int, float], *, is_judged: bool
    ) -> None:
        """Adds the errors of predictions, at their distance from the fitted cases."""
        measured = self._measured(fitted)
        for number, seconds in predicted.items():
            if number in self._doubtful:
                continue
            case, card = self._cases[number], self._specs[number]
            launch_s = self._launch_s[number]
            unknown = measured.unknown(
                card.id,
                card.compute_capability,
                self._precisions[number],
                launch_s / (launch_s + seconds),
            )
            self._samples.append(
                Sample(
                    card=card.id,
                    error=math.log(case.measured_s / seconds),
                    distance=Distance(
                        unknown=unknown,
                        sources=self._shares[number],
                    ),
                    is_judged=is_judged,
                )
            )

    def _measured(self, fitted: Iterable[int]) -> Measured:
        return measured_of(
            (
                self._specs[number].id,
                self._specs[number].compute_capability,
                self._precisions[number],
            )
            for number in fitted
        )


def _grouped(data: Rows) -> frozenset[int]:
    """Returns the cases with convolutions of more than one group, and of more than one channel."""
    kind = KernelKind.GROUPED_CONVOLUTION.value
    is_grouped = torch.tensor([key.startswith(kind) for key in data.keys])
    return frozenset(data.case[is_grouped[data.key]].tolist())


def statistics(pairs: Sequence[tuple[float, float]]) -> ErrorStatistics | None:
    """Computes figures of pairs of predicted and measured seconds; None without any."""
    return error_statistics([predicted / measured - 1 for predicted, measured in pairs])
