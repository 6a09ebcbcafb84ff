"""C for the CUDA functions that torch never calls: libraries beside it load, and some call them.

In: the prototypes of NVIDIA's headers. Out: a line of C for each function. Convention: what only
starts work on the card, gives advice or lets go of something answers "done", as a kernel that does
nothing; what has to give something back, and cannot, answers "not supported" and is noted with the
library that called it. A zero given back in silence would be a wrong answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# What each kind of status is called that says "I cannot do this"; the numbers are read from the
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
# Libraries whose functions take pointers to data on the card, and compute.
_COMPUTES = re.compile(r"^(cublas|cudnn|cusparse|cusolver|cufft|curand|nccl)")
_ASKS = re.compile(r"Get|Query|Info\b")
# Of the runtime and the driver: nothing comes back, and no memory of the host is written.
_HARMLESS = re.compile(
    r"Set(?!.*Callback)|Destroy|Free|Unload|Unregister|Release|Synchronize|Advise|Prefetch|"
    r"Attach|Detach|Reset|Enable|Disable|Flush|Profiler|Unmap|WriteValue|WaitValue|Invalidate"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """The number that says "not supported", for each type of status."""

    by_status: dict[str, int]

    def number(self, return_type: str) -> int | None:
        """For a function that returns `return_type`; None where it is no status."""
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
    """Whether the function must say that it is not emulated.

    `unfilled` is the number of outputs that its stub would leave as they are.
    """
    if _COMPUTES.match(name):
        return unfilled > 0 and _ASKS.search(name) is not None
    return unfilled > 0 or _HARMLESS.search(name) is None


def refusing(name: str, number: int) -> str:
    """The C function that notes its caller and answers "not supported"."""
    call = f'planner_device_refuse("{name}", {number}, __builtin_return_address(0))'
    return f"EXPORT long {name}(void) {{ return {call}; }}"


def computes(name: str) -> bool:
    """Whether the function is one of a library that computes, and not of runtime or driver."""
    return _COMPUTES.match(name) is not None
