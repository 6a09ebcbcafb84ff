"""Reads rows of published step times as cases, and the step of each.

In: a row of a file in benchmarks/measurements. Out: its Case. Convention: a reader is a field of
its source; the file's own README names the source of a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from benchmarks.record import h100_training
from benchmarks.record.records import Row, Step
from benchmarks.record.rows import MEASUREMENTS, rows
from benchmarks.throughput.records import Case, Source, Use
from planner.config.target import Scalar

_TIMM_TRAIN = "benchmarks/accuracy/cases/timm_train.py"
_TIMM_INFER = "benchmarks/accuracy/cases/timm_infer.py"
_OWN = "benchmarks/throughput/models.py"
_OF_CARDS = "benchmarks/throughput/card_models.py"
# A row with "tf32=never", without TF32 even in convolutions, would need a rule of its own.
_TF32 = {"tf32=yes": True, "tf32=no": False}
HELD_OUT = Path(__file__).with_name("held_out.txt")


def timm_training(*, channels_last: bool) -> Callable[[Source, Row], Iterator[Case]]:
    """Returns the reader of steps of timm 0.6 with torch 1.12: attention is written out."""

    def read(source: Source, row: Row) -> Iterator[Case]:
        yield _timm(
            source,
            row,
            "train",
            Step(
                model=row["model"],
                card="rtx3090",
                batch_size=int(row["train_batch_size"]),
                model_file=_TIMM_TRAIN,
                arguments=(("name", row["model"]),),
                options=(("channels_last", channels_last),),
                variables=(("TIMM_FUSED_ATTN", "0"),),
                image_size=int(row["train_img_size"]),
            ),
        )

    return read


# torch 2.4 computes attention that no fused kernel takes (here: of five dimensions) in the dtype of
# its operands; from 2.5 on in float32 (https://github.com/pytorch/pytorch/pull/135964).
_WRITTEN_OUT_ATTENTION = ("nest_",)
_OTHER_ATTENTION = "attention in half precision in torch 2.4, in float32 in the torch that counts"


def timm_inference(card: str, *, fused: bool) -> Callable[[Source, Row], Iterator[Case]]:
    """Returns the reader of inference; `fused`: with fused parts, as parameter counts show.

    Without them it was torch 2.4.
    """

    def read(source: Source, row: Row) -> Iterator[Case]:
        arguments = () if fused else (("fused", False),)
        found = _timm(source, row, "infer", _inference(row, card, *arguments))
        is_other = not fused and row["model"].startswith(_WRITTEN_OUT_ATTENTION)
        yield replace(found, use=Use.DOUBTFUL, doubt=_OTHER_ATTENTION) if is_other else found

    return read


def timm_compiled(source: Source, row: Row) -> Iterator[Case]:
    """Yields inference of a network that torch.compile has compiled (torch 2.9.1)."""
    step = _inference(row, row["card"], ("compiled", True))
    found = _timm(source, row, "infer", step)
    yield replace(found, name=f"{found.name}-{row['card']}")


def _inference(row: Row, card: str, *arguments: tuple[str, Scalar]) -> Step:
    """Returns a step of timm's inference; `arguments` of build_model beside the name."""
    return Step(
        model=row["model"],
        card=card,
        batch_size=int(row["infer_batch_size"]),
        model_file=_TIMM_INFER,
        arguments=(("name", row["model"]), *arguments),
        options=(("mode", "infer"),),
        image_size=int(row["infer_img_size"]),
    )


def h100(source: Source, row: Row) -> Iterator[Case]:
    """Yields the time of a run of which measurements/h100_peaks.csv has the peaks."""
    step_ms = _h100_steps_ms()[h100_training.published_name(row)]
    yield Case(
        source=source.name,
        name=f"{source.name}-{row['case']}",
        step=h100_training.training_step(row),
        measured_s=step_ms / 1e3,
    )


def own_network(source: Source, row: Row) -> Iterator[Case]:
    """Yields a network of models.py, with every setting in a column of its own."""
    options: list[tuple[str, Scalar]] = [
        ("mode", row["mode"]),
        ("precision", row["precision"]),
        ("channels_last", row["channels_last"] == "yes"),
    ]
    if row["mode"] == "train":
        options.append(("optimizer", row["optimizer"]))
    yield Case(
        source=source.name,
        name=f"{source.name}-{row['case']}",
        step=Step(
            model=row["model"],
            card=row["card"],
            batch_size=int(row["batch_size"]),
            model_file=f"{_OWN}:{row['model']}",
            options=tuple(options),
        ),
        measured_s=float(row["step_s"]),
        tf32=row["tf32"] == "yes",
    )


def of_cards(kind: str) -> Callable[[Source, Row], Iterator[Case]]:
    """Returns the reader of the rows of one kind in step_time_cards.csv."""

    def read(source: Source, row: Row) -> Iterator[Case]:
        if row["kind"] == kind:
            yield _of_a_card(source, row)

    return read


def _of_a_card(source: Source, row: Row) -> Case:
    options: list[tuple[str, Scalar]] = [
        ("mode", row["mode"]),
        ("precision", row["precision"]),
        ("channels_last", row["channels_last"] == "yes"),
    ]
    if row["mode"] == "train":
        options.append(("optimizer", row["optimizer"]))
    use, doubt = _use_of(row["usable"])
    return Case(
        source=source.name,
        name=row["case"],
        step=Step(
            model=row["network"],
            card=row["card"],
            batch_size=int(row["batch"]),
            model_file=_OF_CARDS,
            arguments=(("network", row["network"]),),
            options=tuple(options),
        ),
        measured_s=float(row["measured_s"]),
        tf32=_TF32[row["arguments"]],
        copied_bytes=_copied_bytes(row),
        use=use,
        doubt=doubt,
    )


def _use_of(usable: str) -> tuple[Use, str]:
    """Returns what a row is good for, and why it is doubtful."""
    word, _, reason = usable.partition(": ")
    if word == "doubtful":
        return Use.DOUBTFUL, reason
    uses = {"yes": Use.CLEAN, "yes, launch- and copy-bound": Use.LAUNCH_BOUND}
    return uses[usable], ""


def _copied_bytes(row: Row) -> int:
    """Returns the bytes of the images that each step copies, where the notes say so."""
    if "holds the pageable copy" not in row["notes"]:
        return 0
    return int(row["batch"]) * 3 * 224 * 224 * (2 if row["precision"] == "fp16" else 4)


def _timm(source: Source, row: Row, mode: str, step: Step) -> Case:
    return Case(
        source=source.name,
        name=f"{source.name}-{step.model}-{step.image_size}",
        step=step,
        measured_s=float(row[f"{mode}_step_time"]) / 1e3,
    )


@cache
def _h100_steps_ms() -> dict[str, float]:
    file = MEASUREMENTS / "h100_training_step_time.csv"
    return {row["case_id"]: float(row["value"]) for row in rows(file)}
