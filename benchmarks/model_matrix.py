"""Every model in models/ on several cards, in every precision, training and inference.

    python -m benchmarks.model_matrix [--cards t4,rtx3090,a100-40gb,h100] [--batch 4]
                                      [--models mlp,llama:llama_1b] [--csv FILE] [--no-search]

One row per case: does the batch fit, the peaks, the largest batch, and whether the largest batch
really runs and the next one really raises torch.OutOfMemoryError, each in a fresh process.
Exit code 1 when a case fails for another reason than memory, or a largest batch is not confirmed.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from planner.card_run import CardRun, Cards
from planner.device.build import emulated_device
from planner.device.runner import Runner
from planner.device.torch_install import find_torch
from planner.errors import PlannerError
from planner.memory.budget import MemoryBudget, memory_budgets
from planner.trace import Outcome
from planner.workload import Mode, Precision, StepConfig, parse_target

MODELS = Path(__file__).resolve().parent.parent / "models"
CARDS = "t4,rtx3090,a100-40gb,h100"
FIELDS = (
    "model", "card", "precision", "mode", "batch_size", "outcome", "peak_allocated_bytes",
    "peak_reserved_bytes", "max_batch_size", "confirmed", "seconds",
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
    arguments = parser.parse_args()
    budgets = memory_budgets(
        arguments.cards.split(","), hardware_db=None, gpu_memory=None, reserve=0
    )
    rows: list[Row] = []
    print(*FIELDS, sep="\t")
    for model in arguments.models.split(","):
        for row in model_rows(model, budgets, arguments.batch, not arguments.no_search):
            rows.append(row)
            print(*row.values(), sep="\t", flush=True)
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(rows)
    bad = [row for row in rows if row["outcome"] == "error" or row["confirmed"] is False]
    print(f"{len(rows)} cases, {len(bad)} bad", file=sys.stderr)
    return 1 if bad else 0


def model_rows(
    model: str, budgets: tuple[MemoryBudget, ...], batch_size: int, search: bool
) -> Iterator[Row]:
    """The cases of one model, all served by one child."""
    file, _, name = model.partition(":")
    target = parse_target(f"{MODELS / file}.py" + (f":{name}" if name else ""))
    torch = find_torch()
    cards = Cards(torch=torch, device=emulated_device(torch))
    with Runner(
        target, device=cards.device, profile=cards.unlimited(budgets[0]), timeout_s=600
    ) as runner:
        runner.wait_loaded()
        for precision, mode, budget in itertools.product(Precision, Mode, budgets):
            config = StepConfig(batch_size=batch_size, precision=precision, mode=mode)
            run = CardRun(
                budget=budget, config=config, runner=runner, cards=cards, progress=lambda _: None
            )
            started = time.perf_counter()
            row: Row = dict.fromkeys(FIELDS, "")
            row.update(model=model, card=budget.requested, precision=precision.value)
            row.update(mode=mode.value, batch_size=batch_size)
            row.update(case(run, search))
            row["seconds"] = round(time.perf_counter() - started, 2)
            yield row


def case(run: CardRun, search: bool) -> Row:
    """One card, precision and mode: the answer, confirmed by two more runs."""
    try:
        answer = run.answer(search)
    except PlannerError as error:
        message = str(error).splitlines()[0]
        return {"outcome": "error", "max_batch_size": message, "confirmed": False}
    largest = answer.capacity.max_batch_size if answer.capacity else None
    return {
        "outcome": "fits" if answer.fits else "does not fit",
        "peak_allocated_bytes": answer.trace.peak_allocated_bytes,
        "peak_reserved_bytes": answer.trace.peak_reserved_bytes,
        "max_batch_size": "" if largest is None else largest,
        "confirmed": "" if largest is None else confirmed(run, largest),
    }


def confirmed(run: CardRun, largest: int) -> bool:
    """Whether `largest` runs on the full card and the next batch runs out of memory."""

    def outcome(batch_size: int) -> Outcome:
        config = replace(run.config, batch_size=batch_size)
        return run.runner.run(run.cards.limited(run.budget), config).outcome

    below = largest == 0 or outcome(largest) is Outcome.COMPLETED
    return below and outcome(largest + 1) is Outcome.OUT_OF_MEMORY


if __name__ == "__main__":
    sys.exit(main())
