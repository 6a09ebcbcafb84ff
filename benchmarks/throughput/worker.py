"""`python -m benchmarks.throughput.worker`: counts the operators of published steps.

In: on stdin a Case per line, JSON. Out: on stdout, as soon as it is there, a JSON line with the
name, and the operators of one step or the trouble. Runs in the environment of the measurements.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks.throughput.records import Case, case_of
from planner.config.parse import step_config
from planner.config.target import parse_target
from planner.emulator.build import emulated_device
from planner.emulator.torch_install import find_torch
from planner.errors import PlannerError
from planner.estimation.context import ProfileFactory
from planner.memory.budget import memory_budgets
from planner.process.client import Runner
from planner.results.inspection import operator_document

_TIMEOUT_S = 400.0


def main() -> int:
    """Reads the cases, counts their operators and writes them."""
    for line in sys.stdin:
        case = case_of(json.loads(line))
        print(json.dumps({"name": case.name, **_counted(case)}), flush=True)
    return 0


def _counted(case: Case) -> dict[str, Any]:
    try:
        return {"operators": _operators(case)}
    except (PlannerError, ImportError) as error:
        return {"trouble": (str(error).strip() or type(error).__name__).splitlines()[0][:200]}


def _operators(case: Case) -> list[dict[str, Any]]:
    torch = find_torch()
    cards = ProfileFactory(torch=torch, device=emulated_device(torch))
    (budget,) = memory_budgets([case.card], hardware_db=None, gpu_memory=None, reserve=0)
    options = {**dict(case.options), "batch_size": case.batch_size}
    if case.image_size is not None:
        options["inputs"] = f"3x{case.image_size}x{case.image_size}"
    profile = cards.unlimited(budget)
    with Runner(
        parse_target(case.model_file, case.arguments),
        device=cards.device,
        profile=profile,
        timeout_s=_TIMEOUT_S,
        environment=dict(case.variables),
    ) as runner:
        runner.wait_loaded()
        counted = runner.count(profile, step_config(options))
    return [dict(operator_document(one)) for one in counted.operators]


if __name__ == "__main__":
    sys.exit(main())
