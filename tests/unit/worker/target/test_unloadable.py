"""From the dynamic loader's words to the package, the library and the symbol."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
import torch

from planner.errors import LibraryError
from planner.worker.target.unloadable import library_error

PLACE = "/usr/lib/python3.11/site-packages"
CUDA = str(torch.version.cuda)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            f"{PLACE}/fast/lib/libfast.so: undefined symbol: cudaFuture, version libcudart.so.13",
            ("fast cannot be used: its library libfast.so needs the symbol cudaFuture of "
             "libcudart.so.13", f"the CUDA {CUDA} of this torch"),
        ),
        (
            f"{PLACE}/fast/_C.so: undefined symbol: cublasLtNew",
            ("library _C.so needs the symbol cublasLtNew of libcublasLt,",),
        ),
        (
            f"{PLACE}/fast_ext.cpython-311.so: undefined symbol: _ZN3c105ErrorC2ENS_14SourceE",
            ("fast_ext cannot be used", f"built for another torch than {torch.__version__}"),
        ),
        (
            f"{PLACE}/fast/_C.so: undefined symbol: qr_decompose",
            ("needs the symbol qr_decompose, which is not there; another library",),
        ),
        (
            "Attempted to use native functionality.\nOriginal error: "
            f"{PLACE}/bits/libbits_cuda130.so: undefined symbol: cuInitNever\nTry this.",
            ("bits cannot be used: its library libbits_cuda130.so needs the symbol cuInitNever "
             "of libcuda,",),
        ),
        (
            "/x/libcublas.so.9: version `libcublas.so.9' not found (required by "
            f"{PLACE}/fast/_C.so)",
            ("fast cannot be used: its library _C.so needs libcublas.so.9", "built for CUDA 9"),
        ),
        (
            "libcudart.so.9: cannot open shared object file: No such file or directory",
            ("it needs libcudart.so.9", f"built for CUDA 9, and torch {torch.__version__} brings"),
        ),
        (
            "libspam.so.2: cannot open shared object file: No such file or directory",
            ("it needs libspam.so.2, which is not there; install the package that brings it",),
        ),
    ],
)  # fmt: skip
def test_what_is_said(text: str, parts: tuple[str, ...]) -> None:
    found = library_error(ImportError(text))
    assert isinstance(found, LibraryError)
    for part in parts:
        assert part in str(found)


def test_a_real_library_that_lacks_a_symbol(tmp_path: Path) -> None:
    library = tmp_path / "site-packages" / "fastkernels" / "libfast.so"
    library.parent.mkdir(parents=True)
    command = ["cc", "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", library, "-Wl,-z,now"]
    source = "int cudaNeverThere(); int go() { return cudaNeverThere(); }"
    subprocess.run(command, input=source, text=True, check=True)
    with pytest.raises(OSError, match="undefined symbol") as caught:
        ctypes.CDLL(str(library))
    found = library_error(caught.value)
    assert found is not None
    assert (
        "fastkernels cannot be used: its library libfast.so needs the symbol cudaNeverThere"
        in str(found)
    )


def test_the_cause_of_an_error_counts_and_a_handled_one_does_not() -> None:
    missing = ImportError(f"{PLACE}/fast/_C.so: undefined symbol: cuOne")
    caused = RuntimeError("failed to import fast")
    caused.__cause__ = missing
    assert library_error(caused) is not None
    handled = RuntimeError("the fallback failed for another reason")
    handled.__context__ = missing
    assert library_error(handled) is None


def test_any_other_error_is_none_of_these() -> None:
    assert library_error(ValueError("a symbol is undefined")) is None
