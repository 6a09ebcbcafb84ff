"""A library with CUDA code of its own: compiled here, loaded by a model file, on the whole way."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import planner
from planner.config.parse import step_config
from planner.emulator.torch_install import find_torch
from planner.errors import LibraryError
from planner.units import MIB
from planner.wire.trace import RunOutcome
from tests.integration.child_runs import WriteModel, running, traces

pytestmark = pytest.mark.slow

SOURCE = """
int cudaMalloc(void **, unsigned long);
int cudaMallocManaged(void **, unsigned long, unsigned);
int cudaMemPrefetchAsync(const void *, unsigned long, long, unsigned, void *);
int cudaDeviceGetLimit(unsigned long *, int);
void *own_managed(unsigned long bytes) {
  void *pointer = 0;
  cudaMallocManaged(&pointer, bytes, 1);
  return pointer;
}
void *own_malloc(unsigned long bytes) {
  void *pointer = 0;
  return cudaMalloc(&pointer, bytes) ? 0 : pointer;
}
int own_limit() {
  unsigned long value;
  return cudaDeviceGetLimit(&value, 0);
}
"""
MODEL = """
import ctypes
LIBRARY = ctypes.CDLL({library!r})
LIBRARY.own_managed.restype = LIBRARY.own_malloc.restype = ctypes.c_void_p

class Paged(torch.optim.SGD):
    def step(self, closure=None):
        if not hasattr(self, "pages"):
            self.pages = LIBRARY.own_managed(ctypes.c_size_t({managed}))
            self.own = LIBRARY.own_malloc(ctypes.c_size_t({own}))
            {extra}
        return super().step(closure)

def build_model():
    return nn.Linear(1024, 1024)

def build_batch(batch_size):
    return torch.zeros(batch_size, 1024)

def build_optimizer(parameters):
    return Paged(parameters, lr=0.1)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that asks for torch's libcudart with its version, as nvcc's output does."""
    folders = [folder.parent / "lib" for folder in find_torch().include_folders]
    real = [path for folder in folders for path in sorted(folder.glob("libcudart.so.*"))]
    path = tmp_path_factory.mktemp("site-packages") / "libown.so"
    command = ["cc", "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", path, "-x", "none", real[0]]
    subprocess.run(command, input=SOURCE, text=True, check=True)
    return str(path)


def model(write_model: WriteModel, library: str, managed: int, own: int, extra: str = "") -> str:
    return write_model(
        MODEL.format(library=library, managed=managed, own=own, extra=extra or "pass")
    )


def test_its_memory_is_counted_and_peaks_are_pytorchs(
    write_model: WriteModel, library: str
) -> None:
    path = model(write_model, library, 100 * MIB, 3 * MIB, "self.error = LIBRARY.own_limit()")
    plain_path = write_model(
        (Path(path).read_text()).replace("if not hasattr", "if False and not hasattr"), "plain.py"
    )
    (trace,) = traces(path, {"steps": 2})
    (plain,) = traces(plain_path, {"steps": 2})
    assert trace.outside.managed_bytes == 100 * MIB
    assert trace.outside.total_bytes == 104 * MIB  # cudaMalloc in pages of 2 MiB
    assert trace.peak_allocated_bytes == plain.peak_allocated_bytes
    assert trace.peak_reserved_bytes == plain.peak_reserved_bytes
    assert plain.outside.total_bytes == 0
    said = " ".join(trace.assumptions)
    assert "100 MiB of unified memory (cudaMallocManaged) are counted on the card" in said
    assert "4.00 MiB that libraries take from CUDA themselves (cudaMalloc)" in said
    assert "libown.so called cudaDeviceGetLimit, which the emulated device does not have" in said
    assert not any("cuda" in text for text in plain.assumptions)


def test_it_decides_whether_the_step_fits(write_model: WriteModel, library: str) -> None:
    path = model(write_model, library, 1536 * MIB, 100 * MIB)
    given = {"gpu": "t4", "batch_size": 4, "steps": 2, "max_batch": True}
    large = planner.estimate(path, **given, gpu_memory="4GiB")
    small = planner.estimate(path, **given, gpu_memory="1700MiB")
    none = planner.estimate(path, **given, gpu_memory="1GiB", reserve="1MiB")
    card, tight, refused = large.gpus[0], small.gpus[0], none.gpus[0]
    assert (card.outside_bytes, card.managed_bytes) == (1636 * MIB, 1536 * MIB)
    assert card.device_total_bytes == (
        card.peak_reserved_bytes + card.context_overhead_bytes + 1636 * MIB
    )
    assert [entry.fits for entry in (card, tight, refused)] == [True, False, False]
    assert card.max_batch_size
    assert (tight.max_batch_size, refused.max_batch_size) == (0, 0)
    assert any("does not fit as a whole, but runs" in text for text in small.warnings)
    # A step fits up to its device total, and not below.
    exact = planner.estimate(path, **given, gpu_memory=card.device_total_bytes)
    below = planner.estimate(path, **given, gpu_memory=card.device_total_bytes - 4 * MIB)
    assert (exact.gpus[0].fits, below.gpus[0].fits) == (True, False)


def test_unified_memory_that_finds_no_room_ends_no_run(
    write_model: WriteModel, library: str
) -> None:
    text = Path(model(write_model, library, 512 * MIB, 1)).read_text()
    last = "self.state.get('ended')"  # after the last step PyTorch asks for nothing more
    at_the_end = text.replace('not hasattr(self, "pages")', last).replace(
        "return super().step(closure)", "self.state['ended'] = True\n        super().step(closure)"
    ).replace("self.own =", "pass #")  # fmt: skip
    path = write_model(at_the_end, "at_the_end.py")
    with running(path, "t4") as (runner, unlimited):
        profile = unlimited.replace("capacity_bytes=", f"capacity_bytes={256 * MIB}\nname=", 1)
        trace = runner.run(profile, step_config({"batch_size": 4, "steps": 2}))
    assert trace.outcome is RunOutcome.COMPLETED
    assert trace.outside.beyond_bytes > 256 * MIB


def test_a_library_for_another_cuda_is_named(write_model: WriteModel, tmp_path: Path) -> None:
    folder = tmp_path / "site-packages" / "oldkernels"
    folder.mkdir(parents=True)
    compile_ = ["cc", "-shared", "-fPIC", "-x", "c", "-"]
    old = folder / "libcudart.so.9"
    subprocess.run([*compile_, "-o", old, f"-Wl,-soname,{old.name}"], input="int x;", text=True,
                   check=True)  # fmt: skip
    subprocess.run(
        [*compile_, "-o", folder / "_C.so", "-x", "none", "-Wl,--no-as-needed", old],
        input="int y;", text=True, check=True,
    )  # fmt: skip
    old.unlink()
    (folder / "__init__.py").write_text(
        "import ctypes, os\nctypes.CDLL(os.path.join(os.path.dirname(__file__), '_C.so'))\n"
    )
    path = write_model(
        f"""
        import sys
        sys.path.insert(0, {str(folder.parent)!r})
        def build_model():
            import oldkernels
            return nn.Linear(2, 2)
        def build_batch(batch_size):
            return torch.zeros(batch_size, 2)
        """
    )
    with pytest.raises(LibraryError, match=r"oldkernels cannot be used: it needs libcudart\.so\.9"):
        planner.estimate(path, gpu="t4", batch_size=2)
