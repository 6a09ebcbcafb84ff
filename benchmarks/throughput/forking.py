"""`python -m benchmarks.throughput.forking`: counts steps in forks of one process.

In: a JSON line for each step on stdin, and the file for its counts. Out: there the counts, or the
trouble; a line on stdout when it is written. Convention: torch and the libraries of models are
imported once, after the emulated device, as in a child of planner that has loaded such a model.
A step that reads values of the card, or that the fork cannot count, gets a child of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.record.emulated import (
    TROUBLES,
    card_budget,
    config_of,
    first_line,
    target_of,
)
from benchmarks.record.records import Step, step_of
from benchmarks.throughput import operators
from planner.emulator.build import EmulatedDevice, emulated_device
from planner.emulator.torch_install import TorchInstall, find_torch
from planner.estimation.context import ProfileFactory
from planner.wire.jobs import CountJob, NeedsValues
from planner.wire.module_counts import ModelCounts
from planner.wire.protocol import Engine

# Those that the model files of the published steps import, and what these import in their turn.
_LIBRARIES = (
    "timm", "timm.utils", "torchvision.models", "torchvision.models.detection", "transformers",
    "transformers.models.bert.modeling_bert", "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.llama.modeling_llama", "transformers.models.t5.modeling_t5",
    # planner's own, which a child imports when it counts
    "planner.worker.serve.session", "planner.worker.count.inspection",
    "planner.worker.ranks.host_shards",
)  # fmt: skip
_TIMEOUT_S = 1800
_NEEDS_VALUES = 75  # exit code of a fork whose step reads values


def main() -> int:
    """Imports what models need, then counts each step of stdin in a fork."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what models print
    torch = find_torch()
    cards = ProfileFactory(torch=torch, device=emulated_device(torch))
    _import_libraries(torch, cards.device)
    for line in sys.stdin:
        asked = json.loads(line)
        path = Path(asked["path"])
        _count(step_of(asked["step"]), cards, path)
        print(json.dumps({"written": path.name}), file=answers, flush=True)
    return 0


def _import_libraries(torch: TorchInstall, device: EmulatedDevice) -> None:
    """Does what planner's child does before it imports a target, then imports the libraries."""
    from planner.worker.engines import alloc_conf, emulation

    emulation.load([str(path) for path in device.libraries])
    os.environ["TRITON_LIBCUDA_PATH"] = str(device.driver_folder)
    alloc_conf.choose(None)
    import torch as imported

    from planner.worker.model.compiler import defer_compiler
    from planner.worker.serve import torch_hooks

    imported.set_num_threads(1)  # a fork hangs in OpenMP's threads if its parent had started any
    torch_hooks.install()
    defer_compiler()
    for name in _LIBRARIES:
        with suppress(ImportError):  # a model that needs it says so
            importlib.import_module(name)
    emulation.preload_cudnn()


def _count(step: Step, cards: ProfileFactory, path: Path) -> None:
    """Writes the counts of a step, or the trouble."""
    process = os.fork()
    if process == 0:
        _fork(step, cards, path)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code == 0:
        return
    if code != _NEEDS_VALUES:
        print(f"a fork ended with {code}: {step.model} in a process of its own", file=sys.stderr)
    operators.write(path, operators.counts_or_trouble(step))


def _fork(step: Step, cards: ProfileFactory, path: Path) -> NoReturn:
    """Counts a step in this process, and ends it."""
    code = 1
    try:
        signal.alarm(_TIMEOUT_S)
        try:
            operators.write(path, _counts(step, cards))
        except TROUBLES as error:
            operators.write(path, first_line(error))
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _counts(step: Step, cards: ProfileFactory) -> ModelCounts:
    from planner.worker.engines import emulation
    from planner.worker.serve.session import Worker

    profile = cards.unlimited(card_budget(step.card))
    emulation.configure(profile)
    worker = Worker(target_of(step), Engine.EMULATED)
    job = CountJob(profile=profile, config=config_of(step), depth=0)
    found = worker.answer(job, _with_values)
    assert isinstance(found, ModelCounts), "the answer of a CountJob"
    return found


def _with_values(_: NeedsValues) -> NoReturn:
    os._exit(_NEEDS_VALUES)


def asked(step: dict[str, Any], path: Path) -> str:
    """Returns the line that asks for the counts of a step."""
    return json.dumps({"step": step, "path": str(path)})


if __name__ == "__main__":
    sys.exit(main())
