"""Trains each family of the catalog for a step on four emulated cards; decoders generate too.

In: models/catalog/*.yaml, and an environment with transformers and diffusers. Out: a line of
benchmarks/catalog_steps.csv for each family, task and card; exit 1 where one neither ran nor was
said not to fit. Convention: the smallest model of a family stands for it; what the file already
has is not run again.

    python -m benchmarks.catalog_steps
    python -m benchmarks.catalog_steps gpt2 whisper
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import planner
from planner.catalog.catalog import all_models
from planner.catalog.records import CatalogModel

CARDS = ("t4", "rtx4090", "a100", "h100")
RESULTS = Path(__file__).with_suffix(".csv")
TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One family on one card. `trouble` is empty where the step ran, or does not fit."""

    family: str
    model: str
    task: str
    card: str
    fits: str = ""
    peak_reserved_bytes: int = 0
    seconds: float = 0.0
    trouble: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the file lacks, and counts the troubles."""
    parser = argparse.ArgumentParser(prog="benchmarks.catalog_steps", description=__doc__)
    parser.add_argument("families", nargs="*", help="families; all without one")
    wanted = parser.parse_args(arguments).families
    lines = _read()
    known = {(line.family, line.task) for line in lines if not line.trouble}
    for model, task in _cases(wanted):
        if (model.family, task) in known:
            continue
        found = _run(model, task)
        lines = [line for line in lines if (line.family, line.task) != (model.family, task)]
        lines += found
        _write(lines)
        print(
            *(f"{line.family} {line.task} {line.card}: {_words(line)}" for line in found), sep="\n"
        )
    troubles = [line for line in lines if line.trouble]
    fitting = sum(line.fits == "yes" for line in lines)
    print(f"{len(lines)} lines, {fitting} fit, {len(troubles)} troubles")
    return 1 if troubles else 0


def _cases(wanted: Sequence[str]) -> Iterator[tuple[CatalogModel, str]]:
    smallest: dict[str, CatalogModel] = {}
    for model in sorted(all_models(), key=lambda one: one.parameters):
        smallest.setdefault(model.family, model)
    chosen = [model for family, model in sorted(smallest.items()) if not wanted or family in wanted]
    for model in chosen:
        yield model, "finetune"
    for model in chosen:
        if model.model_class.endswith(("ForCausalLM", "LMHeadModel")):
            yield model, "generate"


def _run(model: CatalogModel, task: str) -> list[Line]:
    started = time.perf_counter()
    blank = [Line(family=model.family, model=model.name, task=task, card=card) for card in CARDS]
    try:
        found = planner.estimate(
            model.target,
            gpu=list(CARDS),
            task=task,
            batch_size=1,
            steps=1 if task == "generate" else 2,
            max_batch=False,
            **({"mode": "infer", "new_tokens": 4} if task == "generate" else {}),
            **_lengths(model),
        )
    except planner.PlannerError as error:
        trouble = f"{type(error).__name__}: {error}"[:200]
        return [replace(line, trouble=trouble) for line in blank]
    seconds = round(time.perf_counter() - started, 1)
    return [
        replace(
            line,
            fits="yes" if card.fits else "no",
            peak_reserved_bytes=card.peak_reserved_bytes,
            seconds=seconds,
        )
        for line, card in zip(blank, found.gpus, strict=True)
    ]


def _lengths(model: CatalogModel) -> dict[str, int]:
    """Returns the length for a model of text; other models have their own."""
    text = model.model_class.endswith(("ForCausalLM", "LMHeadModel", "ForMaskedLM"))
    return {"sequence_length": TOKENS} if text else {}


def _words(line: Line) -> str:
    if line.trouble:
        return line.trouble
    size = f"{line.peak_reserved_bytes / 2**30:.2f} GiB in {line.seconds} s"
    return f"fits, {size}" if line.fits == "yes" else f"does not fit, {size}"


def _read() -> list[Line]:
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="", encoding="utf-8") as file:
        return [
            Line(
                family=row["family"],
                model=row["model"],
                task=row["task"],
                card=row["card"],
                fits=row["fits"],
                peak_reserved_bytes=int(row["peak_reserved_bytes"]),
                seconds=float(row["seconds"]),
                trouble=row["trouble"],
            )
            for row in csv.DictReader(file)
        ]


def _write(lines: Sequence[Line]) -> None:
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Line)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(line) for line in lines)


if __name__ == "__main__":
    sys.exit(main())
