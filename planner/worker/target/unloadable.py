"""Compiled libraries that cannot be loaded: which package, which library, which symbol.

In: an exception of the user's code. Out: one sentence, or None if no library is the cause.
Convention: the texts are those of the dynamic loader (glibc, elf/dl-lookup.c, dl-load.c and
dl-version.c), which Python passes on in ImportError and OSError, and packages in errors of theirs.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

from planner.errors import LibraryError
from planner.worker.target.frames import text_of, user_frames

_SYMBOL = re.compile(
    r"(?P<library>\S+\.so[\w.]*): undefined symbol: (?P<symbol>\w+)(?:, version (?P<version>\S+))?"
)
_VERSION = re.compile(
    r"version [`'](?P<version>[^']+)' not found \(required by (?P<library>[^)]+)\)"
)
_FILE = re.compile(r"(?P<needed>lib[\w.+-]*\.so[\w.]*): cannot open shared object file")
_CUDA_LIBRARY = re.compile(r"lib(cudart|cublas|cublasLt|nvrtc|nvJitLink|cupti)\.so\.(\d+)")
# The beginnings of a library's function names.
_PREFIXES = (
    ("__cuda", "libcudart"), ("cuda", "libcudart"), ("cublasLt", "libcublasLt"),
    ("cublas", "libcublas"), ("cudnn", "libcudnn"), ("cusparse", "libcusparse"),
    ("cusolver", "libcusolver"), ("cufft", "libcufft"), ("curand", "libcurand"),
    ("nccl", "libnccl"), ("nvrtc", "libnvrtc"), ("nvml", "libnvidia-ml"), ("cuFile", "libcufile"),
    ("__nvJitLink", "libnvJitLink"), ("nvJitLink", "libnvJitLink"), ("cupti", "libcupti"),
    ("cu", "libcuda"),
)  # fmt: skip
_SAID = 4000  # characters of an exception's text that are examined; some print whole tensors
_OF_TORCH = re.compile(r"^_Z\w*(?:2at|3c10|5torch)|^aoti_torch|^torch_")


def library_error(error: BaseException) -> LibraryError | None:
    """Returns an error that names the unloadable library; None if `error` has another cause."""
    one: BaseException | None = error
    seen: set[int] = set()
    while one is not None and id(one) not in seen:
        text = _said(one)
        if text is not None:
            return LibraryError(text, user_frames(error))
        seen.add(id(one))
        one = one.__cause__  # not __context__: a failure that was handled is no cause
    return None


def _said(error: BaseException) -> str | None:
    text = text_of(error)[:_SAID]
    if match := _SYMBOL.search(text):
        library, symbol = match["library"], match["symbol"]
        where = match["version"] or _home_of(symbol)
        owner = _package_of(Path(library)) or Path(library).name
        return (
            f"{owner} cannot be used: its library {Path(library).name} needs the symbol {symbol}"
            f"{f' of {where}' if where else ''}, which is not there; {_why(symbol)}"
        )
    if match := _VERSION.search(text):
        library, version = match["library"], match["version"]
        owner = _package_of(Path(library)) or Path(library).name
        return (
            f"{owner} cannot be used: its library {Path(library).name} needs {version}, which is "
            f"not there; {_why_not_found(version)}"
        )
    if match := _FILE.search(text):
        owner, needed = _raiser(error) or "a library of the model's code", match["needed"]
        why = _why_not_found(needed)
        return f"{owner} cannot be used: it needs {needed}, which is not there; {why}"
    return None


def _home_of(symbol: str) -> str | None:
    return next((library for prefix, library in _PREFIXES if symbol.startswith(prefix)), None)


def _why(symbol: str) -> str:
    if _OF_TORCH.search(symbol):
        return (
            f"it was built for another torch than {torch.__version__}: install the build of the "
            "package for this one"
        )
    if _home_of(symbol) is not None:
        return (
            f"neither the emulated device nor the CUDA {torch.version.cuda} of this torch declares "
            "it: the library was built for another CUDA, or calls what is not documented"
        )
    return "another library that it needs is missing or of another version"


def _why_not_found(needed: str) -> str:
    """Returns the reason for the name of a library or of its version node (alike in CUDA)."""
    match = _CUDA_LIBRARY.search(needed)
    cuda = torch.version.cuda or ""
    if match is not None and match[2] != cuda.partition(".")[0]:
        return (
            f"it was built for CUDA {match[2]}, and torch {torch.__version__} brings CUDA {cuda}: "
            "on a machine with a GPU it does not load either. Install its build for this CUDA"
        )
    return "install the package that brings it"


def _raiser(error: BaseException) -> str | None:
    """Returns the package that was loading: the innermost one in the traceback."""
    path = getattr(error, "path", None)  # of an ImportError: the extension module
    files = [path] if isinstance(path, str) else []
    files += [frame.filename for frame in reversed(traceback.extract_tb(error.__traceback__))]
    return next(_packages(files), None)


def _packages(files: list[str]) -> Iterator[str]:
    for file in files:
        name = _package_of(Path(file))
        if name is not None and name != "torch":  # torch.ops.load_library loads for others
            yield name


def _package_of(file: Path) -> str | None:
    """Returns the folder or module below site-packages that contains `file`."""
    parts = file.parts
    for position in range(len(parts) - 1, 0, -1):
        if parts[position - 1] in ("site-packages", "dist-packages"):
            return parts[position].partition(".")[0]
    return None
