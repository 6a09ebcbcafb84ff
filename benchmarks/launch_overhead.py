"""What the CPU takes to issue the calls of a step: Python, autograd, dispatch and launch.

    python -m benchmarks.launch_overhead [--repeats 30] [--fit]

On the emulated card kernels take no time, so that a step takes only the CPU time to issue them.
Each model runs in a process of its own; for each phase the least CPU time of the repeats counts,
because other processes can only slow it down. Costs of an operator and of a view, by phase, are
the non-negative least squares over the models, as shares of their times. `--fit` writes them to
planner/timing/issue.json, for the reference core. Models with convolutions are left out: there the
emulated card asks cuDNN for its engines, which a real one does once; what convolutions take more
is fitted on published steps (benchmarks.throughput). The same models compiled by torch.compile give
the cost of a call in compiled code, forward and backward together. The real driver's part of a
launch, which the emulated one lacks, is about 2 us (https://developer.nvidia.com/blog/cuda-graphs).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from planner.machine.this_host import this_core_speed
from planner.timing.issue import FILE
from planner.wire.trace import Phase

MODELS = Path(__file__).resolve().parents[1] / "models"
COMPILED = ("gpt2", "vit", "bert", "mlp", "t5")
NAMES = ("gpt2", "vit", "bert", "lstm", "mlp", "t5")
DRIVER_US = 2.0
_WARM = 3
_PHASES = (Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER_STEP)


def main() -> int:
    """Measures, prints, and writes the figures if asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.launch_overhead", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--repeats", type=int, default=30, help="steps of each model (30)")
    parser.add_argument("--fit", action="store_true", help="write planner/timing/issue.json")
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.model:
        print(json.dumps(_measured(options.model, options.repeats, compiled=options.compiled)))
        return 0
    core = this_core_speed()
    found = {name: _in_child(name, options.repeats) for name in NAMES}
    compiled = {name: _in_child(name, options.repeats, "--compiled") for name in COMPILED}
    rows = [*found.items(), *((f"{name} compiled", one) for name, one in compiled.items())]
    for name, phases in rows:
        cells = (
            f"{phase} {one['us'] / 1e3:.2f} ms, {one['operators']} operators, {one['views']} views"
            for phase, one in phases.items()
        )
        print(f"{name:13} {'; '.join(cells)}")
    measured = {**_costs(found), "compiled_us": _compiled_us(compiled)}
    costs = {name: round(core * value, 2) for name, value in measured.items()}
    print(f"on the reference core (this one has {core:.2f} of its speed): {costs}")
    if options.fit:
        basis = f"benchmarks.launch_overhead on a core of speed {core:.2f}"
        known = json.loads(FILE.read_text(encoding="utf-8"))["costs"]  # those of convolutions stay
        document = {"costs": {**known, **costs, "launch_us": DRIVER_US}, "basis": basis}
        FILE.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def _in_child(name: str, repeats: int, *options: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.launch_overhead", "--model", name, *options]
    done = subprocess.run(
        [*command, "--repeats", str(repeats)], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def _measured(name: str, repeats: int, *, compiled: bool) -> dict[str, dict[str, float]]:
    """Returns by phase the CPU time of a step in microseconds, and its calls."""
    _load_device()
    import torch

    torch.set_num_threads(1)
    from planner.worker.count.module_path import ModulePath
    from planner.worker.count.observer import OperatorObserver
    from planner.worker.engines import emulation

    file = _module(name)
    card = torch.device("cuda")
    model = file.build_model().to(card)
    if compiled:
        model.compile()
    batch = _moved(file.build_batch(2), card)
    optimizer = torch.optim.AdamW(model.parameters())

    def step(begin: Any) -> None:
        begin(Phase.FORWARD)
        loss = _loss(file, model, batch)
        begin(Phase.BACKWARD)
        loss.backward()
        begin(Phase.OPTIMIZER_STEP)
        optimizer.step()
        begin(None)
        optimizer.zero_grad()

    least_s = dict.fromkeys(_PHASES, float("inf"))
    for number in range(_WARM + repeats):
        clock = _Clock()
        step(clock)
        if number >= _WARM:
            for phase in _PHASES:
                least_s[phase] = min(least_s[phase], clock.spent_s[phase])
    observer = OperatorObserver(ModulePath(torch.nn.Module()), emulation.launches)
    with observer.watching():
        step(lambda phase: setattr(observer, "phase", phase))
    found = observer.recorded(card)
    calls = dict.fromkeys(_PHASES, 0)
    views, tensors = dict.fromkeys(_PHASES, 0), 0
    for record in found.operators:
        calls[record.phase] += record.calls
        if record.phase is Phase.OPTIMIZER_STEP:
            tensors += record.calls * sum(one.number for one in record.inputs)
    for place, number in zip(found.order.operators, found.order.views, strict=True):
        views[found.operators[place].phase] += number
    views[Phase.OPTIMIZER_STEP] = tensors
    return {
        phase.value: {"us": least_s[phase] * 1e6, "operators": calls[phase], "views": views[phase]}
        for phase in _PHASES
    }


class _Clock:
    """CPU time of all threads of this process, by phase."""

    def __init__(self) -> None:
        self.spent_s: dict[Phase | None, float] = {}
        self._phase: Phase | None = None
        self._since_s = time.process_time()

    def __call__(self, phase: Phase | None) -> None:
        now_s = time.process_time()
        spent_s = self.spent_s.get(self._phase, 0.0)
        self.spent_s[self._phase] = spent_s + now_s - self._since_s
        self._phase, self._since_s = phase, time.process_time()


def _load_device() -> None:
    """Makes the emulated card the device of this process."""
    from planner.emulator.build import emulated_device
    from planner.emulator.torch_install import find_torch
    from planner.estimation.context import ProfileFactory
    from planner.memory.budget import memory_budgets
    from planner.worker.engines import emulation

    install = find_torch()
    device = emulated_device(install)
    (budget,) = memory_budgets(["a100"], hardware_db=None, gpu_memory=None, reserve=0)
    emulation.load([str(one) for one in device.libraries])
    os.environ["TRITON_LIBCUDA_PATH"] = str(device.driver_folder)
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    emulation.configure(ProfileFactory(torch=install, device=device).unlimited(budget))


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, MODELS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _moved(batch: Any, card: Any) -> Any:
    if isinstance(batch, tuple | list):
        return type(batch)(_moved(one, card) for one in batch)
    if isinstance(batch, dict):
        return {name: _moved(one, card) for name, one in batch.items()}
    return batch.to(card)


def _loss(file: ModuleType, model: Any, batch: Any) -> Any:
    """Returns the file's own loss, else the mean of the first output."""
    if hasattr(file, "training_step"):
        return file.training_step(model, batch)
    found = model(batch[0] if isinstance(batch, tuple | list) else batch)
    while isinstance(found, tuple | list):
        found = found[0]
    return found.float().mean()


def _costs(found: dict[str, Any]) -> dict[str, float]:
    """Returns microseconds of an operator and of a view on this core, by phase."""
    names = {
        Phase.FORWARD: ("forward_us", "forward_view_us"),
        Phase.BACKWARD: ("backward_us", "backward_view_us"),
        Phase.OPTIMIZER_STEP: ("optimizer_us", "tensor_us"),
    }
    costs = {}
    for phase, (operator, view) in names.items():
        rows = [one[phase.value] for one in found.values()]
        points = [(one["operators"] / one["us"], one["views"] / one["us"]) for one in rows]
        costs[operator], costs[view] = _least_squares(points)
    return costs


def _compiled_us(found: dict[str, Any]) -> float:
    """Returns microseconds of a call in compiled code on this core."""
    phases = [
        one[phase.value] for one in found.values() for phase in (Phase.FORWARD, Phase.BACKWARD)
    ]
    points = [(one["operators"] / one["us"], 0.0) for one in phases]
    return sum(a for a, _ in points) / sum(a * a for a, _ in points)


def _least_squares(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Returns x, y >= 0 for which a x + b y is nearest to 1 over all (a, b)."""
    aa = sum(a * a for a, _ in points)
    bb = sum(b * b for _, b in points)
    ab = sum(a * b for a, b in points)
    sum_a, sum_b = sum(a for a, _ in points), sum(b for _, b in points)
    determinant = aa * bb - ab * ab
    both = (
        (sum_a * bb - sum_b * ab) / determinant,
        (sum_b * aa - sum_a * ab) / determinant,
    )
    if min(both) >= 0:
        return both
    alone = ((sum_a / aa, 0.0), (0.0, sum_b / bb))

    def error(one: tuple[float, float]) -> float:
        return sum((a * one[0] + b * one[1] - 1) ** 2 for a, b in points)

    return min(alone, key=error)


if __name__ == "__main__":
    raise SystemExit(main())
