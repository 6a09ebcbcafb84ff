"""Finds the rank of a job on several GPUs that takes the most memory.

In: the setup of a step, the budget of a card. Out: the setup whose runs play that rank, and a table
of the ranks. Convention: ranks that hold and compute alike have one run, that of rank 0, which has
the largest shard of each parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.config.parallel import DataParallel, ParallelConfig
from planner.errors import UsageError
from planner.estimation.context import RunContext
from planner.estimation.device_memory import DeviceMemory, model_error
from planner.memory.budget import MemoryBudget
from planner.results.ranks import RankRow, RanksResult
from planner.units import counted, format_bytes, format_percent
from planner.wire.trace import RunOutcome, StepTrace


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
    last = parallel.gpus - 1
    return ChosenRank(
        setup=setup,
        ranks=RanksResult(
            worst=0,
            reason="all ranks hold and compute alike; rank 0 has the largest shards",
            rows=(RankRow(first=0, last=last, role="alike"),),
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
        RankRow(
            first=rank,
            last=rank,
            role=f"steps {format_percent(load, whole)} of the parameters",
            peak_allocated_bytes=traces[rank].peak_allocated_bytes if rank in traces else None,
            peak_reserved_bytes=traces[rank].peak_reserved_bytes if rank in traces else None,
        )
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
