"""Traces of torch.profiler made by hand, event by event, as torch 2 writes them."""

from __future__ import annotations

import gzip
import json
from typing import Any

from planner.hardware.database import load_gpus

T4 = load_gpus().find("t4").spec
MAIN, AUTOGRAD = 100, 101  # threads


class MadeTrace:
    """A trace of one card; times are microseconds from its begin."""

    def __init__(self, device: str = T4.name, memory_bytes: int = T4.usable_memory_bytes) -> None:
        self.events: list[dict[str, Any]] = []
        self.head: dict[str, Any] = {
            "schemaVersion": 1,
            "deviceProperties": [
                {"id": 0, "name": device, "totalGlobalMem": memory_bytes, "computeMajor": 7}
            ],
            "cuda_driver_version": 12090,
            "record_shapes": 1,
        }
        self._correlation = 0

    def add(self, cat: str, name: str, start: float, us: float, thread: Any, **args: Any) -> None:
        self.events.append(
            {
                "ph": "X", "cat": cat, "name": name, "pid": 1, "tid": thread,
                "ts": 5_000_000.5 + start, "dur": us, "args": args,
            }
        )  # fmt: skip

    def step(self, number: int, start: float, us: float) -> None:
        self.add("user_annotation", f"ProfilerStep#{number}", start, us, MAIN)
        self.add("gpu_user_annotation", f"ProfilerStep#{number}", start, us, 7)

    def operator(
        self,
        name: str,
        start: float,
        us: float,
        dims: list[Any] | None = None,
        types: list[str] | None = None,
        *,
        thread: int = MAIN,
        strides: list[Any] | None = None,
        concrete: list[str] | None = None,
        **more: Any,
    ) -> None:
        named = {
            "Input Dims": dims, "Input type": types, "Input Strides": strides,
            "Concrete Inputs": concrete,
        }  # fmt: skip
        args = {key: value for key, value in named.items() if value is not None}
        self.add("cpu_op", name, start, us, thread, **args, **more)

    def kernel(
        self,
        launched: float | None,
        us: float,
        *,
        thread: int = MAIN,
        name: str = "void a_kernel()",
        cat: str = "kernel",
        device: int = 0,
        runs_at: float | None = None,
        **more: Any,
    ) -> None:
        """A kernel that the CPU launches at `launched`; None: the launch is not in the trace."""
        self._correlation += 1
        ids = {"correlation": self._correlation}
        if launched is not None:
            self.add("cuda_runtime", "cudaLaunchKernel", launched, 1, thread, **ids)
        begin = runs_at if runs_at is not None else 10 + (launched or 0)
        self.add(cat, name, begin, us, 7, **ids, device=device, **more)

    def relu(self, start: float, us: float, elements: int, thread: int = MAIN) -> None:
        """One call with one kernel."""
        self.operator("aten::relu", start, 5, [[elements]], ["float"], thread=thread)
        self.kernel(start + 1, us, thread=thread)

    def document(self) -> dict[str, Any]:
        return {**self.head, "traceEvents": self.events}

    def data(self) -> bytes:
        return json.dumps(self.document()).encode()

    def packed(self) -> bytes:
        return gzip.compress(self.data())
