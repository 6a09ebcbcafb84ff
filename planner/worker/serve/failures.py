"""Classes of failures of a run: memory, the card, or the user's code.

In: the exception that ended it. Out: yes or no. Convention: the exception's class decides, if
PyTorch has one. Otherwise the exact text from PyTorch's own source decides, never a word that other
messages may contain.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

import torch

from planner.worker.target.frames import text_of

# c10/core/impl/alloc_cpu.cpp: malloc has returned nothing.
_NO_HOST_MEMORY = "DefaultCPUAllocator: can't allocate memory"
# The text of std::bad_alloc from oneDNN or MKL, which torch passes on as RuntimeError.
_BAD_ALLOC = ("std::bad_alloc", "bad allocation")
# c10/cuda/CUDAException.cpp, ATen/cuda/Exceptions.h, ATen/cudnn/Exceptions.h: how they begin.
_CUDA_MEMORY_ALLOCATION = 2  # cudaErrorMemoryAllocation: modules, graphs and streams ask for some
_CUDA_ERRORS = ("CUDA error: ", "cuDNN error: ", "CUDA driver error: ", "CUDA kernel errors")


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yields `error`, and the errors it was raised from or during, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        yield current
        seen.add(id(current))
        waiting += [current.__cause__, current.__context__]


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether PyTorch's allocator, or CUDA itself, ran out of the card's memory.

    Examines `error` and the errors it was raised from or during.
    """
    return any(
        isinstance(one, torch.OutOfMemoryError) or _cuda_code(one) == _CUDA_MEMORY_ALLOCATION
        for one in chain(error)
    )


def is_out_of_host_memory(error: BaseException) -> bool:
    """Returns whether the kernel refused memory to this process."""
    return any(_refused(one) for one in chain(error))


def is_cuda_error(error: BaseException) -> bool:
    """Returns whether a kernel or a library of the card failed."""
    return any(
        _cuda_code(one) is not None
        or (isinstance(one, RuntimeError) and str(one).startswith(_CUDA_ERRORS))
        for one in chain(error)
    )


def _cuda_code(error: BaseException) -> int | None:
    """Returns the cudaError_t of an AcceleratorError, 0 without one; None for other errors."""
    own = getattr(torch, "AcceleratorError", None)  # from torch 2.8 on
    if own is None or not isinstance(error, own):
        return None
    return int(getattr(error, "error_code", None) or 0)


def _refused(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if not isinstance(error, RuntimeError):
        return False
    text = text_of(error)
    return _NO_HOST_MEMORY in text or text.strip() in _BAD_ALLOC
