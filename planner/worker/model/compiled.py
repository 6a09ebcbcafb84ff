"""Models that torch.compile has been called on: recognising them, and the names of their modules.

In: a model, or dotted names in it. Out: yes or no, and names as the user wrote them. Convention:
the compiler is never imported here; where nothing has imported it, nothing is compiled.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

_WRAPPER = "_orig_mod"  # attribute in which torch.compile keeps the module
EAGER_TIMES = (
    "the job is compiled (torch.compile): its memory is that of the compiled code, but operators "
    "are counted, and times computed, as in eager mode; where its cache on disk has no tuned "
    "kernels yet, step 1 tunes them, with a buffer as large as the card's L2 cache"
)


def original(model: nn.Module) -> nn.Module:
    """Returns the module that torch.compile was given; any other model itself."""
    found = getattr(model, _WRAPPER, model)
    return found if isinstance(found, nn.Module) else model


def has_compiled_parts(model: nn.Module) -> bool:
    """Returns whether the model, or a module in it, is compiled."""
    return any(
        _WRAPPER in module._modules or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
    )


def compiled_graphs() -> int:
    """Returns the number of graphs that the compiler has made in this process."""
    utilities = sys.modules.get("torch._dynamo.utils")
    return 0 if utilities is None else int(utilities.counters["stats"]["unique_graphs"])


def in_eager_mode(model: nn.Module) -> AbstractContextManager[object]:
    """Returns a context in which compiled parts of the model run in eager mode."""
    if not has_compiled_parts(model):
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


def plain_path(path: str) -> str:
    """Returns a dotted name without the wrappers of torch.compile."""
    if _WRAPPER not in path:
        return path
    return ".".join(part for part in path.split(".") if part != _WRAPPER)
