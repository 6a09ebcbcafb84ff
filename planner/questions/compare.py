"""compare(): the same step on many cards, ranked by time, cost or energy.

target, cards, options
  -> a child that loads the model; two or three runs for each compute capability; at the same
     time the counts of a batch
  -> for every card: the largest batch by replay, its knee, the time, the energy and the cost
  -> CardComparison
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.config.options import CompareOptions
from planner.config.parse import choice
from planner.config.weights import settled
from planner.errors import UsageError
from planner.estimation.batch_counts import BatchCounts
from planner.estimation.batch_memory import BatchMemory
from planner.estimation.batch_timing import BatchSpeeds
from planner.estimation.compared_card import Compared, compared
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.grouped_devices import answers_by_group
from planner.estimation.job import JobConfig
from planner.estimation.request import request_with_one_setting
from planner.estimation.session import EstimationSession, beside, estimation_session
from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec
from planner.memory.budget import MemoryBudget
from planner.memory.card_words import ALL_CARDS, card_words, is_every_card, named_cards
from planner.results.comparison import CardComparison, LeftOut, RankBy
from planner.results.values import NO_VALUES_READ
from planner.wire.trace import weight_dtypes

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Samples of an epoch without a given dataset size: about the training images of ImageNet-1k,
# 1 281 167 (https://image-net.org/challenges/LSVRC/2012/).
DEFAULT_DATASET_SIZE = "1.28M"
_AT_KNEE = (
    "each card at the batch where its throughput is near its best, at most the largest that fits "
    "(--batch compares all at one)"
)
_AT_BATCH = "where batch {batch} does not fit, times are those of a card with memory enough"
_BY_REPLAY = "largest batches come from replays of a few runs for each compute capability"
_OPERATORS = "cards with the same backend of attention are taken to launch the same operators"
_EPOCH = f"no size of the dataset was given: {DEFAULT_DATASET_SIZE} samples (--dataset-size)"


def compare(
    target: Any,
    *,
    gpu: str | Sequence[str] = ALL_CARDS,
    by: str | RankBy = RankBy.TIME,
    batch_size: int | None = None,
    dataset_size: str | int | None = None,
    hardware_db: str | os.PathLike[str] | None = None,
    **options: Unpack[CompareOptions],
) -> CardComparison:
    """Ranks cards for a step: whether it fits, how fast it is, time, energy and cost of an epoch.

    `gpu` is a card, several as "a100,t4" or a list, "auto" or "all"; `by` is time, cost or energy.
    Without `batch_size` each card has its own: the knee of its throughput, at most the largest
    batch that fits.
    All other `options`: planner.config.options.

    Raises:
        PlannerError: see errors.py. A card that the step does not fit on is a result.
    """
    ranked_by = choice(RankBy, by, "by")
    database = Path(hardware_db) if hardware_db is not None else None
    emulated, left_out = _apart(card_words(gpu), database)
    of_request: dict[str, Any] = {**options, "hardware_db": hardware_db}
    if batch_size is not None:
        of_request["batch_size"] = batch_size
    of_request["dataset_size"] = DEFAULT_DATASET_SIZE if dataset_size is None else dataset_size
    words = request_with_one_setting(target, **of_request)
    with estimation_session(words, emulated) as step:
        request = step.measured_request()  # before other runs take processors
        newest = max(step.known.budgets, key=lambda budget: budget.card.compute_capability)
        counts = step.counts(newest)
        counting = beside(lambda: counts.counted(step.setup.config.batch_size))
        answers = answers_by_group(step.setup, step.known.budgets, search=True)
        counting.result()
        failures: dict[int, str] = {}
        found = _compared(
            step,
            request,
            answers,
            _by_kernels(step, answers, newest, counts),
            batch_size,
            failures,
        )
        weights = weight_dtypes(answers[0].trace)
        said = (_AT_KNEE if batch_size is None else _AT_BATCH.format(batch=batch_size), _BY_REPLAY)
        return CardComparison(
            target=step.child.label,
            by=ranked_by,
            cards=tuple(one.card for one in found),
            left_out=left_out,
            epoch_samples=step.request.dataset_samples,
            config=settled(step.setup.config, weights),
            versions=step.child.versions,
            assumptions=(*said, *_assumptions(found, answers), *([] if dataset_size else [_EPOCH])),
            notes=_notes(found, answers),
            warnings=_warnings(step, answers, [*failures.values(), *_not_fitting(found)]),
            values=answers[0].values if answers else NO_VALUES_READ,
            weight_dtypes=weights,
            model_arguments=words.given,
        )


def _apart(names: Sequence[str], database: Path | None) -> tuple[list[str], tuple[LeftOut, ...]]:
    """Returns the names of cards that can be emulated, and the others with the reason.

    Raises:
        UnknownGpuError: no such card. UsageError: "all" with others, or none that can be emulated.
    """
    known = load_gpus(database)
    if is_every_card(names) and len(names) == 1:  # also those that cannot be emulated
        asked = {spec.id: spec for spec in known.all()}
    else:
        cards = named_cards(names, known)
        asked = {card.name: known.find(card.name).spec for card in cards}
    emulated = [name for name, spec in asked.items() if spec.emulatable]
    left_out = [_left_out(name, spec) for name, spec in asked.items() if not spec.emulatable]
    if asked and not emulated:
        raise UsageError("; ".join(f"{one.requested}: {one.reason}" for one in left_out))
    return emulated, tuple(left_out)


def _left_out(name: str, spec: GpuSpec) -> LeftOut:
    return LeftOut(requested=name, reason=f"only NVIDIA cards can be emulated, not {spec.name}")


_Kernels = tuple[str, ...]  # the backends of attention: with one torch, cards differ only in them


def _by_kernels(
    step: EstimationSession,
    answers: Sequence[DeviceMemory],
    newest: MemoryBudget,
    counts: BatchCounts,
) -> dict[_Kernels, BatchCounts]:
    """Returns the counts for each set of kernels; `counts` are those of the newest card."""
    found = {
        answer.trace.attention_backends: counts for answer in answers if answer.budget is newest
    }
    for answer in answers:
        if answer.trace.attention_backends not in found:
            found[answer.trace.attention_backends] = step.counts(answer.budget)
    return found


def _compared(
    step: EstimationSession,
    request: JobConfig,
    answers: Sequence[DeviceMemory],
    counts: Mapping[_Kernels, BatchCounts],
    batch_size: int | None,
    failures: dict[int, str],
) -> list[Compared]:
    found = []
    for answer in answers:
        speeds = BatchSpeeds(
            config=step.setup.config,
            counts=counts[answer.trace.attention_backends],
            request=request,
            answer=answer,
            failures=failures,
        )
        memory = BatchMemory(setup=step.setup, answer=answer)
        found.append(compared(memory, speeds, batch_size))
    return found


def _assumptions(found: Sequence[Compared], answers: Sequence[DeviceMemory]) -> tuple[str, ...]:
    """Returns the assumptions for all cards, once each, without the basis of their cost."""
    named = [
        f"{answer.budget.requested}: {answer.budget.note}"
        for answer in answers
        if answer.budget.note is not None
    ]
    speeds = [one.speed for one in found if one.speed is not None]
    return (
        _OPERATORS,
        *named,
        *dict.fromkeys(text for answer in answers for text in answer.trace.assumptions),
        *answers[0].values.assumptions(),
        *dict.fromkeys(text for one in speeds for text in one.assumptions),
    )


def _notes(found: Sequence[Compared], answers: Sequence[DeviceMemory]) -> tuple[str, ...]:
    """Returns those of the assumptions that cannot make a figure wrong."""
    speeds = [one.speed for one in found if one.speed is not None]
    return (
        *dict.fromkeys(text for answer in answers for text in answer.trace.notes),
        *dict.fromkeys(text for one in speeds for text in one.notes),
    )


def _warnings(
    step: EstimationSession, answers: Sequence[DeviceMemory], others: Sequence[str]
) -> tuple[str, ...]:
    return (
        *dict.fromkeys(text for answer in answers for text in answer.trace.warnings),
        *answers[0].values.warnings(),
        *step.child.runner.warnings,
        *step.known.warnings,
        *others,
    )


def _not_fitting(found: Sequence[Compared]) -> list[str]:
    """Returns a sentence for each batch that is too large somewhere: the cards, with the reason."""
    reasons: dict[int, list[str]] = {}
    for one in found:
        if one.does_not_fit is not None:
            reasons.setdefault(one.does_not_fit, []).append(one.reason)
    return [
        f"batch {batch} does not fit on {', '.join(texts)}"
        for batch, texts in sorted(reasons.items())
    ]
