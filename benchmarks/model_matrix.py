"""Every model in models/ on several cards, in every precision, training and inference.

    python -m benchmarks.model_matrix [--cards t4,rtx3090,a100-40gb,h100] [--batch 4]
                                      [--models mlp,llama:llama_1b] [--csv FILE] [--no-search]
                                      [--precisions fp32,amp-bf16] [--modes train,infer]

One row per case: does the batch fit, the peaks, the largest batch and how it was found, how many
runs that took, and the largest batch again: by doubling and bisection alone, and by trying some
batches below, each in a fresh process that runs to its end or raises torch.OutOfMemoryError.
Exit code 1 when a case fails for another reason than memory, or the two largest batches differ.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from planner.config.step import Mode, Precision, StepConfig
from planner.config.target import parse_target
from planner.emulator.build import emulated_device
from planner.emulator.torch_install import find_torch
from planner.errors import PlannerError
from planner.estimation.alloc_conf import allocator_plan
from planner.estimation.context import ProfileFactory, RunContext
from planner.estimation.device_memory import DeviceMemorySearch
from planner.memory.budget import MemoryBudget, memory_budgets
from planner.memory.forecast import below
from planner.process.client import Runner
from planner.wire.trace import RunOutcome

MODELS = Path(__file__).resolve().parent.parent / "models"
CARDS = "t4,rtx3090,a100-40gb,h100"
FIELDS = (
    "model", "card", "precision", "mode", "batch_size", "outcome", "peak_allocated_bytes",
    "peak_reserved_bytes", "max_batch_size", "method", "runs", "seconds", "bisected", "agree",
)  # fmt: skip
Row = dict[str, object]


def main() -> int:
    """Prints the table; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cards", default=CARDS)
    parser.add_argument("--models", default=",".join(sorted(p.stem for p in MODELS.glob("*.py"))))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--no-search", action="store_true")
    parser.add_argument(
        "--precisions",
        default=",".join(kind.value for kind in Precision if kind is not Precision.AS_BUILT),
    )
    parser.add_argument("--modes", default=",".join(kind.value for kind in Mode))
    arguments = parser.parse_args()
    budgets = memory_budgets(
        arguments.cards.split(","), hardware_db=None, gpu_memory=None, reserve=0
    )
    rows: list[Row] = []
    print(*FIELDS, sep="\t")
    for model in arguments.models.split(","):
        steps = [
            StepConfig(batch_size=arguments.batch, precision=Precision(precision), mode=Mode(mode))
            for precision in arguments.precisions.split(",")
            for mode in arguments.modes.split(",")
        ]
        for row in model_rows(model, budgets, steps, not arguments.no_search):
            rows.append(row)
            print(*row.values(), sep="\t", flush=True)
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(rows)
    bad = [row for row in rows if row["outcome"] == "error" or row["agree"] is False]
    print(f"{len(rows)} cases, {len(bad)} bad", file=sys.stderr)
    return 1 if bad else 0


def model_rows(
    model: str, budgets: tuple[MemoryBudget, ...], steps: Sequence[StepConfig], search: bool
) -> Iterator[Row]:
    """Yields the cases of one model; one child serves them all."""
    file, _, name = model.partition(":")
    target = parse_target(f"{MODELS / file}.py" + (f":{name}" if name else ""))
    torch = find_torch()
    cards = ProfileFactory(torch=torch, device=emulated_device(torch))
    with Runner(
        target, device=cards.device, profile=cards.unlimited(budgets[0]), timeout_s=600
    ) as runner:
        runner.wait_loaded()
        for config, budget in itertools.product(steps, budgets):
            runs: list[str] = []
            setup = RunContext(
                config=config,
                plan=allocator_plan((), torch.version),
                runner=runner,
                cards=cards,
                progress=runs.append,
            )
            run = DeviceMemorySearch(setup=setup, budget=budget)
            row: Row = dict.fromkeys(FIELDS, "")
            row.update(model=model, card=budget.requested, precision=config.precision_name)
            row.update(mode=config.mode.value, batch_size=config.batch_size)
            started = time.perf_counter()
            row.update(case(run, search))
            row["seconds"] = round(time.perf_counter() - started, 2)
            row["runs"] = len(runs)
            if isinstance(row["max_batch_size"], int):
                row["bisected"] = bisected(run)
                row["agree"] = row["bisected"] == row["max_batch_size"]
            yield row


def case(run: DeviceMemorySearch, search: bool) -> Row:
    """Returns planner's answer for one card, precision and mode."""
    try:
        answer = run.answer(search)
    except PlannerError as error:
        message = str(error).splitlines()[0]
        return {"outcome": "error", "method": message, "max_batch_size": ""}
    batch = answer.batch
    return {
        "outcome": "fits" if answer.fits else "does not fit",
        "peak_allocated_bytes": answer.trace.peak_allocated_bytes,
        "peak_reserved_bytes": answer.trace.peak_reserved_bytes,
        "max_batch_size": "" if batch is None else batch.capacity.largest,
        "method": "" if batch is None else batch.method.value,
    }


def bisected(run: DeviceMemorySearch) -> int:
    """Finds the largest batch by runs on the full card: doubles until one fails, then bisects."""

    @cache
    def fits(batch_size: int) -> bool:
        setup = run.setup
        config = replace(setup.config, batch_size=batch_size)
        trace = setup.runner.run(setup.cards.limited(run.budget), config)
        # Batch norm refuses a batch of 1, which says nothing about larger ones.
        assert trace.outcome is not RunOutcome.MODEL_ERROR or batch_size == 1, trace.failure
        return trace.outcome is RunOutcome.COMPLETED or trace.outcome is RunOutcome.MODEL_ERROR

    def bisect(low: int, high: int) -> int:
        while high - low > 1:
            middle = (low + high) // 2
            if fits(middle):
                low = middle
            else:
                high = middle
        return low

    low, high = 0, 1
    while fits(high):
        low, high = high, 2 * high
    answer = bisect(low, high)
    # Reserved memory is not monotone: batches below the answer must fit as well.
    while pits := [value for value in below(answer) if value > 0 and not fits(value)]:
        answer = bisect(0, min(pits))
    return answer


if __name__ == "__main__":
    sys.exit(main())
