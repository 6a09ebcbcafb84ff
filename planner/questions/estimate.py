"""estimate(): calls the stages in order.

target, cards, options
  -> the cards' budgets, and the emulated device for this torch (built once)
  -> a child that loads the model; per card, side by side, its runs and search; at the same
     time a counted run
  -> Estimate

The later stages are imported in the functions that call them: the child starts before, and imports
torch at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planner.config.options import EstimateOptions
from planner.config.parse import device_word
from planner.errors import UsageError
from planner.estimation.request import EstimateRequest, check_one_gpu, estimate_request
from planner.estimation.session import EstimationSession, beside, counted_or_why, estimation_session
from planner.memory.card_words import card_words, is_every_card

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from planner.estimation.device_memory import DeviceMemory
    from planner.estimation.device_timing import DeviceTiming
    from planner.estimation.size_axes import SizeAxis
    from planner.results.estimate import Estimate
    from planner.wire.module_counts import ModelCounts


def estimate(
    target: Any,
    *,
    gpu: str | Sequence[str] = (),
    device: str | None = None,
    memory: str | int | None = None,
    max_batch: bool = True,
    largest: str | Sequence[str] = (),
    keep_allocations: bool = False,
    keep_batches: int = 0,
    **options: Unpack[EstimateOptions],
) -> Estimate:
    """Runs the step on emulated cards: does it fit, with how much memory, which batch, how fast.

    `target` is a model file, "FILE:NAME", "package.module:NAME", a live nn.Module or a function
    that builds one. `gpu` is a card, several as "a100,t4" or a list, "auto" (that of this machine)
    or "all"; none: the cards of `host`, else this machine's, else a few usual ones, named in the
    assumptions. `largest` is "image" or "frames" of a pipeline, or a list of both: that size is
    searched too. device="cpu" replaces `gpu`, with at most `memory` of RAM. Of several `alloc_conf`
    the first is in force, the others are compared with it by replay. With `calibration`, past
    verifications on a card correct its figures. With `keep_allocations` the result holds each
    allocation of the recorded runs (some MB), which `Estimate.save` writes too, and the requests at
    the batches that the search has recorded; `keep_batches` runs as many more. `options` are the
    fields of StepConfig (batch_size=8, precision="amp-bf16" ...) and the words of job_config
    (data="imagenet-jpeg", host="this", price="2.49 USD/h" ...).

    Raises:
        PlannerError: see errors.py. A model that does not fit is a result, not an error.
    """
    names = card_words(gpu)
    device = device_word(device)
    is_survey = is_every_card(names)
    if largest:
        _check_largest(device, is_survey)
    asked = estimate_request(target, **options)
    if device is not None or memory is not None:
        _check_cpu(device, names, asked)
        found = _on_cpu(asked, memory, search=max_batch)
    else:
        axes = _size_axes(asked, largest)
        with estimation_session(asked, names, may_stand_in=True) as step:
            found = estimate_on_cards(
                replace(step, setup=replace(step.setup, size_axes=axes)),
                is_survey=is_survey,
                search=max_batch,
                keep_allocations=keep_allocations or keep_batches > 0,
                keep_batches=keep_batches,
            )
    return replace(found, model_arguments=asked.given)


def _size_axes(asked: EstimateRequest, largest: str | Sequence[str]) -> tuple[SizeAxis, ...]:
    if not largest:
        return ()
    from planner.estimation.size_axes import size_axes

    return size_axes(asked, largest)


def _check_largest(device: str | None, is_survey: bool) -> None:
    """Raises UsageError where sizes of images are not searched."""
    if device is not None or is_survey:
        asked = f"device {device}" if device is not None else "every card (gpu all)"
        raise UsageError(
            f"the largest image or clip was asked for (--largest), and {asked}: it is searched on "
            "cards that are named, like --gpu rtx4090"
        )


def _on_cpu(asked: EstimateRequest, memory: str | int | None, *, search: bool) -> Estimate:
    from planner.questions.estimate_cpu import estimate_on_cpu

    return estimate_on_cpu(
        asked.target,
        asked.functions,
        asked.given,
        config=asked.config,
        memory=memory,
        reserve=asked.reserve,
        search=search,
        timeout_s=asked.timeout_s,
        progress=asked.progress,
    )


def estimate_on_cards(
    step: EstimationSession,
    *,
    is_survey: bool,
    search: bool,
    keep_allocations: bool = False,
    keep_batches: int = 0,
) -> Estimate:
    """Estimates the step on all cards, and counts it at the same time.

    Warnings are only those of its own runs, also where the child has served others before.

    Raises:
        PlannerError: see errors.py.
    """
    from planner.estimation.assemble import assemble
    from planner.estimation.device_timing import device_timings
    from planner.estimation.ranks import of_several_gpus, with_stage_counts, with_worst_rank

    child, known = step.child, step.known
    warned = len(child.runner.warnings)
    request = step.measured_request()  # before other runs take processors
    chosen = with_worst_rank(step.setup, known.budgets[0])
    step, setup = replace(step, setup=chosen.setup), chosen.setup
    answers, counted, trouble = _answered(step, is_survey=is_survey, search=search)
    speeds: list[DeviceTiming] = []
    if counted is not None:
        unlimited = child.cards.unlimited(known.budgets[0])
        setup = with_stage_counts(
            setup, chosen, lambda config: setup.runner.count(unlimited, config)
        )
        speeds = device_timings(answers, setup.config, counted, request, setup.network)
    found = assemble(
        child.label,
        setup.config,
        answers,
        child.versions,
        (*child.runner.warnings[warned:], *trouble, *known.warnings, *step.left_out),
        plan=setup.plan,
        counted=counted,
        spreads=known.spreads,
        speeds=speeds,
        is_survey=is_survey,
    )
    not_kept = child.runner.not_kept()
    if setup.config.parallel is not None:
        found = replace(found, assumptions=(*found.assumptions, *of_several_gpus(answers)))
    found = replace(
        found,
        ranks=chosen.ranks,
        assumptions=(*found.assumptions, *not_kept),
        notes=(*found.notes, *not_kept),
    )
    if keep_allocations:
        from planner.estimation.kept_recordings import with_recordings

        found = with_recordings(found, setup, answers, counted, request, more_batches=keep_batches)
    if step.stand_in_note is None:
        return found
    assumptions = (step.stand_in_note, *found.assumptions)
    return replace(found, assumptions=assumptions, has_stand_ins=True)


def _answered(
    step: EstimationSession, *, is_survey: bool, search: bool
) -> tuple[list[DeviceMemory], ModelCounts | None, tuple[str, ...]]:
    """Returns the answers for all cards, the counts, and why there are none.

    They come from kept runs where those are enough, else from runs, with a count beside them.
    """
    from planner.estimation.grouped_devices import answers_by_device, answers_by_group
    from planner.estimation.kept_device import answers_from_kept

    child, setup, budgets = step.child, step.setup, step.known.budgets
    kept = child.runner.kept_runs()
    if kept is not None:
        found = answers_from_kept(setup, budgets, kept, search=search, is_survey=is_survey)
        if found is not None:
            return found.answers, found.counted, ()
    unlimited = child.cards.unlimited(budgets[0])
    counting = beside(lambda: setup.runner.count(unlimited, setup.config))
    if is_survey:
        answers = answers_by_group(setup, budgets, search=search)
    else:
        answers = answers_by_device(setup, budgets, search=search)
    counts = counted_or_why(counting)
    if not is_survey:
        for budget in budgets:
            profiles = child.cards.unlimited(budget), child.cards.limited(budget)
            child.runner.keep_finished(*profiles, setup.config)
    return (answers, *counts)


def _check_cpu(device: str | None, names: Sequence[str], asked: EstimateRequest) -> None:
    """Raises UsageError where the request does not make sense for a CPU."""
    check_one_gpu(asked.config)
    if device != "cpu":
        raise UsageError(
            f"device {device!r} cannot be estimated: say cpu, or a card with gpu"
            if device is not None
            else "memory is the limit of a run on the CPU: say device cpu with it"
        )
    if names:
        raise UsageError(f"say either gpu {', '.join(names)} or device cpu, not both")
    words = {
        "gpu_memory": asked.gpu_memory,
        "alloc_conf": asked.alloc_confs or None,
        **asked.speed_words,
    }
    of_a_card = [name for name, value in words.items() if value is not None]
    if of_a_card:
        said, are = ", ".join(of_a_card), "is a matter" if len(of_a_card) == 1 else "are matters"
        raise UsageError(f"{said} {are} of a card: leave that out with device cpu")
