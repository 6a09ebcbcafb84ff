"""One job of each library with CUDA code of its own, against arithmetic.

    python -m benchmarks.libraries [--here] [NAME ...]

The jobs run in one environment with all of these libraries, made once in the user's cache folder;
with --here in this interpreter, where a job whose library is missing is left out. Each figure
depends only on the shapes of a job. Exit code 1 when one is beyond the tolerance.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record.environments import REPOSITORY, interpreter
from planner.units import MIB

JOBS = Path(__file__).parent / "library_jobs"
TOLERANCE = 0.01
_LAYERS, _WIDTH, _RANK = 8, 1024, 16  # sizes of the jobs
_WEIGHTS = _LAYERS * _WIDTH * _WIDTH
_BIASES = _LAYERS * _WIDTH
# Below these sizes the libraries keep a tensor's state in float32 (bitsandbytes' min_8bit_size,
# torchao/optim/adam.py); and paged memory is for tensors of 100 000 elements at the least.
_SMALL_STATE_BYTES = 2 * 4 * _BIASES


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A job, the figure that is compared, and what it must be. `needs` are the packages."""

    name: str
    needs: tuple[str, ...]
    file: str
    arguments: tuple[str, ...] = ()
    batch_size: int
    figure: str  # a category of the breakdown, "largest temporary" or "unified memory"
    right_bytes: int
    arithmetic: str


def _adam(code_bits: int, block: int, map_entries: int) -> int:
    """Computes two states: packed codes, a float32 scale for each block, a map for each tensor."""
    for_one = _WEIGHTS * code_bits // 8 + 4 * _WEIGHTS // block
    return 2 * (for_one + 4 * map_entries * _LAYERS) + _SMALL_STATE_BYTES


def _nf4() -> int:
    """Computes half a byte a weight, 8-bit scales of 64, float32 scales of 256 of these, maps."""
    scales = _WEIGHTS // 64
    return _WEIGHTS // 2 + scales + 4 * scales // 256 + _LAYERS * (4 * 16 + 4 * 256 + 4)


_LORA_BYTES = 4 * 2 * _LAYERS * _RANK * _WIDTH  # adapters are float32
_HEAD_BYTES = 4 * _WIDTH

CASES = (
    Case(
        name="bitsandbytes AdamW8bit",
        needs=("bitsandbytes",),
        file="optimizers.py",
        arguments=("optimizer=bitsandbytes.AdamW8bit",),
        batch_size=16384,
        figure="optimizer state",
        right_bytes=_adam(8, 256, 0) + 2 * 4 * 256,  # the two maps are shared
        arithmetic="2 x (n + 4 n / 256), biases 2 x 4 n",
    ),
    Case(
        name="bitsandbytes PagedAdamW8bit",
        needs=("bitsandbytes",),
        file="optimizers.py",
        arguments=("optimizer=bitsandbytes.PagedAdamW8bit",),
        batch_size=16384,
        figure="unified memory",
        right_bytes=2 * _WEIGHTS,
        arithmetic="2 x n",
    ),
    Case(
        name="bitsandbytes Linear8bitLt",
        needs=("bitsandbytes",),
        file="quantised.py",
        arguments=("bits=8",),
        batch_size=16384,
        figure="parameter",
        right_bytes=_WEIGHTS + 4 * _WIDTH * _LAYERS + _HEAD_BYTES,
        arithmetic="n + 4 a row, a float32 head",
    ),
    Case(
        name="bitsandbytes Linear4bit NF4",
        needs=("bitsandbytes",),
        file="quantised.py",
        arguments=("bits=4",),
        batch_size=16384,
        figure="parameter",
        right_bytes=_nf4() + _HEAD_BYTES,
        arithmetic="n / 2 + n / 64 + 4 n / 16384, maps, a float32 head",
    ),
    Case(
        name="peft LoRA",
        needs=("peft", "bitsandbytes"),
        file="quantised.py",
        arguments=("bits=32", "lora=true"),
        batch_size=16384,
        figure="parameter",
        right_bytes=4 * _WEIGHTS + _LORA_BYTES,
        arithmetic="4 n + 4 x 2 r w for each layer",
    ),
    Case(
        name="peft QLoRA",
        needs=("peft", "bitsandbytes"),
        file="quantised.py",
        arguments=("bits=4", "lora=true"),
        batch_size=16384,
        figure="parameter",
        right_bytes=_nf4() + _LORA_BYTES,
        arithmetic="as NF4, and the adapters",
    ),
    Case(
        name="torchao AdamW8bit",
        needs=("torchao",),
        file="optimizers.py",
        arguments=("optimizer=torchao.AdamW8bit",),
        batch_size=16384,
        figure="optimizer state",
        right_bytes=_adam(8, 256, 256),
        arithmetic="2 x (n + 4 n / 256 + a map of 1 KiB for each tensor)",
    ),
    Case(
        name="torchao AdamW4bit",
        needs=("torchao",),
        file="optimizers.py",
        arguments=("optimizer=torchao.AdamW4bit",),
        batch_size=16384,
        figure="optimizer state",
        right_bytes=_adam(4, 128, 16),
        arithmetic="2 x (n / 2 + 4 n / 128 + a map of 64 bytes for each tensor)",
    ),
    Case(
        name="liger-kernel fused loss",
        needs=("liger_kernel",),
        file="fused_loss.py",
        batch_size=8,
        figure="largest temporary",
        right_bytes=8 * 4096 * 1024 * 4,  # "C x BT x H" of ops/fused_linear_cross_entropy.py
        arithmetic="8 x tokens x width x 4; all logits would be 512 MiB",
    ),
    Case(
        name="torch_geometric SimpleConv",
        needs=("torch_geometric",),
        file="graph.py",
        batch_size=1,
        figure="largest temporary",
        right_bytes=(1 << 18) * 64 * 4,
        arithmetic="a message for each edge: edges x width x 4",
    ),
    Case(
        name="ultralytics DetectionModel",
        needs=("ultralytics",),
        file="detector.py",
        batch_size=4,
        figure="parameter",
        right_bytes=4 * 2_624_080,  # docs.ultralytics.com/models/yolo11: YOLO11n, 2.6 M
        arithmetic="4 x 2 624 080 parameters",
    ),
)


def missing(case: Case) -> str:
    """Returns the packages of a case that this interpreter lacks, as text."""
    return ", ".join(name for name in case.needs if importlib.util.find_spec(name) is None)


def measured_bytes(case: Case, python: str = sys.executable) -> int:
    """Returns planner's figure for a case.

    Raises:
        RuntimeError: the estimate failed; the error is in it.
    """
    command = [python, "-m", "planner", "estimate", str(JOBS / case.file), "--gpu", "a100"]
    command += ["--batch", str(case.batch_size), "--no-max-batch", "--json"]
    for argument in case.arguments:
        command += ["--model-arg", argument]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{case.name}: {done.stderr.strip()[-2000:]}")
    return _figure(case.figure, json.loads(done.stdout)["gpus"][0])


def _figure(name: str, card: dict[str, Any]) -> int:
    if name == "unified memory":
        return int(card["managed_bytes"])
    if name == "largest temporary":
        blocks = card["largest_tensors"]
        return max(int(b["bytes"]) for b in blocks if b["category"] == "temporary")
    return int(card["breakdown_bytes"].get(name, 0))


def main() -> int:
    """Prints a line for each case; exit code 1 if one is beyond the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--here", action="store_true", help="use this interpreter's packages")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only cases with this in the name")
    given = parser.parse_args()
    python = sys.executable if given.here else str(interpreter("libraries"))
    chosen = [c for c in CASES if not given.names or any(n in c.name for n in given.names)]
    print(f"{'job':28} {'figure':17} {'right MiB':>10} {'predicted':>10} {'ratio':>7}  arithmetic")
    good = True
    for case in chosen:
        if given.here and missing(case):
            print(f"{case.name:28} left out: {missing(case)} is not installed")
            continue
        found = measured_bytes(case, python)
        ratio = found / case.right_bytes if case.right_bytes else 0.0
        good = good and abs(ratio - 1) <= TOLERANCE
        print(
            f"{case.name:28} {case.figure:17} {case.right_bytes / MIB:10.3f} {found / MIB:10.3f} "
            f"{ratio:7.4f}  {case.arithmetic}",
            flush=True,
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
