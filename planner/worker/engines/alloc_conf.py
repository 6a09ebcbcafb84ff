"""The settings that PyTorch's caching allocator reads from the environment when it starts.

In: a setting, or None for the one of this process's start. Out: os.environ. Convention: torch
reads it once, when CUDA starts or the user's code queries a setting; only the backend is chosen
while torch is imported.
"""

from __future__ import annotations

import os

from planner.wire.variables import ALLOC_CONF, ALLOC_CONF_VARIABLES

_ANOTHER = "garbage_collection_threshold:0.987"  # nobody has this one
_STARTED_WITH = {name: os.environ[name] for name in ALLOC_CONF_VARIABLES if name in os.environ}


def choose(setting: str | None) -> None:
    """Makes `setting` the one that torch will read, and removes all others."""
    for name in ALLOC_CONF_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(_STARTED_WITH if setting is None else {ALLOC_CONF: setting})


def chosen() -> tuple[str, str] | None:
    """Returns the variable that torch reads, and its value; None if none is set."""
    return next(
        ((name, os.environ[name]) for name in ALLOC_CONF_VARIABLES if name in os.environ), None
    )


def is_still_read() -> bool:
    """Returns whether torch reads its setting only now; True if torch has no way to show it."""
    import torch

    settings = getattr(torch._C, "_accelerator_getAllocatorSettings", None)
    if settings is None:
        return True
    choose(_ANOTHER)
    return bool(settings() == _ANOTHER)
