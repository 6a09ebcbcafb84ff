"""Checkpoints without the bytes of tensors: what lies on the emulated card is all zeros.

In: torch.save and safetensors' save_file, as a script calls them. Out: files with the right names,
shapes and sizes, whose tensors take no room on the disk. Convention: only what holds a tensor of
the card is saved so; data on the host is true, and the script may read it again.
"""

from __future__ import annotations

import functools
import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from planner.worker.engines.after_import import after_import
from planner.worker.model.tensors import size_bytes, tensors_in

_SAFETENSORS = "safetensors.torch"
_DEPTH = 6  # of lists and dicts in a checkpoint
_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


class Saves:
    """Sees what a script saves; `files` are those without bytes."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def watch(self) -> None:
        """Replaces the functions; that of safetensors as soon as it is imported."""
        module: Any = torch
        module.save = self._saving(torch.save)
        after_import(_SAFETENSORS, self._watch_safetensors)

    def _saving(self, save: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(save)
        def saving(obj: Any, f: Any, *args: Any, **kwargs: Any) -> Any:
            if not (isinstance(f, (str, os.PathLike)) and holds_card(obj)):
                return save(obj, f, *args, **kwargs)
            self.files.append(os.fspath(f))
            if kwargs.get("_use_new_zipfile_serialization") is False:
                kwargs.pop("_use_new_zipfile_serialization")  # the old form has no such mode
            with torch.serialization.skip_data():
                return save(obj, f, *args, **kwargs)

        return saving

    def _watch_safetensors(self, module: ModuleType) -> None:
        changed: Any = module
        save = changed.save_file

        @functools.wraps(save)
        def saving(tensors: Any, filename: Any, metadata: Any = None, **rest: Any) -> Any:
            if not (isinstance(tensors, Mapping) and holds_card(tensors)):
                return save(tensors, filename, metadata, **rest)
            self.files.append(os.fspath(filename))
            write_sparse(tensors, Path(filename), metadata)
            return None

        changed.save_file = saving


def holds_card(obj: Any) -> bool:
    """Returns whether a checkpoint holds a tensor of the card."""
    return _holds(obj, _DEPTH)


def _holds(obj: Any, depth: int) -> bool:
    if isinstance(obj, torch.Tensor):
        return obj.is_cuda
    if isinstance(obj, nn.Module):
        return any(one.is_cuda for one in (*obj.parameters(), *obj.buffers()))
    if depth and isinstance(obj, Mapping):
        return any(_holds(value, depth - 1) for value in obj.values())
    if depth and isinstance(obj, (list, tuple, set)):
        return any(_holds(value, depth - 1) for value in obj)
    return any(one.is_cuda for _, one in tensors_in(obj)) if depth == _DEPTH else False


def write_sparse(
    tensors: Mapping[str, torch.Tensor], file: Path, metadata: Mapping[str, str] | None
) -> None:
    """Writes a file of safetensors whose data is a hole; see its format's README."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + size_bytes(tensor)
        header[name] = {
            "dtype": _DTYPES.get(tensor.dtype, "U8"),
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as written:
        written.write(struct.pack("<Q", len(text)) + text)
        written.truncate(8 + len(text) + end)
