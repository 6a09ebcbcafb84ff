"""What the CPU takes for one operator of a step: Python, autograd, dispatch and launch.

    python -m benchmarks.launch_overhead [--repeats 5]

On the emulated card kernels take no time, so that a step takes only the CPU time to launch them.
Each model is run with few and with many steps in processes of their own. Printed is the difference
of the fastest runs, divided by the steps and by the operators of a step. A real driver's part of a
launch, which the emulated one lacks, is not included: about 2 us
(https://developer.nvidia.com/blog/cuda-graphs).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from planner.config.step import StepConfig
from planner.config.target import Target, TargetKind
from planner.emulator.build import emulated_device
from planner.emulator.torch_install import find_torch
from planner.estimation.context import ProfileFactory
from planner.machine.this_host import this_core_speed
from planner.memory.budget import memory_budgets
from planner.process.client import Runner

MODELS = Path(__file__).resolve().parents[1] / "models"
FEW, MANY = 3, 23


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.launch_overhead", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs of each kind (5)")
    repeats = parser.parse_args().repeats
    torch = find_torch()
    cards = ProfileFactory(torch=torch, device=emulated_device(torch))
    (budget,) = memory_budgets(["a100"], hardware_db=None, gpu_memory=None, reserve=0)
    profile = cards.unlimited(budget)
    found = []
    for name in ("resnet50", "gpt2", "vit", "unet", "llama", "lstm"):
        target = Target(kind=TargetKind.FILE, location=str(MODELS / f"{name}.py"))
        with Runner(target, device=cards.device, profile=profile, timeout_s=600.0) as runner:
            runner.wait_loaded()
            config = StepConfig(batch_size=2)
            operators = sum(one.calls for one in runner.count(profile, config).operators)
            few, many = (
                min(_seconds(runner, profile, replace(config, steps=steps)) for _ in range(repeats))
                for steps in (FEW, MANY)
            )
        step_s = (many - few) / (MANY - FEW)
        found.append(step_s / operators)
        print(f"{name:10} {operators:5} operators {step_s * 1e3:7.2f} ms a step", end="")
        print(f" {found[-1] * 1e6:6.1f} us an operator", flush=True)
    print(f"median {median(found) * 1e6:.1f} us on a core of speed {this_core_speed():.2f}")
    return 0


def _seconds(runner: Runner, profile: str, config: StepConfig) -> float:
    started = time.perf_counter()
    runner.run(profile, config)
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main())
