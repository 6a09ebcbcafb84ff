"""Estimates a block of code that has run on the emulated card in the caller's own process.

In: its reports, the card. Out: Estimate. Convention: the block has run on a card without a limit;
whether it fits is a replay of its requests on the card, and no other batch is searched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from planner.config.step import Mode, StepConfig
from planner.emulator.torch_install import TorchInstall
from planner.estimation.alloc_conf import AllocatorPlan, allocator_plan
from planner.estimation.assemble import assemble
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.device_timing import DeviceTiming, device_timings
from planner.estimation.job import job_config
from planner.estimation.largest_search import RecordedStep, recorded_step
from planner.estimation.replayed_card import replayed_on_card
from planner.estimation.script import AUTOCAST, reported_versions
from planner.estimation.script_words import INFERS, idle_optimizers, recoveries
from planner.memory.budget import MemoryBudget, with_outside
from planner.process.script.block import BlockReports
from planner.results.estimate import Estimate
from planner.results.values import ValuesResult
from planner.verification.calibrated_budgets import CalibratedBudgets
from planner.wire.script import ScriptEnd, ScriptReport
from planner.wire.trace import StepTrace

_LABEL = "a block of code"
_UNCOUNTED = (
    "no step time: a step is counted once its optimizer has its state, in the second step, and "
    "torch.compile hides operators"
)
_NO_MODEL = "no step time: the block has no model that is called"


def estimate_block(
    reports: BlockReports,
    known: CalibratedBudgets,
    torch: TorchInstall,
    *,
    steps: int,
    database: Path | None,
) -> Estimate:
    """Returns the Estimate of a block on the one card of `known`."""
    here = reports.here
    infers = reports.infers
    config = StepConfig(
        batch_size=here.batch_size or here.loader_batch_size or 1,
        mode=Mode.INFER if infers else Mode.TRAIN,
        accumulate=here.micro_batches,
        steps=1 if infers else steps,
        precision=AUTOCAST.get(here.autocast),
    )
    plan = allocator_plan((), torch.version)
    answer = _answer(reports, known, plan)
    count = reports.of_values.counted
    speeds: list[DeviceTiming] = []
    if count is not None:
        speeds = device_timings([answer], config, count, job_config(hardware_db=database))
    found = assemble(
        _LABEL,
        config,
        [answer],
        reported_versions(torch, here),
        (
            *_warnings(here, steps, infers=infers),
            *([] if count else [_NO_MODEL if infers else _UNCOUNTED]),
            *known.warnings,
        ),
        plan=plan,
        counted=count,
        spreads=known.spreads,
        speeds=speeds,
    )
    said = (*([INFERS.format(what="block")] if infers else []), *_assumptions(here, steps, answer))
    return replace(found, assumptions=(*said, *found.assumptions))


def _answer(reports: BlockReports, known: CalibratedBudgets, plan: AllocatorPlan) -> DeviceMemory:
    found = reports.here.answer
    trace = replace(found.trace, value_reads=reports.log.reads)
    budget = with_outside(known.budgets[0], trace.outside.total_bytes)
    free = recorded_step(trace, found.allocations)
    full = _on_card(budget, free, plan)
    return DeviceMemory(
        budget=budget,
        trace=full or trace,
        fits=full is not None,
        breakdown=free.breakdown,
        allocations=free.allocations,
        requests=free.requests,
        values=ValuesResult(reads=trace.value_reads, parted=trace.parted_reads),
    )


def _on_card(budget: MemoryBudget, free: RecordedStep, plan: AllocatorPlan) -> StepTrace | None:
    """Returns the run on the card; None where it does not fit, or nothing shows that it does."""
    if free.requests and plan.in_force is not None:
        return replayed_on_card(budget, free.trace, free.requests, plan.in_force)
    return free.trace if free.trace.peak_reserved_bytes <= budget.capacity_bytes else None


def _warnings(report: ScriptReport, steps: int, *, infers: bool) -> Iterator[str]:
    if infers:
        yield from idle_optimizers(report, "block")
    elif report.end is not ScriptEnd.STEPS_DONE:
        yield (
            f"the block ended by itself after {report.steps} of {steps} optimizer steps: the peak "
            "of later steps may be higher"
        )
    yield from recoveries(report, "block")


def _assumptions(report: ScriptReport, steps: int, answer: DeviceMemory) -> Iterator[str]:
    if report.end is ScriptEnd.STEPS_DONE:
        yield (
            f"the block was ended where optimizer step {steps + 1} began: what it does later is "
            "not in the figures"
        )
    source = report.batch_from or "nothing that was seen: it counts as 1"
    yield f"the batch size is that of {source}"
    if answer.trace.peak_reserved_bytes < report.answer.trace.peak_reserved_bytes:
        yield "that it fits with less reserved memory is from a replay, and not confirmed by a run"
    yield "no largest batch: a block runs as it is; `planner run` varies the batch of a script"
