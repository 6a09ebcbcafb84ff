"""Compares spreads without running them: bytes that they must hold, bytes and seconds to expect.

In: StepFacts of one card, a Spread. Out: bytes, messages, seconds. Convention: `floor_bytes` is a
lower bound that no run can be below; the rest is a forecast that only decides what is run first.
Operators are those of one card, without the messages of divided matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from planner.config.parallel import DataParallel, ParallelConfig
from planner.config.step import Precision
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.device_timing import card_step
from planner.estimation.job import JobConfig
from planner.estimation.network import Network
from planner.estimation.spread.facts import StepFacts
from planner.estimation.spread.micro_batches import MicroBatches
from planner.estimation.spread.spreads import Spread
from planner.hardware.link_specs import Collective
from planner.memory.budget import MemoryBudget
from planner.wire.communication import CollectiveRecord
from planner.wire.trace import Phase, RunOutcome, StepTrace

_BUCKET_BYTES = 25 << 20  # DistributedDataParallel's bucket_cap_mb
_HALF_BYTES, _SINGLE_BYTES = 2, 4  # with amp-bf16: gathered and reduced
_GATHERED_UNITS = 3  # the one in use, the next one, and gradients of the last one
_REPLICATED = (DataParallel.DDP, DataParallel.ZERO1)
_NO_TRACE = StepTrace(
    outcome=RunOutcome.COMPLETED,
    batch_size=1,
    peak_allocated_bytes=0,
    peak_active_bytes=0,
    peak_reserved_bytes=0,
)


def floor_bytes(spread: Spread, facts: StepFacts) -> int:
    """Returns bytes that a card holds at least, when the optimizer steps.

    Parameters, gradients and optimizer state are all there then. DDP's buckets are as large as the
    gradients once more.
    """
    held = facts.held
    if spread.data in _REPLICATED:
        state_ranks = spread.replicate if spread.data is DataParallel.ZERO1 else 1
        kept_bytes = held.parameter_bytes + 2 * held.gradient_bytes
        return kept_bytes + held.optimizer_bytes // state_ranks
    return held.total_bytes // spread.state_ranks


def expected_bytes(spread: Spread, facts: StepFacts, batch_size: int) -> int:
    """Returns the bytes of a card to expect with a micro-batch."""
    sample_bytes = facts.sample_bytes / (spread.context * spread.tensor)
    before_bytes = floor_bytes(spread, facts) - facts.held.gradient_bytes // spread.state_ranks
    backward_bytes = before_bytes + int(batch_size * sample_bytes) + _gathered_bytes(spread, facts)
    return max(floor_bytes(spread, facts), backward_bytes)


def expected_largest(spread: Spread, facts: StepFacts, capacity_bytes: int) -> int:
    """Returns the largest micro-batch to expect; 0: not even one sample."""
    one_bytes = expected_bytes(spread, facts, 1)
    if one_bytes > capacity_bytes:
        return 0
    sample_bytes = facts.sample_bytes / (spread.context * spread.tensor)
    return 1 + int((capacity_bytes - one_bytes) / max(1.0, sample_bytes))


def _gathered_bytes(spread: Spread, facts: StepFacts) -> int:
    if spread.data is not DataParallel.FSDP or not facts.elements or not facts.modules:
        return 0  # units are known once the step was counted
    gather_bytes, _ = _element_bytes(facts)
    if spread.keeps_gathered:
        return int(facts.elements * gather_bytes / spread.tensor)
    units = facts.units or (facts.elements,)
    return int(_GATHERED_UNITS * max(units) * gather_bytes / spread.tensor)


def _element_bytes(facts: StepFacts) -> tuple[float, float]:
    """Returns the bytes of an element as it is gathered, and as its gradient is reduced."""
    if facts.config.precision is Precision.AMP_BF16:
        return _HALF_BYTES, _SINGLE_BYTES
    own = facts.held.parameter_bytes / max(1, facts.elements)
    return own, own


def messages(spread: Spread, facts: StepFacts) -> tuple[CollectiveRecord, ...]:
    """Returns the messages of one micro-batch and of the optimizer's step, by their sizes.

    Those of divided matrices and sequences are left out.
    """
    return tuple(one for one in _messages(spread, facts) if one.size_bytes and one.ranks > 1)


def _messages(spread: Spread, facts: StepFacts) -> Iterator[CollectiveRecord]:
    gradient_bytes, parameter_bytes = facts.held.gradient_bytes, facts.held.parameter_bytes
    if spread.data in _REPLICATED:
        yield _record(
            spread,
            spread.replicate,
            Collective.ALL_REDUCE,
            Phase.BACKWARD,
            gradient_bytes,
            max(1, math.ceil(gradient_bytes / _BUCKET_BYTES)),
        )
        if spread.data is DataParallel.ZERO1:
            share_bytes, ranks = parameter_bytes, spread.replicate
            step = Phase.OPTIMIZER_STEP
            yield _record(spread, ranks, Collective.BROADCAST, step, share_bytes, ranks)
    elif spread.data is DataParallel.FSDP and facts.elements:
        yield from _sharded(spread, facts)


def _sharded(spread: Spread, facts: StepFacts) -> Iterator[CollectiveRecord]:
    gather, reduce = _element_bytes(facts)
    trained = facts.held.gradient_bytes / max(1, facts.held.parameter_bytes)
    shards = spread.shard * spread.context
    units = facts.units or (facts.elements,)
    for elements in units:
        whole_bytes = int(elements * gather / spread.tensor)
        reduced_bytes = int(elements * reduce * min(1.0, trained) / spread.tensor)
        phases = [Phase.FORWARD] if spread.keeps_gathered else [Phase.FORWARD, Phase.BACKWARD]
        for phase in phases:
            yield _record(spread, shards, Collective.ALL_GATHER, phase, whole_bytes, 1)
        back = Phase.BACKWARD
        yield _record(spread, shards, Collective.REDUCE_SCATTER, back, reduced_bytes, 1)
        replicas = spread.replicate
        part_bytes = reduced_bytes // max(1, shards)
        yield _record(spread, replicas, Collective.ALL_REDUCE, back, part_bytes, 1, apart=shards)


def _record(
    spread: Spread,
    ranks: int,
    collective: Collective,
    phase: Phase,
    all_bytes: int,
    calls: int,
    *,
    apart: int = 1,
) -> CollectiveRecord:
    """Returns messages that add up to `all_bytes`, of ranks that are `apart` in the dimension."""
    neighbours = max(1, spread.gpus // spread.hosts // (apart * spread.tensor))
    return CollectiveRecord(
        collective=collective,
        group="dp",
        ranks=ranks,
        hosts=min(spread.hosts, math.ceil(ranks / neighbours)),
        phase=phase,
        size_bytes=all_bytes // calls,
        calls=calls,
    )


NetworkOf = Callable[[ParallelConfig], Network]


def expected_sample_s(
    spread: Spread,
    facts: StepFacts,
    micro: MicroBatches,
    *,
    budget: MemoryBudget,
    job: JobConfig,
    network: NetworkOf,
) -> float | None:
    """Returns the seconds of a sample on all GPUs together to expect; None: it was not counted."""
    if facts.at is None:
        return None
    counted = facts.at(micro.batch_size)
    if not counted.operators:
        return None
    config = replace(facts.config, batch_size=micro.batch_size, accumulate=micro.accumulate)
    answer = DeviceMemory(budget=budget, trace=_NO_TRACE, fits=True)
    step = card_step(answer, config, counted, job)
    batch, optimizer = step.gpu_times()
    divided = spread.tensor * spread.context
    launch_s, optimizer_launch_s = step.launch_s()
    times = micro.accumulate
    card_s = max(batch.total_s / divided, launch_s)
    state_ranks = spread.replicate if spread.data is DataParallel.ZERO1 else spread.state_ranks
    last_s = max(optimizer.total_s / max(1, state_ranks), optimizer_launch_s)
    waits_s = 0.0
    if spread.gpus > 1:
        parallel = parallel_of(spread)
        phases = {phase: seconds / divided for phase, seconds in batch.phases_s}
        found = network(parallel).times(budget.spec, messages(spread, facts), phases, times)
        waits_s = found.exposed_s
    samples = micro.batch_size * times * spread.sample_ranks
    return (times * card_s + last_s + waits_s) / samples


def parallel_of(spread: Spread) -> ParallelConfig:
    """Returns the spread as a run gets it."""
    return ParallelConfig(
        gpus=spread.gpus,
        hosts=spread.hosts,
        data=spread.data,
        replicate=spread.replicate,
        shard=spread.shard,
        context=spread.context,
        tensor=spread.tensor,
    )
