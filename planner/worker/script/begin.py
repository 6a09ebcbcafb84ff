"""The two moments around a script's import of torch: the device before it, the hooks after it.

In: the text of the ScriptOrder. Out: a torch that sees the emulated card alone, and a run that is
watched. Called by inject/sitecustomize.py in each process of the command.
"""

from __future__ import annotations

import os
import random
import sys
from typing import Any

from planner.wire.script import order_of
from planner.worker.engines import emulation
from planner.worker.serve import compiler_folder

_SEED = 0
_COMPILED = "torchinductor_script"  # in the folder of the order: a name as torch's own


def before_torch(text: str) -> None:
    """Loads the emulated device and makes it the card of the order."""
    order = order_of(text)
    emulation.load_card(order.libraries, order.profile, order.driver_folder)
    compiler_folder.use(os.path.join(order.folder, _COMPILED))


def after_torch(text: str) -> None:
    """Starts the hooks; seeds the generators, so that each pass of the script draws alike."""
    from planner.worker.script.running import RunningScript

    seed_generators()
    RunningScript(order_of(text)).begin()


def seed_generators() -> None:
    """Seeds the generators of Python and NumPy; torch's own begins with a fixed seed."""
    random.seed(_SEED)
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(_SEED)
