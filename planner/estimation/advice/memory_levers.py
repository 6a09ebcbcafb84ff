"""Levers that leave the training as it is: allocator, activations, micro-batches, loss, input.

In: Subject. Out: LeverRows.
"""

from __future__ import annotations

from planner.config.step import StepConfig
from planner.estimation.advice.lever_row import LeverRow, Subject, training_alone
from planner.results.advice import Effect
from planner.wire.trace import TensorCategory

_SAVED = TensorCategory.SAVED_ACTIVATION
_GRADIENT = TensorCategory.GRADIENT
_TEMPORARY = TensorCategory.TEMPORARY
_LEAST_SEQUENCE = 128
_MOST_MICRO_BATCHES = 64  # beyond it most of a step is launches


def of_the_allocator(subject: Subject) -> list[LeverRow]:
    """Returns the levers of the allocator."""
    config = subject.config
    given = "" if config.alloc_conf is None else f"--alloc-conf {config.alloc_conf} was given"
    rows = [
        LeverRow(
            name=name,
            options={"alloc_conf": text},
            family="allocator",
            effect=Effect.NONE,
            note=note,
            code=f"PYTORCH_CUDA_ALLOC_CONF={text} python train.py",
            cannot=given,
        )
        for name, text, note in (
            (
                "expandable segments", "expandable_segments:True",
                "the same numbers; the allocator's segments grow in place",
            ),
            (
                "split limit", "max_split_size_mb:128",
                "the same numbers; large blocks are not split",
            ),
        )
    ]  # fmt: skip
    rows.append(
        LeverRow(
            name="drop gradients",
            options={"set_to_none": True},
            family="gradients",
            effect=Effect.NONE,
            note="the same numbers; gradients are gone during forward",
            code="optimizer.zero_grad(set_to_none=True)",
            cannot=training_alone(subject)
            or ("" if not config.set_to_none else "zero_grad drops gradients already"),
            promise=((_GRADIENT, 0.8),),
        )
    )
    return rows


def of_activations(subject: Subject) -> list[LeverRow]:
    """Returns the levers of activations: they are computed again."""
    given = training_alone(subject) or (
        "activations are checkpointed already" if subject.config.checkpoint_activations else ""
    )
    note = "the same numbers; blocks are computed again in backward"
    code = (
        "from torch.utils.checkpoint import checkpoint\n"
        "x = checkpoint(block, x, use_reentrant=False)  # in forward, for {which}"
    )
    rows = [
        LeverRow(
            name="checkpoint activations",
            options={"checkpoint_activations": True},
            family="checkpointing",
            effect=Effect.NONE,
            note=note,
            code=code.format(which="each block"),
            cannot=given,
            promise=((_SAVED, 0.8),),
        )
    ]
    rows += [
        LeverRow(
            name=f"checkpoint {name}",
            options={"checkpoint_blocks": text},
            family="checkpointing",
            effect=Effect.NONE,
            note=note,
            code=code.format(which=name),
            cannot=given,
            promise=((_SAVED, share),),
        )
        for name, text, share in (
            ("every second block", "every:2", 0.4),
            *_best(subject.best_blocks),
        )
    ]
    return rows


def _best(blocks: tuple[str, ...]) -> list[tuple[str, str, float]]:
    """Returns the blocks with most bytes for each recomputed FLOP, as many as may be enough."""
    if not blocks:
        return []
    number = "the best block" if len(blocks) == 1 else f"the best {len(blocks)} blocks"
    return [(number, ",".join(blocks), 0.6)]


def of_micro_batches(subject: Subject) -> list[LeverRow]:
    """Returns the levers of micro batches."""
    config = subject.config
    if not subject.trains:
        return _fewer(subject)
    if config.batch_size == 1:
        return [_micro_batches(config, 2, cannot="one sample cannot be divided")]
    alone, all_of_them = _divisors(subject)
    rows = [_micro_batches(config, times, is_reserve=times not in alone) for times in all_of_them]
    return [*rows, *_fewer(subject)]


def _micro_batches(
    config: StepConfig, times: int, *, cannot: str = "", is_reserve: bool = False
) -> LeverRow:
    size = max(1, config.batch_size // times)
    whole = config.accumulate * times
    return LeverRow(
        name="micro-batches" if cannot else f"{whole} micro-batches",
        options={"batch_size": size, "accumulate": whole},
        family="batch",
        effect=Effect.NONE,
        note="the same samples a step; batch norm sees the smaller batch",
        code=(
            f"for part in batch.chunk({whole}):\n"
            f"    (loss_fn(model(part)) / {whole}).backward()\n"
            "optimizer.step()"
        ),
        cannot=cannot,
        strength=times,
        is_reserve=is_reserve,
        promise=((_SAVED, 1 - 1 / times), (_TEMPORARY, 1 - 1 / times)),
    )


def _divisors(subject: Subject) -> tuple[list[int], list[int]]:
    """Returns numbers of micro-batches to try alone (2, those that may be enough), and all."""
    batch, largest = subject.config.batch_size, subject.largest_batch or 0
    every = [n for n in range(2, min(batch, _MOST_MICRO_BATCHES) + 1) if batch % n == 0]
    enough = [times for times in every if batch // times <= largest]
    alone = sorted({*every[:1], *enough[:2]})
    return alone, sorted({*alone, *_doubling(every)})


def _doubling(numbers: list[int]) -> list[int]:
    """Returns rising numbers that are at least twice the one before, the last one always."""
    kept: list[int] = []
    for number in numbers:
        if not kept or number >= 2 * kept[-1]:
            kept.append(number)
    return sorted({*kept, *numbers[-1:]})


def _fewer(subject: Subject) -> list[LeverRow]:
    """Returns the largest batch that fits, where it is smaller than the requested one."""
    largest = subject.largest_batch
    if not largest or largest >= subject.config.batch_size:
        return []
    trains = subject.trains
    return [
        LeverRow(
            name="smaller batch",
            options={"batch_size": largest},
            family="batch",
            effect=Effect.LARGE if trains else Effect.NONE,
            note=(
                "fewer samples a step: the learning rate may have to change"
                if trains
                else "the same numbers, fewer samples at a time"
            ),
            code=f"DataLoader(dataset, batch_size={largest})",
            changes_job=True,
            promise=((_SAVED, 0.5),),
        )
    ]


def of_the_loss(subject: Subject) -> list[LeverRow]:
    """Returns the levers of the loss."""
    return [
        LeverRow(
            name="chunked loss",
            options={"chunked_loss": 8},
            family="loss",
            effect=Effect.NONE,
            note="the same numbers; logits exist for an eighth of the tokens at a time",
            code="# the head and the loss over hidden.chunk(8), each under checkpoint",
            cannot=training_alone(subject),
            promise=((_SAVED, 0.2), (_TEMPORARY, 0.7)),
        )
    ]


def of_the_input(subject: Subject) -> list[LeverRow]:
    """Returns the levers of the input."""
    length, task = subject.config.sequence_length, subject.task
    rows = []
    if length is not None:
        half = length // 2
        rows.append(
            LeverRow(
                name="half the sequence",
                options={"sequence_length": half},
                family="input",
                effect=Effect.LARGE,
                note="the model sees texts of half the length",
                code=f"sequence_length = {half}",
                cannot="" if half >= _LEAST_SEQUENCE else "the sequence is short already",
                changes_job=True,
                promise=((_SAVED, 0.5),),
            )
        )
    if task is not None and task.image is not None:
        height, width = task.image[0] // 2, task.image[1] // 2
        rows.append(
            LeverRow(
                name="half the image",
                options={"image": f"{height}x{width}"},
                family="input",
                effect=Effect.LARGE,
                note="the model sees images of a quarter of the pixels",
                code=f"height, width = {height}, {width}",
                is_last=True,
                changes_job=True,
                promise=((_SAVED, 0.7),),
            )
        )
    return rows
