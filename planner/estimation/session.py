"""Opens a child that has loaded the target, and counts the step in it next to the runs.

In: the target, the functions and arguments of its model, the card that it first sees; or an
EstimateRequest. Out: LoadedTarget, EstimationSession.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from planner._version import __version__
from planner.config.parallel import ParallelConfig
from planner.config.step import StepConfig
from planner.config.target import Scalar, Target
from planner.emulator import replay_library
from planner.emulator.build import emulated_device
from planner.emulator.torch_install import TorchInstall, find_torch
from planner.errors import PlannerError
from planner.estimation.alloc_conf import allocator_plan, check_environment
from planner.estimation.context import ProfileFactory, Progress, RunContext
from planner.estimation.data_source import measured_data
from planner.estimation.generation.target import is_run_whole, runs_of
from planner.estimation.job import JobConfig, job_config
from planner.estimation.ranks import check_host
from planner.estimation.request import EstimateRequest
from planner.hardware.database import load_gpus
from planner.memory.budget import MemoryBudget, memory_budgets
from planner.memory.card_words import stand_ins
from planner.process.client import Runner
from planner.process.kept.opened import opened_answers
from planner.process.payload import ModelFunctions, child_target
from planner.timing.power_limit import check_power_limit
from planner.verification.calibrated_budgets import CalibratedBudgets, calibrated_budgets
from planner.wire.module_counts import ModelCounts
from planner.wire.protocol import ChildVersions

if TYPE_CHECKING:
    from planner.estimation.batch_counts import BatchCounts
    from planner.results.estimate import Versions

# Imported while the child imports torch, because they load slowly and an answer needs them.
_LATER = (
    "planner.estimation.assemble",
    "planner.estimation.device_timing",
    "planner.estimation.grouped_devices",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTarget:
    """A child that has loaded the target. `label` is the target as the caller knows it."""

    runner: Runner
    cards: ProfileFactory
    label: str
    versions: Versions


@contextmanager
def loaded_target(
    target: Any,
    functions: ModelFunctions,
    given: tuple[tuple[str, Scalar], ...],
    *,
    torch: TorchInstall,
    budget: MemoryBudget,
    config: StepConfig,
    timeout_s: float,
    progress: Progress,
    cache: bool = True,
) -> Iterator[LoadedTarget]:
    """Starts a child that loads the target; it lives as long as the context.

    With `cache`, answers are kept, and the child is started at the first question without one.

    Raises:
        PlannerError: the emulated device cannot be built, the target cannot be loaded, or torch
        refuses the environment's setting of the allocator.
    """
    check_environment(config, torch.version)
    with child_target(target, functions, given) as named:
        cards = ProfileFactory(torch=torch, device=emulated_device(torch, progress))
        profile = cards.unlimited(budget)
        kept = opened_answers(
            named, torch=torch, device=cards.device, profile=profile, wanted=cache
        )
        with Runner(
            named,
            device=cards.device,
            profile=profile,
            timeout_s=timeout_s,
            alloc_conf=config.alloc_conf,
            on_progress=progress,
            kept=kept.answers,
        ) as runner:
            if kept.warning is not None:
                runner.warnings.append(kept.warning)
            _prepare_meanwhile()
            versions = versions_of(runner.wait_loaded(), torch)
            yield LoadedTarget(
                runner=runner, cards=cards, label=caller_label(target, named), versions=versions
            )


def beside(count: Callable[[], ModelCounts]) -> Future[ModelCounts]:
    """Starts `count` in a thread of its own, next to the runs; closing the child ends it."""
    pool = ThreadPoolExecutor(max_workers=1)
    counting = pool.submit(count)
    pool.shutdown(wait=False)
    return counting


def counted_or_why(counting: Future[ModelCounts]) -> tuple[ModelCounts | None, tuple[str, ...]]:
    """Returns the counts; without them the reason, because an estimate does not need counts."""
    try:
        return counting.result(), ()
    except PlannerError as error:
        return None, (f"FLOPs and activations could not be counted: {error}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimationSession:
    """A step in a child that has loaded the target, and the cards to estimate it for.

    `stand_in_note` names the cards taken where none was requested; None: some were requested.
    `left_out` says which of several cards cannot be answered for.
    """

    child: LoadedTarget
    setup: RunContext
    known: CalibratedBudgets
    request: JobConfig
    stand_in_note: str | None
    left_out: tuple[str, ...] = ()

    def measured_request(self) -> JobConfig:
        """Returns the request, with the user's own items timed where that was requested.

        Raises:
            PlannerError: there is no data set, or it failed.
        """
        if self.request.measure_data:
            self.setup.progress("timing items of the data set")
        return measured_data(self.child.runner, self.request)

    def counts(self, budget: MemoryBudget) -> BatchCounts:
        """Returns the counts of the step at any batch, made on a card without its limit."""
        from planner.estimation.batch_counts import BatchCounts

        profile = self.child.cards.unlimited(budget)

        def count(batch_size: int) -> ModelCounts:
            self.setup.progress(f"counting batch {batch_size}")
            config = replace(self.setup.config, batch_size=batch_size)
            return self.setup.runner.count(profile, config)

        return BatchCounts(count, self.setup.config.batch_size)


@contextmanager
def estimation_session(
    asked: EstimateRequest,
    gpus: Sequence[str],
    *,
    may_stand_in: bool = False,
    job: ParallelConfig | None = None,
) -> Iterator[EstimationSession]:
    """Yields the step on the cards of these names; without names, on those of the named host.

    Without either, with `may_stand_in`, other cards stand in; see memory/card_words.py. `job` is
    one on several GPUs that the step is to be a part of, None: that of the request.

    Raises:
        PlannerError: see errors.py.
    """
    config, progress = asked.config, asked.progress
    request = job_config(**asked.speed_words, hardware_db=asked.database)
    check_host(job or config.parallel, request.cards_of_host)
    named = gpus or [card for card, _ in request.cards_of_host]
    others = stand_ins(load_gpus(asked.database)) if may_stand_in and not named else None
    budgets = memory_budgets(
        named if others is None else others.names,
        hardware_db=asked.database,
        gpu_memory=asked.gpu_memory,
        reserve=asked.reserve,
    )
    if request.power_limit_w is not None:
        for budget in budgets:
            check_power_limit(budget.spec, request.power_limit_w)
    network = None
    left_out: tuple[str, ...] = ()
    if config.parallel is not None:
        from planner.estimation.network import network_of, with_known_links

        network = network_of(config.parallel, request.machine, asked.database)
        budgets, left_out = with_known_links(network, budgets)
    torch = find_torch()
    known = calibrated_budgets(
        budgets, torch=torch.version, mode=config.mode, from_history=asked.calibration
    )
    plan = allocator_plan(asked.alloc_confs, torch.version)
    with loaded_target(
        asked.target,
        asked.functions,
        asked.given,
        torch=torch,
        budget=known.budgets[0],
        config=config,
        timeout_s=asked.timeout_s,
        progress=progress,
        cache=asked.cache,
    ) as child:
        setup = RunContext(
            config=config,
            plan=plan,
            runner=child.runner,
            cards=child.cards,
            progress=progress,
            network=network,
            wrapped=runs_of(asked, plan),
            confirms=is_run_whole(asked),
        ).over(child.runner)
        yield EstimationSession(
            child=child,
            setup=setup,
            known=known,
            request=request,
            stand_in_note=None if others is None else others.note,
            left_out=left_out,
        )


def caller_label(target: Any, named: Target) -> str:
    """Returns the target as the caller knows it."""
    if isinstance(target, (str, os.PathLike, Target)):
        return named.label
    return named.name or "model"


def _prepare_meanwhile() -> None:
    """Does what needs no answer of the child, and would cost time after it."""
    for name in _LATER:
        import_module(name)
    replay_library.library()


def versions_of(child: ChildVersions, torch: TorchInstall) -> Versions:
    """Returns the versions that the figures of a child are made with."""
    from planner.results.estimate import Versions

    return Versions(
        torch=child.torch,
        cuda=child.cuda,
        cudnn=torch.cudnn_version,
        python=child.python,
        planner=__version__,
    )
