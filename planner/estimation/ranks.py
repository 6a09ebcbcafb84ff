"""Finds the rank of a job on several GPUs that takes the most memory.

In: the setup of a step, the budget of a card. Out: the setup whose runs play that rank, and a table
of the ranks. Convention: ranks that hold and compute alike have one run, that of rank 0, which has
the largest shard of each parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from planner.config.parallel import DataParallel, ParallelConfig
from planner.config.step import StepConfig
from planner.errors import UsageError
from planner.estimation.context import RunContext
from planner.estimation.device_memory import DeviceMemory, model_error
from planner.memory.budget import MemoryBudget
from planner.results.ranks import RankRow, RanksResult
from planner.units import counted, format_bytes, format_percent
from planner.wire.module_counts import ModelCounts
from planner.wire.pipeline import PipelineRecord
from planner.wire.trace import RunOutcome, StepTrace

_SHORT_PIPELINE = 4  # ranks; all of them are run


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenRank:
    """The setup of the rank with the highest peak; `ranks` is None on one GPU."""

    setup: RunContext
    ranks: RanksResult | None = None


def of_several_gpus(answers: Sequence[DeviceMemory]) -> tuple[str, ...]:
    """Returns what is assumed of NCCL's memory on the first card."""
    budget, communicators = answers[0].budget, answers[0].trace.communicators
    either_bytes = budget.outside_spread_bytes
    nccl_bytes = budget.outside_bytes - answers[0].trace.outside.total_bytes
    low, high = (format_bytes(nccl_bytes + sign * either_bytes) for sign in (-1, 1))
    return (
        f"NCCL's buffers for {counted(len(communicators), 'group')} of ranks take {low} to {high} "
        "outside PyTorch's allocator; the middle is in the device total, the rest in its interval",
    )


def check_host(parallel: ParallelConfig | None, cards_of_host: Sequence[tuple[str, int]]) -> None:
    """Refuses a job that has more GPUs on a machine than the named host.

    Raises:
        UsageError: says how many machines are enough.
    """
    if parallel is None or not cards_of_host:
        return
    most = sum(number for _, number in cards_of_host)
    if parallel.gpus_of_a_host > most:
        wanted = next(n for n in range(1, parallel.gpus + 1) if parallel.gpus <= n * most)
        raise UsageError(
            f"{parallel.gpus_of_a_host} GPUs on each machine were asked for (--num-gpus "
            f"{parallel.gpus}, --num-hosts {parallel.hosts}), and the host has {most}: add "
            f"--num-hosts {wanted}, or take another --host"
        )


def with_worst_rank(setup: RunContext, budget: MemoryBudget) -> ChosenRank:
    """Returns the setup whose runs play the rank with the highest peak.

    Raises:
        ModelError: the user's code raised on a rank.
        ChildError: a run was killed or took too long.
    """
    parallel = setup.config.parallel
    if parallel is None:
        return ChosenRank(setup=setup)
    if parallel.data is DataParallel.ZERO1:
        return _of_dealt_out_state(setup, budget, parallel)
    if parallel.pipeline > 1:
        return _of_stages(setup, budget, parallel)
    return ChosenRank(
        setup=setup,
        ranks=RanksResult(
            worst=0,
            reason="all ranks hold and compute alike; rank 0 has the largest shards",
            rows=(_row(0, parallel.gpus, "alike"),),
        ),
    )


def _of_dealt_out_state(
    setup: RunContext, budget: MemoryBudget, parallel: ParallelConfig
) -> ChosenRank:
    """ZeRO-1 deals out whole tensors, so that ranks differ by what their optimizer steps."""
    first = _run(setup, budget, 0)
    loads, traces = first.rank_loads, {0: first}
    worst = max(range(len(loads)), key=lambda rank: loads[rank], default=0)
    if worst:
        traces[worst] = _run(setup, budget, worst)
    whole = sum(loads) or 1
    rows = tuple(
        _row(rank, 1, f"steps {format_percent(load, whole)} of the parameters", traces.get(rank))
        for rank, load in enumerate(loads)
    )
    mean = format_percent(1, max(1, len(loads)))
    return ChosenRank(
        setup=_played(setup, worst),
        ranks=RanksResult(
            worst=worst,
            reason=f"its optimizer {rows[worst].role}, where {mean} would be its share"
            if rows
            else "the ranks could not be told apart",
            rows=rows,
        ),
    )


def _of_stages(setup: RunContext, budget: MemoryBudget, parallel: ParallelConfig) -> ChosenRank:
    """Ranks of a pipeline differ by their blocks, and by the micro-batches that they hold."""
    each = parallel.ranks_of_a_stage
    traces = {0: _run(setup, budget, 0)}
    record = traces[0].pipeline
    for place in places_to_run(parallel.pipeline, record):
        if place not in traces:
            traces[place] = _run(setup, budget, place * each)
    worst = max(traces, key=lambda place: (traces[place].peak_reserved_bytes, -place))
    rows = tuple(
        _row(place * each, each, _place_words(place, record), traces.get(place))
        for place in range(parallel.pipeline)
    )
    return ChosenRank(
        setup=_played(setup, worst * each),
        ranks=RanksResult(
            worst=worst * each,
            reason=f"of {counted(len(traces), 'place')} in the pipeline that were run, its peak is "
            f"the highest; it has {rows[worst].role}",
            rows=rows,
        ),
    )


def places_to_run(ranks: int, record: PipelineRecord | None) -> tuple[int, ...]:
    """Returns the places in a pipeline that may have the highest peak.

    All of a short one. In a long one the first, the last, and of those between that have equally
    many blocks the first: it holds the most micro-batches. Without a record, nothing is known.
    """
    if record is None or ranks <= _SHORT_PIPELINE:
        return tuple(range(ranks))
    kinds: dict[tuple[int, ...], int] = {}
    for place in range(1, ranks - 1):
        kinds.setdefault(record.blocks_at(place), place)
    return (0, *kinds.values(), ranks - 1)


def with_stage_counts(
    setup: RunContext, chosen: ChosenRank, count: Callable[[StepConfig], ModelCounts]
) -> RunContext:
    """Returns the setup with the counts of the first, a middle and the last place of a pipeline.

    Raises:
        PlannerError: a step could not be counted.
    """
    parallel, network = chosen.setup.config.parallel, setup.network
    if parallel is None or parallel.pipeline == 1 or network is None:
        return chosen.setup
    each = parallel.ranks_of_a_stage
    wanted = {0, 1, parallel.pipeline - 1} - {parallel.place}
    counts = {place: count(_played(chosen.setup, place * each).config) for place in sorted(wanted)}
    return replace(chosen.setup, network=replace(network, stage_counts=counts))


def _place_words(place: int, record: PipelineRecord | None) -> str:
    if record is None:
        return f"place {place} of the pipeline"
    stages = [str(stage) for stage, at in enumerate(record.places) if at == place]
    blocks = record.blocks_at(place)
    word = "stage" if len(stages) == 1 else "stages"
    ends = [
        words
        for stage, words in ((0, "the first layers"), (len(record.places) - 1, "the loss"))
        if record.places[stage] == place
    ]
    with_ends = f", with {' and '.join(ends)}" if ends else ""
    return (
        f"{word} {' and '.join(stages)} of {len(record.places)}: "
        f"{' + '.join(map(str, blocks))} blocks{with_ends}"
    )


def _row(first: int, number: int, role: str, trace: StepTrace | None = None) -> RankRow:
    """Returns the row of ranks that are alike; without a trace they were not run."""
    return RankRow(
        first=first,
        last=first + number - 1,
        role=role,
        peak_allocated_bytes=None if trace is None else trace.peak_allocated_bytes,
        peak_reserved_bytes=None if trace is None else trace.peak_reserved_bytes,
    )


def _run(setup: RunContext, budget: MemoryBudget, rank: int) -> StepTrace:
    setup.progress(f"{budget.requested}: rank {rank}")
    played = _played(setup, rank)
    trace = played.runner.run(setup.cards.unlimited(budget), played.config)
    if trace.outcome is RunOutcome.MODEL_ERROR:
        raise model_error(trace)
    return trace


def _played(setup: RunContext, rank: int) -> RunContext:
    parallel = setup.config.parallel
    assert parallel is not None, "it has ranks"
    return replace(setup, config=replace(setup.config, parallel=replace(parallel, rank=rank)))
