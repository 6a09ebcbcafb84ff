"""Writes C for the CUDA functions that torch never calls but other libraries need or call.

In: the prototypes of NVIDIA's headers. Out: a line of C for each function. Convention: a function
that only starts work on the card, gives advice or releases something answers "done", as a kernel
that does nothing. A function that must return something and cannot answers "not supported", and is
noted with the library that called it. To return zero silently would be a wrong answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# The name of the status "I cannot do this" for each status type; the numbers are read from the
# headers. 1 is an error in all of them.
_REFUSALS = {
    "cudaError_t": "cudaErrorNotSupported",
    "CUresult": "CUDA_ERROR_NOT_SUPPORTED",
    "cublasStatus_t": "CUBLAS_STATUS_NOT_SUPPORTED",
    "cudnnStatus_t": "CUDNN_STATUS_NOT_SUPPORTED",
    "cusparseStatus_t": "CUSPARSE_STATUS_NOT_SUPPORTED",
    "cusolverStatus_t": "CUSOLVER_STATUS_NOT_SUPPORTED",
    "cufftResult": "CUFFT_NOT_SUPPORTED",
    "curandStatus_t": "CURAND_STATUS_INTERNAL_ERROR",
    "nvrtcResult": "NVRTC_ERROR_INTERNAL_ERROR",
    "nvJitLinkResult": "NVJITLINK_ERROR_INTERNAL",
    "ncclResult_t": "ncclInternalError",
    "CUptiResult": "CUPTI_ERROR_NOT_SUPPORTED",
}
_ANY_ERROR = 1
# Libraries whose functions compute on data of the card, given by pointers.
_COMPUTES = re.compile(r"^(cublas|cudnn|cusparse|cusolver|cufft|curand|nccl)")
_ASKS = re.compile(r"Get|Query|Info\b")
# Functions of those libraries that put nothing on the card: they make, change or ask for objects.
_PREPARES = re.compile(
    r"Get|Set(?!Vector|Matrix|Tensor$)|Create|Destroy|Query|Info|Init|Check|Size|Plan|Make|"
    r"Estimate|Restore|Find|Version|Desc|Logger|Comm[A-Z]|Group|Register|RedOp|Error|Mem[A-Z]"
)
# Functions of the runtime and the driver that write the card's memory.
_WRITES = re.compile(r"^cu(da)?Mem(cpy|set)")
# Functions of the runtime and the driver that return nothing and write no host memory.
_HARMLESS = re.compile(
    r"Set(?!.*Callback)|Destroy|Free|Unload|Unregister|Release|Synchronize|Advise|Prefetch|"
    r"Attach|Detach|Reset|Enable|Disable|Flush|Profiler|Unmap|WriteValue|WaitValue|Invalidate"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """The number that says "not supported", for each type of status."""

    by_status: dict[str, int]

    def number(self, return_type: str) -> int | None:
        """Returns the number for a function of this return type; None if it is no status."""
        words = return_type.replace("*", " * ").split()
        found = [word for word in words if word in _REFUSALS]
        if not found or "*" in words:
            return None
        return self.by_status.get(found[-1], _ANY_ERROR)


def read_refusals(headers: str) -> Refusals:
    """Reads the numbers from the enumerations of the preprocessed headers."""
    names = {name: status for status, name in _REFUSALS.items()}
    pattern = re.compile(rf"\b({'|'.join(names)})\s*=\s*(0x[0-9a-fA-F]+|\d+)")
    found = {names[match[1]]: int(match[2], 0) for match in pattern.finditer(headers)}
    return Refusals(by_status=found)


def is_refused(name: str, unfilled: int) -> bool:
    """Returns whether the function must answer "not supported".

    `unfilled` is the number of outputs that its stub would not write.
    """
    if _COMPUTES.match(name):
        return unfilled > 0 and _ASKS.search(name) is not None
    return unfilled > 0 or _HARMLESS.search(name) is None


def refusing(name: str, number: int) -> str:
    """Returns the C function that notes its caller and answers "not supported"."""
    call = f'planner_device_refuse("{name}", {number}, __builtin_return_address(0))'
    return f"EXPORT long {name}(void) {{ return {call}; }}"


def starts_work(name: str) -> bool:
    """Returns whether the function puts work on the card, which may write its memory."""
    if _WRITES.match(name) is not None:
        return True
    return computes(name) and _PREPARES.search(name) is None


def computes(name: str) -> bool:
    """Returns whether the function belongs to a library that computes, not to runtime or driver."""
    return _COMPUTES.match(name) is not None
