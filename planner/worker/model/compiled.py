"""Models that torch.compile has been called on, by the user or on request; names of their modules.

In: a model, or dotted names in it. Out: yes or no, a compiled model, names as the user wrote them.
Convention: the compiler is imported only where something is compiled, or was asked not to be.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from planner.config.step import CompileMode, StepConfig
from planner.errors import TargetError, UsageError

_WRAPPER = "_orig_mod"  # attribute in which torch.compile keeps the module
_TUNES = (
    "step 1 tunes its kernels, as where none were compiled before, with a buffer as large as the "
    "card's L2 cache"
)
_COMPILED = (
    "the job is compiled (torch.compile): memory and times are those of the compiled code"
    f"; {_TUNES}"
)
_COMPILED_RANK = (
    "the job is compiled (torch.compile): its memory is that of the compiled code, but operators "
    f"of a rank are counted, and times computed, as in eager mode; {_TUNES}"
)

CUDA_GRAPHS = (
    "CUDA graphs: their pools are those of PyTorch's allocator; what the driver itself takes "
    "for graphs is not included"
)
CHOSEN = (
    "kernels of products were chosen by how long each takes (max-autotune), which an emulated card "
    "does not tell: which of them won is chance, and another may take other memory; times are "
    "those of cuBLAS and cuDNN"
)
NOT_COMPILED = (
    "the job is compiled (torch.compile), but this run could compile nothing of it: its memory is "
    "that of eager code"
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


def has_compiled_times(config: StepConfig) -> bool:
    """Returns whether the times of compiled steps are those of the compiled code."""
    return config.parallel is None


def words(config: StepConfig | None = None) -> str:
    """Says what compiled code means for the figures; None: a script's."""
    return _COMPILED if config is None or has_compiled_times(config) else _COMPILED_RANK


def compiled_graphs() -> int:
    """Returns the number of graphs that the compiler has made in this process."""
    utilities = sys.modules.get("torch._dynamo.utils")
    return 0 if utilities is None else int(utilities.counters["stats"]["unique_graphs"])


def has_chosen_kernels() -> bool:
    """Returns whether the compiler has chosen kernels of this process by their times."""
    utilities = sys.modules.get("torch._dynamo.utils")
    return utilities is not None and bool(
        utilities.counters["inductor"]["select_algorithm_autotune"]
    )


def has_cuda_graphs(device: torch.device) -> bool:
    """Returns whether compiled code of this process has made CUDA graphs on the device."""
    trees: Any = sys.modules.get("torch._inductor.cudagraph_trees")
    if trees is None or device.type != "cuda":
        return False
    return trees.get_manager(device.index or 0, create_if_none_exists=False) is not None


def check(config: StepConfig, device: torch.device, *, is_real: bool) -> None:
    """Refuses to compile a step that cannot be compiled on request; `is_real`: on a real card.

    Raises:
        UsageError: names both options, and what to do.
    """
    if not config.compiles or config.compile is None:
        return
    asked = f"the model was to be compiled (--compile {config.compile.value})"
    if device.type != "cuda":
        raise UsageError(f"{asked}, and the step runs on the CPU: leave one of the two out")
    if config.compile is CompileMode.MAX_AUTOTUNE and not is_real:
        raise UsageError(
            f"{asked}, which chooses kernels by how long each takes on the card, and an emulated "
            "card has no such times: plan with --compile reduce-overhead; planner verify on the "
            "card itself takes it"
        )


def compiled_in_place(model: nn.Module, mode: CompileMode) -> nn.Module:
    """Returns the model of which each call is compiled; its class stays."""
    plain = original(model)
    plain.compile(mode=mode.value)
    return plain


def compiled_wrapper(model: nn.Module, mode: CompileMode) -> nn.Module:
    """Returns the model in the wrapper of torch.compile, as Lightning takes it."""
    wrapper: Any = torch.compile(original(model), mode=mode.value)
    assert isinstance(wrapper, nn.Module), "a module stays one"
    return wrapper


def is_compiled(config: StepConfig, model: nn.Module) -> bool:
    """Returns whether steps of the model run compiled code, by request or by its file."""
    if config.compile is CompileMode.OFF:
        return False
    return config.compiles or has_compiled_parts(model)


def check_used(config: StepConfig, graphs: int) -> None:
    """Refuses a step that has compiled nothing; `graphs` is their number before it.

    Raises:
        TargetError: says what to write.
    """
    if config.compile is None or not config.compiles or compiled_graphs() > graphs:
        return
    raise TargetError(
        f"the model was to be compiled (--compile {config.compile.value}), and the step has "
        "compiled nothing: it has to call the model as model(...), or torch.compile has to be used "
        "in the model file"
    )


def eager_if_asked(config: StepConfig) -> AbstractContextManager[object]:
    """Returns a context in which nothing is compiled, where that was asked for."""
    return _eager() if config.compile is CompileMode.OFF else nullcontext()


def in_eager_mode(model: nn.Module) -> AbstractContextManager[object]:
    """Returns a context in which compiled parts of the model run in eager mode."""
    return _eager() if has_compiled_parts(model) else nullcontext()


def _eager() -> AbstractContextManager[object]:
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


def plain_path(path: str) -> str:
    """Returns a dotted name without the wrappers of torch.compile."""
    if _WRAPPER not in path:
        return path
    return ".".join(part for part in path.split(".") if part != _WRAPPER)
