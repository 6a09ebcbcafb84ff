"""Reads the knobs of a strategy: --parallel-arg, under PyTorch's names.

In: ParallelConfig with its degrees, names and values. Out: the same with the knobs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from planner.config.near_words import near
from planner.config.parallel import (
    ComputeDtype,
    DataParallel,
    DdpOptions,
    FsdpOptions,
    ParallelConfig,
    PipelineOptions,
    TensorOptions,
)
from planner.config.scalars import Scalar
from planner.errors import UsageError

_OWN_OPTIONS = ("schedule", "microbatches")  # they have words and an option of their own
_DTYPES = {
    "float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "half": "fp16",
}  # fmt: skip


def with_arguments(
    config: ParallelConfig, arguments: Sequence[tuple[str, Scalar]]
) -> ParallelConfig:
    """Sets the knobs.

    Raises:
        UsageError: a knob is unknown, has a wrong value, or belongs to another strategy.
    """
    groups: tuple[tuple[str, type[Any], bool, str], ...] = (
        ("fsdp", FsdpOptions, config.data is DataParallel.FSDP, "fsdp"),
        ("ddp", DdpOptions, config.data in (DataParallel.DDP, DataParallel.ZERO1), "ddp or zero1"),
        ("tensor_options", TensorOptions, config.tensor > 1, "tp"),
        ("pipeline_options", PipelineOptions, config.pipeline > 1, "pp"),
    )
    owner = {
        field.name: (group, used, word)
        for group, kind, used, word in groups
        for field in fields(kind)
        if field.name not in _OWN_OPTIONS
    }
    given: dict[str, dict[str, Any]] = {}
    for name, value in arguments:
        if name not in owner:
            meant = near(name, tuple(owner))
            hint = f"; did you mean {meant}?" if meant else f"; known: {', '.join(owner)}"
            raise UsageError(f"there is no parallel argument {name!r} (--parallel-arg){hint}")
        group, used, word = owner[name]
        if not used:
            raise UsageError(
                f"parallel argument {name} (--parallel-arg) belongs to {word}, and the job is "
                f"spread by {config.words}: leave it out"
            )
        given.setdefault(group, {})[name] = _value(name, value)
    changes: dict[str, Any] = {
        group: replace(getattr(config, group), **values) for group, values in given.items()
    }
    if "pin_memory" in given.get("fsdp", {}) and not changes["fsdp"].cpu_offload:
        raise UsageError(
            "parallel argument pin_memory (--parallel-arg) is of what cpu_offload keeps on the "
            "host: add --parallel-arg cpu_offload=true, or leave it out"
        )
    return replace(config, **changes)


def _value(name: str, value: Scalar) -> Any:
    if name in ("param_dtype", "reduce_dtype"):
        text = str(value).lower().removeprefix("torch.")
        text = _DTYPES.get(text, text)
        if text in [one.value for one in ComputeDtype]:
            return ComputeDtype(text)
        raise UsageError(_wrong(name, value, "fp32, bf16 or fp16"))
    if name == "wrap":
        patterns = tuple(part.strip() for part in str(value).split(","))
        if all(re.fullmatch(r"[\w.*?\[\]!-]+", part) for part in patterns):
            return patterns
        raise UsageError(_wrong(name, value, "names of classes or modules, like LlamaDecoderLayer"))
    if name in ("prefetch", "stages_of_a_rank"):
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
        what = "blocks, like 1" if name == "prefetch" else "stages, like 2"
        raise UsageError(_wrong(name, value, f"a number of {what}"))
    if name == "split":
        if re.fullmatch(r"\d+(:\d+)+", str(value)) and "0" not in str(value).split(":"):
            return tuple(int(one) for one in str(value).split(":"))
        raise UsageError(_wrong(name, value, "blocks of each stage, like 8:8:8:8"))
    if name == "bucket_cap_mb":
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return float(value)
        raise UsageError(_wrong(name, value, "a size in MiB, like 25"))
    if not isinstance(value, bool):
        raise UsageError(_wrong(name, value, "true or false"))
    return value


def _wrong(name: str, value: Scalar, wanted: str) -> str:
    return f"parallel argument {name} (--parallel-arg) must be {wanted}, not {value!r}"
