"""Estimates a script: its runs, its search along the batch, one Estimate.

In: a command, cards, limits. Out: Estimate, made as that of a planned step is; what the script
decides itself (training or inference, steps, batch, precision) is what was seen of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from planner._version import __version__
from planner.config.parallel import DataParallel, ParallelConfig
from planner.config.step import Mode, Precision, StepConfig
from planner.emulator.build import emulated_device
from planner.emulator.torch_install import TorchInstall
from planner.errors import ModelError, PlannerError
from planner.estimation.alloc_conf import allocator_plan
from planner.estimation.assemble import assemble
from planner.estimation.context import ProfileFactory, RunContext, side_by_side
from planner.estimation.device_memory import DeviceMemory, DeviceMemorySearch
from planner.estimation.device_timing import DeviceTiming, device_timings
from planner.estimation.job import job_config
from planner.estimation.kept_recordings import with_recordings
from planner.estimation.script_request import ScriptRequest
from planner.estimation.script_words import script_assumptions, script_warnings
from planner.memory.budget import MemoryBudget
from planner.process.script.runner import ScriptRunner
from planner.process.script.words import batch_place
from planner.results.estimate import Estimate, Versions
from planner.verification.calibrated_budgets import CalibratedBudgets
from planner.wire.module_counts import ModelCounts
from planner.wire.script import PlayedRank, ScriptReport
from planner.wire.trace import RunOutcome

if TYPE_CHECKING:
    from planner.estimation.network import Network

AUTOCAST = {"float16": Precision.AMP_FP16, "bfloat16": Precision.AMP_BF16}

# Exceptions of the standard library, urllib3, requests, huggingface_hub without a network.
_OF_THE_NETWORK = (
    "ConnectionError", "ConnectTimeout", "gaierror", "LocalEntryNotFoundError", "MaxRetryError",
    "OfflineModeIsEnabled", "URLError",
)  # fmt: skip
_NO_NETWORK = (
    ". A script has no network under planner run: fetch what it needs before, as by running it once"
)
# torch/distributed/device_mesh.py: its errors where a mesh has no names.
_WITHOUT_NAMES = ("without mesh_dim_names", "No `mesh_dim_names` found")
_NAMES = (
    ". A mesh has the names that it is made with: write "
    'init_device_mesh("cuda", (8,), mesh_dim_names=("dp",)), then mesh["dp"]'
)


_RANK_0 = (
    "one process plays rank 0 of the launcher's; the others are taken to do the same at the same "
    "time, and sums of small tensors are those of equal ranks"
)


def estimate_script(
    request: ScriptRequest, known_of: Callable[[Mode], CalibratedBudgets]
) -> Estimate:
    """Runs the script on each card and returns its Estimate.

    `known_of` returns the cards with the spreads of a mode, which the first run shows.

    Raises:
        PlannerError: see errors.py. A script that does not fit is a result, not an error.
    """
    torch = request.interpreter.torch
    runner = ScriptRunner(
        request.command,
        device=(device := emulated_device(torch, request.progress)),
        limits=request.limits,
        working=request.working,
        batch_argument=request.batch_argument,
        on_progress=request.progress,
    )
    cards = ProfileFactory(torch=torch, device=device)
    known = known_of(Mode.TRAIN)
    report = runner.first(cards.unlimited(known.budgets[0]))
    _check_failure(report)
    if runner.infers:
        known = known_of(Mode.INFER)
    config = _config(request, report, infers=runner.infers)
    runner.own_batch = config.batch_size
    setup = RunContext(
        config=config,
        plan=allocator_plan((), torch.version),
        runner=runner,
        cards=cards,
        progress=request.progress,
        network=_network(request, config),
    )
    has_loader = report.loader_batch_size is not None and not runner.infers
    can_search = request.batch_argument is not None or has_loader
    search = request.search and can_search

    def answered(budget: MemoryBudget) -> DeviceMemory:
        return DeviceMemorySearch(setup=setup, budget=budget).answer(search)

    answers = side_by_side(answered, known.budgets)
    counts, speeds, trouble = _speeds(request, runner, setup, answers)
    found = assemble(
        request.command.label,
        config,
        answers,
        reported_versions(torch, report),
        (*script_warnings(request, report, runner), *trouble, *known.warnings),
        plan=setup.plan,
        counted=counts,
        spreads=known.spreads,
        speeds=speeds,
    )
    said = (
        *script_assumptions(request, report, runner, can_search=can_search),
        *_of_options(found),
    )
    if config.parallel is not None:
        from planner.estimation.ranks import of_several_gpus

        said += (_RANK_0, *of_several_gpus(answers))
    if request.keep_allocations:
        job = job_config(hardware_db=request.database)
        found = with_recordings(
            found, setup, answers, counts, job, more_batches=request.keep_batches
        )
    has_stand_ins = request.stand_in_note is not None
    return replace(found, assumptions=(*said, *found.assumptions), has_stand_ins=has_stand_ins)


def _network(request: ScriptRequest, config: StepConfig) -> Network | None:
    if config.parallel is None:
        return None
    from planner.estimation.network import network_of  # of several GPUs alone

    return network_of(config.parallel, None, request.database)


def _of_options(found: Estimate) -> Iterator[str]:
    """Says that advice is in options that a script does not have, where there is advice."""
    if any(not one.fits or (one.time and one.time.gains) for one in found.gpus):
        yield (
            "options that the advice names (--precision, --accumulate ...) are those of `planner "
            "estimate`: change the script in their sense"
        )


def _check_failure(report: ScriptReport) -> None:
    failure = report.answer.trace.failure
    if report.answer.trace.outcome is RunOutcome.MODEL_ERROR and failure is not None:
        raise ModelError(
            f"the script failed ({failure.during}): {failure.kind}: {failure.message}"
            f"{_NO_NETWORK if failure.kind in _OF_THE_NETWORK else ''}"
            f"{_NAMES if any(text in failure.message for text in _WITHOUT_NAMES) else ''}",
            failure.frames,
        )


def _config(request: ScriptRequest, report: ScriptReport, *, infers: bool) -> StepConfig:
    """Returns how the script runs its step, as far as that was seen."""
    batch_size = report.batch_size or 1
    if request.batch_argument is not None:
        words = request.command.words
        index, head = batch_place(words, request.batch_argument)
        batch_size = int(words[index][len(head) :])
    elif report.loader_batch_size is not None and not infers:
        batch_size = report.loader_batch_size
    return StepConfig(
        batch_size=batch_size,
        accumulate=report.micro_batches,
        mode=Mode.INFER if infers else Mode.TRAIN,
        steps=1 if infers else request.limits.steps,
        precision=AUTOCAST.get(report.autocast),
        parallel=_parallel(request.limits.ranks, report.strategy),
    )


def _parallel(ranks: PlayedRank | None, strategy: str) -> ParallelConfig | None:
    """Returns the job of a launcher, with the strategy that was seen."""
    if ranks is None:
        return None
    data = DataParallel(strategy) if strategy else DataParallel.NONE
    is_sharded = data is DataParallel.FSDP
    return ParallelConfig(
        gpus=ranks.gpus,
        hosts=ranks.hosts,
        data=data,
        replicate=1 if is_sharded else ranks.gpus,
        shard=ranks.gpus if is_sharded else 1,
        rank=ranks.rank,
    )


def _speeds(
    request: ScriptRequest,
    runner: ScriptRunner,
    setup: RunContext,
    answers: Sequence[DeviceMemory],
) -> tuple[ModelCounts | None, list[DeviceTiming], tuple[str, ...]]:
    """Returns what was counted and the speed on each card; without counts the reason."""
    try:
        counts = runner.count("", setup.config)
    except PlannerError as error:
        return None, [], (f"no step time: {error}",)
    job = job_config(hardware_db=request.database)
    return counts, device_timings(answers, setup.config, counts, job, setup.network), ()


def reported_versions(torch: TorchInstall, report: ScriptReport) -> Versions:
    """Returns the versions that a script or block has run with."""
    return Versions(
        torch=report.torch,
        cuda=report.cuda,
        cudnn=torch.cudnn_version,
        python=report.python,
        planner=__version__,
    )
