"""What PyTorch's caching allocator reads of the environment when it starts.

In: a setting, or None for what this process was started with. Out: os.environ. Convention: torch
reads it once, when CUDA starts or the user's code asks for a setting; only the backend is chosen
while torch is imported.
"""

from __future__ import annotations

import os

from planner.wire.protocol import ALLOC_CONF, ALLOC_CONF_VARIABLES

_ANOTHER = "garbage_collection_threshold:0.987"  # nobody has this one
_STARTED_WITH = {name: os.environ[name] for name in ALLOC_CONF_VARIABLES if name in os.environ}


def choose(setting: str | None) -> None:
    """Makes `setting` the one that torch will read, whatever else the environment says."""
    for name in ALLOC_CONF_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(_STARTED_WITH if setting is None else {ALLOC_CONF: setting})


def chosen() -> tuple[str, str] | None:
    """Returns the variable that torch reads, and what it says; None where none is set."""
    return next(
        ((name, os.environ[name]) for name in ALLOC_CONF_VARIABLES if name in os.environ), None
    )


def is_still_read() -> bool:
    """Returns whether torch had not yet read its setting; it reads it now. True where it cannot tell."""
    import torch

    settings = getattr(torch._C, "_accelerator_getAllocatorSettings", None)
    if settings is None:
        return True
    choose(_ANOTHER)
    return bool(settings() == _ANOTHER)
