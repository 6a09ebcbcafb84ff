"""Python environments of the comparisons with published figures, made in the user's cache folder.

In: the name of a set of requirements. Out: the path of an interpreter. Convention: transformers is
that of the measurements; torch and timm are today's ("current") or of their time ("measured").
"torch-VERSION" has that torch alone, with the cuDNN that it brings.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

import planner

REPOSITORY = Path(__file__).resolve().parents[2]

# The H100 peaks were measured with a nightly build of October or November 2024 on the way to 2.6.0,
# milabench with 2.6.0; timm 1.0.11 and transformers 4.46.3 were the newest releases in November
# 2024 (https://pypi.org).
REQUIREMENTS = {
    "current": ("torch", "torchvision", "timm", "transformers==4.46.3"),
    "measured": ("torch==2.6.0", "torchvision==0.21.0", "timm==1.0.11", "transformers==4.46.3"),
    "libraries": (
        "torch",
        "torchvision",
        "bitsandbytes",
        "peft",
        "transformers",
        "torchao",
        "liger-kernel",
        "torch_geometric",
        "ultralytics",
    ),
    # As measured: PEFT's comparison of July 2026, vramcalc's bench, that of fms-acceleration.
    "finetune": ("torch", "transformers==5.13.1", "peft==0.20.0", "bitsandbytes", "scikit-learn"),
    "finetune-4.57": ("torch", "transformers==4.57.6", "peft==0.21.2"),
    "finetune-4.40": ("torch", "transformers==4.40.2", "peft==0.10.0", "bitsandbytes"),
    "torch-2.8.0": ("torch==2.8.0",),
    "torch-2.9.1": ("torch==2.9.1",),
}


@cache
def interpreter(versions: str) -> Path:
    """Returns the interpreter of an environment with these versions and this checkout.

    A complete environment is used as it is; one that was interrupted is completed.

    Raises:
        subprocess.CalledProcessError: pip or venv failed; their output says why.
    """
    name = f"{versions}-python{sys.version_info.major}.{sys.version_info.minor}"
    folder = user_cache_path("vram-planner") / "benchmarks" / name
    python = folder / "bin" / "python"
    complete = folder / "complete.txt"
    content = "\n".join((str(REPOSITORY), *REQUIREMENTS[versions]))
    if complete.is_file() and complete.read_text() == content:
        return python
    print(f"making an environment in {folder} (several GB, some minutes)", file=sys.stderr)
    _run(sys.executable, "-m", "venv", str(folder))
    _run(str(python), "-m", "pip", "install", *REQUIREMENTS[versions])
    _run(str(python), "-m", "pip", "install", "-e", str(REPOSITORY))
    complete.write_text(content)
    return python


# Prints the versions on which a run depends, besides planner, in their interpreter.
_ASK_VERSIONS = """
from importlib.metadata import distributions
wanted = ("torch", "nvidia-cudnn-cu", "timm", "transformers", "peft")
found = {}
for one in distributions():  # the first on the search path is the one that is imported
    found.setdefault(one.metadata["Name"].lower(), one.version)
print(", ".join(f"{n} {v}" for n, v in sorted(found.items()) if n.startswith(wanted)
      and n.rstrip("0123456789") in wanted))
"""


@cache
def versions_of(python: Path) -> str:
    """Returns names and versions of the packages on which runs of this interpreter depend."""
    said = subprocess.run(
        [str(python), "-c", _ASK_VERSIONS], check=True, capture_output=True, text=True
    ).stdout.strip()
    return f"planner {planner.__version__}, {said}"


def _run(*command: str) -> None:
    """Runs a command with its output on stderr: stdout is only for the report."""
    subprocess.run(command, check=True, stdout=sys.stderr)
