"""Fits the efficiencies that predict published step times best.

In: counted cases, and those to fit on. Out: Efficiencies, predictions in seconds. The error is
Huber's of the logarithm; an efficiency with few kernels stays near its prior. Convention: the
formulas are those of planner/timing, on tensors; a test compares them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.throughput.records import Counted
from benchmarks.throughput.sources import SOURCES, copy_s, issue_s, timed
from planner.hardware.database import load_gpus
from planner.timing.efficiency import Efficiencies
from planner.timing.kernel_roofs import bare_time, has_tiles
from planner.timing.kernel_times import table_time
from planner.timing.kernels import kernels_of
from planner.timing.rates import memory_rate

_PRIOR_COMPUTE, _PRIOR_BANDWIDTH = 0.75, 0.9
_PRIOR_KERNEL_US, _PRIOR_GAIN, _PRIOR_REACH = 2.0, 1.5, 0.7
_LOG_SPREAD, _LOG_SPREAD_GROUPED = 0.35, 1.2
# Of the factor on a table's times. Products were measured alone, at the clocks of a card that is
# not warm. Of kernels that stream, the tables hold the plainest: contiguous, whole vectors.
_TABLE_SPREADS = {"matrix product": 0.1, "fused attention, half": 0.15}
_STREAM_SPREAD = 0.3
_PRIOR_WEIGHT = 0.025
_HUBER = 0.1
# Greatest shares of measured rates; a TF32 rate was measured for one size of product only.
_MOST, _MOST_TF32 = 1.1, 2.5
_STEPS, _RATE = 250, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Kernels of all cases, one row for equal ones; `case` is the number of their case."""

    keys: tuple[str, ...]
    case: Tensor
    key: Tensor
    calls: Tensor
    launches: Tensor  # calls of the operator, at its first kernel
    compute_s: Tensor
    memory_s: Tensor
    of_l2: Tensor
    tiled: Tensor
    table_s: Tensor  # of a table of measured kernels; 0: it has none
    fixed_s: Tensor  # of the same
    more: Tensor  # kernels of a call beyond those that are timed, at its first kernel
    operator: Tensor  # number of the operator among those of its case
    issue_s: Tensor  # of a case, on the CPU
    measured: Tensor
    weight: Tensor
    apart_s: Tensor  # seconds of a case that neither the card nor launches take


def rows(counted: Sequence[Counted]) -> Rows:
    """Returns the kernels of the cases at the full rates of their cards."""
    cards = load_gpus(None)
    keys: dict[str, int] = {}
    found: list[tuple[float, ...]] = []
    for number, one in enumerate(counted):
        card = cards.find(one.case.step.card).spec
        for place, record in enumerate(timed(one)):
            kernels = kernels_of(record)
            for position, kernel in enumerate(kernels):
                bare = bare_time(kernel, card, tf32_matmul=one.case.tf32)
                table = table_time(kernel, card, tf32_matmul=one.case.tf32)
                found.append(
                    (
                        number,
                        keys.setdefault(bare.key, len(keys)),
                        record.calls,
                        0 if position else record.calls,
                        bare.compute_s,
                        kernel.moved_bytes / memory_rate(card),
                        kernel.moved_bytes / card.l2_bytes,
                        has_tiles(kernel),
                        0.0 if table is None else table.busy_s,
                        0.0 if table is None else table.fixed_s,
                        0 if position else max(0, record.launches - len(kernels)),
                        place,
                    )
                )
    columns = torch.tensor(found, dtype=torch.float64).unbind(1)
    return Rows(
        keys=tuple(keys),
        case=columns[0].long(),
        key=columns[1].long(),
        calls=columns[2],
        launches=columns[3],
        compute_s=columns[4],
        memory_s=columns[5],
        of_l2=columns[6],
        tiled=columns[7] > 0,
        table_s=columns[8],
        fixed_s=columns[9],
        more=columns[10],
        operator=columns[11].long(),
        issue_s=torch.tensor([issue_s(one) for one in counted], dtype=torch.float64),
        measured=torch.tensor([one.case.measured_s for one in counted], dtype=torch.float64),
        weight=torch.tensor(
            [SOURCES[one.case.source].weight for one in counted], dtype=torch.float64
        ),
        apart_s=torch.tensor(
            [copy_s(one.case, cards.find(one.case.step.card).spec) for one in counted],
            dtype=torch.float64,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Logarithms of the fitted values."""

    compute: Tensor
    bandwidth: Tensor
    tables: Tensor
    kernel_us: Tensor
    gain: Tensor
    reach: Tensor

    def all(self) -> list[Tensor]:
        """Returns all tensors, for the optimizer."""
        return [self.compute, self.bandwidth, self.tables, self.kernel_us, self.gain, self.reach]

    def efficiencies(self, keys: Sequence[str]) -> Efficiencies:
        """Returns the efficiencies in planner's own form."""
        return Efficiencies(
            compute=dict(zip(keys, self.compute.exp().tolist(), strict=True)),
            bandwidth=dict(zip(keys, self.bandwidth.exp().tolist(), strict=True)),
            tables=dict(zip(keys, self.tables.exp().tolist(), strict=True)),
            kernel_s=self.kernel_us.exp().item() / 1e6,
            cache_gain=self.gain.exp().item(),
            cache_reach=self.reach.exp().item(),
        )


def fit(data: Rows, chosen: Sequence[int]) -> Parameters:
    """Returns the parameters that fit the chosen cases best."""
    start = _priors(len(data.keys))
    found = Parameters(
        **{name: getattr(start, name).clone().requires_grad_() for name in Parameters.__slots__}
    )
    spread = torch.tensor(
        [_LOG_SPREAD_GROUPED if "grouped" in key else _LOG_SPREAD for key in data.keys],
        dtype=torch.float64,
    )
    most = torch.tensor(
        [math.log(_MOST_TF32 if "tf32" in key else _MOST) for key in data.keys],
        dtype=torch.float64,
    )
    of_tables = torch.tensor([_table_spread(key) for key in data.keys], dtype=torch.float64)
    data = _of_cases(data, chosen)
    optimizer = torch.optim.Adam(found.all(), lr=_RATE)
    for step in range(_STEPS):
        loss = _loss(data, found)
        for name in ("compute", "bandwidth"):
            away = (getattr(found, name) - getattr(start, name)) / spread
            loss = loss + _PRIOR_WEIGHT * 2 * (away**2).sum()
        loss = loss + _PRIOR_WEIGHT * 2 * ((found.tables / of_tables) ** 2).sum()
        for name, width in (("kernel_us", 0.3), ("gain", 0.5), ("reach", 0.5)):
            away = (getattr(found, name) - getattr(start, name)) / width
            loss = loss + _PRIOR_WEIGHT * 2 * away**2
        loss = loss + 20 * (torch.relu(found.compute - most) ** 2).sum()
        loss = loss + 20 * (torch.relu(found.bandwidth - math.log(_MOST)) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = _RATE * (1 - step / _STEPS) + 5e-4
    return Parameters(**{name: getattr(found, name).detach() for name in Parameters.__slots__})


def predicted_s(data: Rows, found: Parameters) -> Tensor:
    """Returns the seconds of each case."""
    gain = 1 + found.gain.exp() / (1 + (data.of_l2 / found.reach.exp()) ** 2)
    compute = data.compute_s / found.compute.exp()[data.key]
    memory = data.memory_s / found.bandwidth.exp()[data.key] / gain
    both = (compute**2 + memory**2 + 1e-40).sqrt()
    busy = torch.where(data.tiled, torch.maximum(compute, memory), both)
    kernel_s = found.kernel_us.exp() / 1e6
    by_table = data.table_s * found.tables.exp()[data.key] + data.fixed_s
    one_s = torch.where(data.table_s > 0, by_table, busy + kernel_s)
    spent = data.calls * (one_s + data.more * kernel_s)
    empty = torch.zeros(len(data.measured), dtype=torch.float64)
    gpu_s = empty.index_add(0, data.case, spent)
    return torch.maximum(gpu_s, data.issue_s) + data.apart_s


def _table_spread(key: str) -> float:
    return next((s for kind, s in _TABLE_SPREADS.items() if key.startswith(kind)), _STREAM_SPREAD)


_OF_CASES = ("measured", "weight", "apart_s", "issue_s")


def _of_cases(data: Rows, chosen: Sequence[int]) -> Rows:
    """Returns the rows of some cases, which are numbered anew."""
    cases = torch.tensor(list(chosen))
    places = torch.full((len(data.measured),), -1)
    places[cases] = torch.arange(len(cases))
    kept = places[data.case] >= 0
    found = {
        name: value[cases] if name in _OF_CASES else value[kept]
        for name in Rows.__slots__
        if name != "keys" and isinstance(value := getattr(data, name), Tensor)
    }
    return Rows(keys=data.keys, **{**found, "case": places[found["case"]]})


def _loss(data: Rows, found: Parameters) -> Tensor:
    error = (predicted_s(data, found).log() - data.measured.log()).abs()
    huber = torch.where(error < _HUBER, error**2 / (2 * _HUBER), error - _HUBER / 2)
    return (huber * data.weight).sum()


def _priors(keys: int) -> Parameters:
    def scalar(value: float) -> Tensor:
        return torch.tensor(math.log(value), dtype=torch.float64)

    return Parameters(
        compute=torch.full((keys,), math.log(_PRIOR_COMPUTE), dtype=torch.float64),
        bandwidth=torch.full((keys,), math.log(_PRIOR_BANDWIDTH), dtype=torch.float64),
        tables=torch.zeros(keys, dtype=torch.float64),
        kernel_us=scalar(_PRIOR_KERNEL_US),
        gain=scalar(_PRIOR_GAIN),
        reach=scalar(_PRIOR_REACH),
    )
