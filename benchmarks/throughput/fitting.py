"""Fits the efficiencies that predict published step times best.

In: counted cases, and those to fit on. Out: Efficiencies, predictions in seconds. The error is
Huber's of the logarithm; an efficiency with few kernels stays near what is expected of its kind
(priors.py). Convention: the formulas are those of planner/timing, on tensors; a test compares them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.throughput.priors import expected_bandwidth, expected_compute, parts, relatives
from benchmarks.throughput.records import Counted, Use
from benchmarks.throughput.sources import SOURCES, copy_s, core_speed, issue_s, timed
from planner.hardware.database import load_gpus
from planner.timing.efficiency import Efficiencies
from planner.timing.issue import IssueCosts, issue_costs
from planner.timing.kernel_roofs import bare_time, has_tiles
from planner.timing.kernel_times import table_time
from planner.timing.kernels import KernelKind, kernels_of
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.rates import memory_rate

_PRIOR_KERNEL_US, _PRIOR_GAIN, _PRIOR_REACH = 2.0, 1.5, 0.7
# CPU time of a call of cuDNN beyond that of any operator: descriptors, the choice of its kernel.
_PRIOR_CONVOLUTION_US, _PRIOR_CONVOLUTION_BACKWARD_US, _ISSUE_SPREAD = 12.0, 50.0, 1.0
# Of the factor on a table's times. Products were measured alone, at the clocks of a card that is
# not warm. Of kernels that stream, the tables hold the plainest: contiguous, whole vectors.
_TABLE_SPREADS = {"matrix product": 0.1, "fused attention": 0.15}
_STREAM_SPREAD = 0.3
_PRIOR_WEIGHT = 0.025
_HUBER = 0.1
# Greatest shares of measured rates; a TF32 rate was measured for one size of product only.
_MOST, _MOST_TF32 = 1.1, 2.5
_STEPS, _RATE = 250, 0.05
_SOURCES = tuple(TimeSource)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Kernels of all cases, one row for equal ones; `case` is the number of their case."""

    keys: tuple[str, ...]  # with those of kernels that no case has
    case: Tensor
    key: Tensor
    calls: Tensor
    compute_s: Tensor
    memory_s: Tensor
    of_l2: Tensor
    tiled: Tensor
    table_s: Tensor  # of a table of measured kernels; 0: it has none
    fixed_s: Tensor  # of the same
    table_source: Tensor  # of the same: number of its TimeSource
    more: Tensor  # kernels of a call beyond those that are timed, at its first kernel
    issue_s: Tensor  # of a case, on the CPU, without what convolutions take more
    convolutions: Tensor  # calls of a case, over the speed of its core
    convolutions_backward: Tensor  # the same of their gradients
    launch_bound: Tensor  # whether a case says nothing of the card
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
        for record in timed(one):
            kernels = kernels_of(record)
            for position, kernel in enumerate(kernels):
                bare = bare_time(kernel, card, tf32_matmul=one.case.tf32)
                table = table_time(kernel, card, tf32_matmul=one.case.tf32)
                found.append(
                    (
                        number,
                        keys.setdefault(bare.key, len(keys)),
                        record.calls,
                        bare.compute_s,
                        kernel.moved_bytes / memory_rate(card),
                        kernel.moved_bytes / card.l2_bytes,
                        has_tiles(kernel),
                        0.0 if table is None else table.busy_s,
                        0.0 if table is None else table.fixed_s,
                        0 if table is None else _SOURCES.index(table.source),
                        0 if position else max(0, record.launches - len(kernels)),
                    )
                )
    for key in relatives(keys):
        keys.setdefault(key, len(keys))
    columns = torch.tensor(found, dtype=torch.float64).unbind(1)
    return Rows(
        keys=tuple(keys),
        case=columns[0].long(),
        key=columns[1].long(),
        calls=columns[2],
        compute_s=columns[3],
        memory_s=columns[4],
        of_l2=columns[5],
        tiled=columns[6] > 0,
        table_s=columns[7],
        fixed_s=columns[8],
        table_source=columns[9].long(),
        more=columns[10],
        **_issue_columns(counted),
        measured=torch.tensor([one.case.measured_s for one in counted], dtype=torch.float64),
        weight=torch.tensor(
            [SOURCES[one.case.source].weight for one in counted], dtype=torch.float64
        ),
        apart_s=torch.tensor(
            [copy_s(one.case, cards.find(one.case.step.card).spec) for one in counted],
            dtype=torch.float64,
        ),
    )


def _issue_columns(counted: Sequence[Counted]) -> dict[str, Tensor]:
    """Returns what the CPU does in each case."""
    costs = replace(issue_costs(), convolution_s=0.0, convolution_backward_s=0.0)
    forward, backward = [], []
    for one in counted:
        calls = [0, 0]
        for record in timed(one):
            if record.convolution is not None:
                calls["backward" in record.name] += record.calls
        core = core_speed(one.case)
        forward.append(calls[0] / core)
        backward.append(calls[1] / core)
    return {
        "issue_s": torch.tensor([issue_s(one, costs) for one in counted], dtype=torch.float64),
        "convolutions": torch.tensor(forward, dtype=torch.float64),
        "convolutions_backward": torch.tensor(backward, dtype=torch.float64),
        "launch_bound": torch.tensor([one.case.use is Use.LAUNCH_BOUND for one in counted]),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Logarithms of the fitted values."""

    compute: Tensor
    bandwidth: Tensor
    tables: Tensor
    kernel_us: Tensor
    gain: Tensor
    reach: Tensor
    convolution_us: Tensor
    convolution_backward_us: Tensor

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

    def issue_costs(self) -> IssueCosts:
        """Returns the CPU's costs, of which those of convolutions were fitted."""
        return replace(
            issue_costs(),
            convolution_s=self.convolution_us.exp().item() / 1e6,
            convolution_backward_s=self.convolution_backward_us.exp().item() / 1e6,
        )


class _Fit:
    """Weights of standard normal priors, and the parameters that they stand for."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._parts = parts(keys)
        self._compute, self._bandwidth = expected_compute(keys), expected_bandwidth(keys)
        self._tables = torch.tensor([_table_spread(key) for key in keys], dtype=torch.float64)
        ones = [
            ("kernel_us", _PRIOR_KERNEL_US, 0.3),
            ("gain", _PRIOR_GAIN, 0.5),
            ("reach", _PRIOR_REACH, 0.5),
            ("convolution_us", _PRIOR_CONVOLUTION_US, _ISSUE_SPREAD),
            ("convolution_backward_us", _PRIOR_CONVOLUTION_BACKWARD_US, _ISSUE_SPREAD),
        ]
        self._scalars = {name: (math.log(value), spread) for name, value, spread in ones}
        sizes = {"compute": self._parts.shape[1], "bandwidth": self._parts.shape[1]}
        sizes |= {"tables": len(keys)} | dict.fromkeys(self._scalars, 1)
        self.weights = {
            name: torch.zeros(size, dtype=torch.float64, requires_grad=True)
            for name, size in sizes.items()
        }

    def parameters(self) -> Parameters:
        """Returns the parameters of the weights."""
        weights = self.weights
        scalars = {
            name: start + spread * weights[name][0]
            for name, (start, spread) in self._scalars.items()
        }
        return Parameters(
            compute=self._compute + self._parts @ weights["compute"],
            bandwidth=self._bandwidth + self._parts @ weights["bandwidth"],
            tables=self._tables * weights["tables"],
            **scalars,
        )

    def distance(self) -> Tensor:
        """Returns half the square of all weights: how far they are from what was expected."""
        return torch.stack([(one**2).sum() for one in self.weights.values()]).sum() / 2


def fit(data: Rows, chosen: Sequence[int]) -> Parameters:
    """Returns the parameters that fit the chosen cases best."""
    found = _Fit(data.keys)
    most = torch.tensor(
        [math.log(_MOST_TF32 if "tf32" in key else _MOST) for key in data.keys],
        dtype=torch.float64,
    )
    data = _of_cases(data, chosen)
    optimizer = torch.optim.Adam(list(found.weights.values()), lr=_RATE)
    for step in range(_STEPS):
        parameters = found.parameters()
        loss = _loss(data, parameters) + 4 * _PRIOR_WEIGHT * found.distance()
        loss = loss + 20 * (torch.relu(parameters.compute - most) ** 2).sum()
        loss = loss + 20 * (torch.relu(parameters.bandwidth - math.log(_MOST)) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = _RATE * (1 - step / _STEPS) + 5e-4
    with torch.no_grad():
        return found.parameters()


def predicted_s(data: Rows, found: Parameters) -> Tensor:
    """Returns the seconds of each case."""
    empty = torch.zeros(len(data.measured), dtype=torch.float64)
    gpu_s = empty.index_add(0, data.case, _spent_s(data, found))
    # A case that waits for the CPU says little of the card.
    gpu_s = torch.where(data.launch_bound, gpu_s.detach(), gpu_s)
    issue_s = data.issue_s + 1e-6 * (
        data.convolutions * found.convolution_us.exp()
        + data.convolutions_backward * found.convolution_backward_us.exp()
    )
    return torch.maximum(gpu_s, issue_s) + data.apart_s


def _spent_s(data: Rows, found: Parameters) -> Tensor:
    """Returns the card's seconds of all calls of each row."""
    gain = 1 + found.gain.exp() / (1 + (data.of_l2 / found.reach.exp()) ** 2)
    compute = data.compute_s / found.compute.exp()[data.key]
    memory = data.memory_s / found.bandwidth.exp()[data.key] / gain
    both = (compute**2 + memory**2 + 1e-40).sqrt()
    busy = torch.where(data.tiled, torch.maximum(compute, memory), both)
    kernel_s = found.kernel_us.exp() / 1e6
    by_table = data.table_s * found.tables.exp()[data.key] + data.fixed_s
    one_s = torch.where(data.table_s > 0, by_table, busy + kernel_s)
    return data.calls * (one_s + data.more * kernel_s)


def seen(data: Rows, chosen: Sequence[int]) -> Tensor:
    """Returns for each key whether one of the chosen cases has a kernel of it."""
    found = torch.zeros(len(data.keys), dtype=torch.bool)
    found[data.key[torch.isin(data.case, torch.tensor(list(chosen)))]] = True
    for place, key in enumerate(data.keys):
        found[place] &= key != KernelKind.UNKNOWN.value
    return found


def source_shares(data: Rows, found: Parameters, known: Tensor) -> list[dict[TimeSource, float]]:
    """Returns for each case the shares of the card's time by source, as planner names them.

    `known` are the keys that were `seen`.
    """
    of_fit = torch.where(
        known[data.key], _SOURCES.index(TimeSource.FIT), _SOURCES.index(TimeSource.FALLBACK)
    )
    source = torch.where(data.table_s > 0, data.table_source, of_fit)
    sums = torch.zeros(len(data.measured), len(_SOURCES), dtype=torch.float64)
    sums.index_put_((data.case, source), _spent_s(data, found), accumulate=True)
    shares = sums / sums.sum(1, keepdim=True).clamp(min=1e-12)
    return [
        {one: share for one, share in zip(_SOURCES, row, strict=True) if share}
        for row in shares.tolist()
    ]


def _table_spread(key: str) -> float:
    return next((s for kind, s in _TABLE_SPREADS.items() if key.startswith(kind)), _STREAM_SPREAD)


_OF_CASES = (
    "measured", "weight", "apart_s", "issue_s", "convolutions", "convolutions_backward",
    "launch_bound",
)  # fmt: skip


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
