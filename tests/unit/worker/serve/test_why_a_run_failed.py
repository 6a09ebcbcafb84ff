"""Why a run failed: by class where there is one, else by the words of that place alone."""

from __future__ import annotations

import errno

import pytest
import torch

from planner.worker.serve.failures import (
    chain,
    is_cuda_error,
    is_out_of_host_memory,
    is_out_of_memory,
)

REFUSED = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 3211264 bytes. Error code 12 (Cannot allocate memory)"
)


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "host", "card", "cuda"),
    [
        (MemoryError(), True, False, False),
        (RuntimeError(REFUSED), True, False, False),
        (RuntimeError("std::bad_alloc"), True, False, False),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True, False, False),
        (OSError(errno.ENOSPC, "No space left on device"), False, False, False),
        (caused(ValueError("step"), MemoryError()), True, False, False),
        (RuntimeError("my model is out of memory"), False, False, False),
        (RuntimeError("CUDA out of memory. Tried to allocate 1 GiB"), False, False, False),
        (torch.OutOfMemoryError("full"), False, True, False),
        (caused(KeyError("x"), torch.OutOfMemoryError("full")), False, True, False),
        (RuntimeError("CUDA error: an illegal memory access"), False, False, True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False, False, True),
        (RuntimeError("expected CUDA error: none"), False, False, False),
        (ValueError("CUDA error: of mine"), False, False, False),
    ],
)
def test_each_kind_is_told_from_the_others(
    error: BaseException, host: bool, card: bool, cuda: bool
) -> None:
    assert is_out_of_host_memory(error) is host
    assert is_out_of_memory(error) is card
    assert is_cuda_error(error) is cuda


def test_the_error_of_an_accelerator_is_told_by_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    class AcceleratorError(RuntimeError):
        """As torch 2.8 and later have it."""

        def __init__(self, error_code: int) -> None:
            super().__init__("CUDA error")
            self.error_code = error_code

    monkeypatch.setattr(torch, "AcceleratorError", AcceleratorError, raising=False)
    full, broken = AcceleratorError(2), AcceleratorError(700)
    assert (is_out_of_memory(full), is_out_of_memory(broken)) == (True, False)
    assert is_cuda_error(broken)


def test_a_chain_that_bites_its_tail_ends() -> None:
    error = ValueError("a")
    error.__cause__ = error
    assert list(chain(error)) == [error]
