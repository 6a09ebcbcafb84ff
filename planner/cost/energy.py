"""Computes energy and money of a training step, from its time and from what bounds the card.

In: StepLoad, and optionally a dataset, a price and a PUE. Out: StepCost. Convention: power is known
only within bounds, so every figure that follows from it is a pair (low, high).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planner.cost.price import HourlyPrice
from planner.errors import UsageError
from planner.units import JOULES_PER_KWH, SECONDS_PER_HOUR, format_percent

Range = tuple[float, float]

# Share of the TDP that a card draws, by what bounds the time. Mean power of training in float32
# (https://github.com/ml-energy/zeus, zeus_nsdi23/trace at 75a8b93): BERT-base, compute-bound, 0.91
# of the TDP on a V100, 0.89 on an A40, 0.91 on a Quadro RTX 6000, 0.70 on a P100; ResNet-50, bound
# by memory bandwidth for 0.39 to 0.84 of its time, 0.89, 0.81, 0.89 and 0.66. Tensor cores in bf16
# reach 0.97 of the limit of a B200. Heavy training draws 0.76 to 0.82 of the rating of a node of 8
# H100 (https://arxiv.org/abs/2506.14551, https://arxiv.org/abs/2412.08602).
COMPUTE_BOUND_SHARE: Range = (0.70, 0.97)
BANDWIDTH_BOUND_SHARE: Range = (0.60, 0.88)
# Of a card that waits for its launches, clocks up: ShuffleNet with batch 8 draws 39 of 250 W on a
# V100, 40 of 250 on a P100, 89 of 300 on an A40, 71 of 260 on a Quadro RTX 6000 (the same source).
WAITING_SHARE: Range = (0.14, 0.31)
# The middle of the same cards without the P100, whose lanes of float32 need less than its board may
# draw: for the clock under a power limit, where the greater draw counts.
TYPICAL_SHARES = (0.92, 0.85, 0.20)  # compute-bound, memory-bandwidth-bound, waiting

# Power of CPU and memory, as a share of the card's power. An estimate for a workstation or a slice
# of a server; the H100 node of https://arxiv.org/abs/2412.08602, with its switches and fans, draws
# up to 8.4 kW with cards of 5.6 kW, so about 50 % more than the cards.
HOST_SHARE: Range = (0.15, 0.25)

NO_PUE = 1.0  # the power of the machine alone, without cooling
_MOST_PUE = 10.0  # buildings are below 3; a value above this is a mistake
_ROUNDING = 1e-6  # a sum of many shares may exceed 1 by this


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoad:
    """One step on one card: `compute_fraction` and `bandwidth_fraction` of `step_s` are bound by
    arithmetic and by memory bandwidth; in the rest the card waits. `tdp_w` is the board's power,
    `limit_w` a power limit below it; None: none was set.
    """

    step_s: float
    samples_per_step: int
    tdp_w: float
    compute_fraction: float
    bandwidth_fraction: float
    limit_w: float | None = None

    def __post_init__(self) -> None:
        shares = (self.compute_fraction, self.bandwidth_fraction)
        assert min(self.step_s, self.samples_per_step, self.tdp_w) > 0
        assert min(shares) >= 0
        assert sum(shares) <= 1 + _ROUNDING

    @property
    def waiting_fraction(self) -> float:
        """Returns the share of `step_s` in which the card waits."""
        return max(0.0, 1 - self.compute_fraction - self.bandwidth_fraction)

    @property
    def samples_per_s(self) -> float:
        """Returns the throughput."""
        return self.samples_per_step / self.step_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRange:
    """Mean power over a step in W: of the card, of its host, of both with the PUE."""

    card_w: Range
    host_w: Range
    total_w: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochCost:
    """One pass over the dataset.

    A rent includes the power bill: `kwh` is not paid on top of `money`.
    """

    samples: int
    """Samples of the pass."""
    hours: float
    """Hours that it takes."""
    kwh: Range
    """Energy, low and high."""
    money: Range | None
    """Rent of the card in `currency`, low and high; None: no price is known."""
    currency: str | None
    """Three letters; None: no price is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """The energy of a step, and its money where a price is known."""

    power_w: Range
    """Mean power in watts of card and host, with the PUE; low and high."""
    joule_per_sample: Range
    """Energy of one sample, low and high."""
    samples_per_s: float
    """Throughput that the figures are computed with."""
    epoch: EpochCost | None
    """One pass over the dataset; None: no size of it was given."""
    price: HourlyPrice | None
    """Rent of the card; None: no price is known."""
    basis: tuple[str, ...]
    """The source of each figure, a sentence each."""

    @property
    def cost_per_sample(self) -> Range | None:
        """Returns the rent of the card for one sample in the currency of `price`; None: unknown."""
        if self.price is None:
            return None
        return self.price.for_hours(1 / self.samples_per_s / SECONDS_PER_HOUR)


def checked_pue(pue: float) -> float:
    """Checks a PUE and returns it.

    Raises:
        UsageError: it is not from 1 to 10.
    """
    if not 1 <= pue <= _MOST_PUE:
        raise UsageError(
            f"a PUE of {pue:g} was given, which is not from 1 to {_MOST_PUE:g}; write 1 for the "
            "machine alone, or 1.1 to 1.5 for a data centre"
        )
    return pue


def power_range(
    load: StepLoad, *, host_share: Range = HOST_SHARE, pue: float = NO_PUE
) -> PowerRange:
    """Computes mean power over the step: a share of the TDP by the bound of the time, or the limit.

    `pue` is the power of the building over that of its machines.

    Raises:
        UsageError: a PUE that is not from 1 to 10.
    """
    checked_pue(pue)
    limit_w = load.tdp_w if load.limit_w is None else load.limit_w
    card_w = _each(lambda end: min(limit_w, load.tdp_w * _drawn_share(load, end)))
    host_w = _each(lambda end: card_w[end] * host_share[end])
    total_w = _each(lambda end: (card_w[end] + host_w[end]) * pue)
    return PowerRange(card_w=card_w, host_w=host_w, total_w=total_w)


def typical_power_w(load: StepLoad) -> float:
    """Returns the mean power of the card over the step if it had no power limit below the TDP."""
    compute, bandwidth, waiting = TYPICAL_SHARES
    return load.tdp_w * (
        load.compute_fraction * compute
        + load.bandwidth_fraction * bandwidth
        + load.waiting_fraction * waiting
    )


def step_cost(
    load: StepLoad,
    *,
    dataset_samples: int | None = None,
    price: HourlyPrice | None = None,
    host_share: Range = HOST_SHARE,
    pue: float = NO_PUE,
) -> StepCost:
    """Computes the energy of a sample, and energy, hours and rent of `dataset_samples`, an epoch.

    Raises:
        UsageError: a PUE that is not from 1 to 10.
    """
    power_w = power_range(load, host_share=host_share, pue=pue).total_w
    joules = _each(lambda end: power_w[end] / load.samples_per_s)
    epoch = None
    if dataset_samples is not None:
        epoch = _epoch(dataset_samples, load.samples_per_s, joules, price)
    return StepCost(
        power_w=power_w,
        joule_per_sample=joules,
        samples_per_s=load.samples_per_s,
        epoch=epoch,
        price=price,
        basis=_basis(load, dataset_samples, price, host_share, pue),
    )


def _epoch(
    samples: int, samples_per_s: float, joule_per_sample: Range, price: HourlyPrice | None
) -> EpochCost:
    hours = samples / samples_per_s / SECONDS_PER_HOUR
    return EpochCost(
        samples=samples,
        hours=hours,
        kwh=_each(lambda end: joule_per_sample[end] * samples / JOULES_PER_KWH),
        money=None if price is None else price.for_hours(hours),
        currency=None if price is None else price.currency,
    )


def _drawn_share(load: StepLoad, end: int) -> float:
    """Returns the drawn share of the TDP, weighted by time."""
    return (
        load.compute_fraction * COMPUTE_BOUND_SHARE[end]
        + load.bandwidth_fraction * BANDWIDTH_BOUND_SHARE[end]
        + load.waiting_fraction * WAITING_SHARE[end]
    )


def _basis(
    load: StepLoad,
    dataset_samples: int | None,
    price: HourlyPrice | None,
    host_share: Range,
    pue: float,
) -> tuple[str, ...]:
    limited = "" if load.limit_w is None else f", at most the power limit of {load.limit_w:g} W"
    said = [
        f"power of the card: of {load.tdp_w:g} W {_shares(COMPUTE_BOUND_SHARE)} while "
        f"compute-bound, {_shares(BANDWIDTH_BOUND_SHARE)} while memory-bandwidth-bound, "
        f"{_shares(WAITING_SHARE)} while waiting{limited}",
        f"power of the host: {_shares(host_share)} of the card's (more in a server of many cards)",
    ]
    if pue != NO_PUE:
        said.append(f"PUE {pue:g}: that much for each watt of the machine")
    if price is None:
        said.append("no rent of this card is known; give one with --price, like 2.49 USD/h")
    else:
        said.append(f"price: {price.basis}")
    if dataset_samples is not None:
        said.append(f"an epoch is {dataset_samples} samples, each once, without any evaluation")
    return tuple(said)


def _shares(ends: Range) -> str:
    low, high = (format_percent(end, 1) for end in ends)
    return low if low == high else f"{low} to {high}"


def _each(of: Callable[[int], float]) -> Range:
    return of(0), of(1)
