"""Times `planner check` on a project of 50 targets that has not changed, against `import torch`.

    python -m benchmarks.check [--targets 50] [--rounds 5]

In: models/, at several batches, each a target of its own. Out: seconds of the first run and of the
repeats, their ratio to `import torch` in the same run, and whether the outputs are the same bytes.
Exit code 1 where a repeat takes more than 10 x, or prints something else.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import ROOT
from planner.process.kept.store import OFF_VARIABLE

MOST_RATIO = 10.0
_MODELS = ("mlp.py", "lstm.py", "vit.py", "resnet50.py", "unet.py")
_CARDS = ("a100", "t4")


def main(words: Sequence[str] | None = None) -> int:
    """Runs the checks; returns 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--targets", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="planner-check-") as folder:
        return _measured(Path(folder), asked.targets, asked.rounds)


def _measured(folder: Path, targets: int, rounds: int) -> int:
    (folder / "planner.toml").write_text(_checks(targets))
    check = [sys.executable, "-m", "planner", "check", "--quiet"]
    first_s, first = _run(check, folder)
    print(f"first run: {first_s:.1f} s, exit code {first.returncode}")
    imports, repeats = [], []
    is_same = True
    for _ in range(rounds):
        imports.append(_run([sys.executable, "-c", "import torch"], folder)[0])
        passed_s, again = _run(check, folder)
        repeats.append(passed_s)
        is_same &= (again.returncode, again.stdout) == (first.returncode, first.stdout)
    base_s, repeat_s = statistics.median(imports), statistics.median(repeats)
    print(
        f"{targets} targets from the cache: {repeat_s:.2f} s, {repeat_s / base_s:.2f} x import "
        f"torch ({base_s:.2f} s); {'the same bytes' if is_same else 'OTHER BYTES'}"
    )
    return 0 if is_same and repeat_s <= MOST_RATIO * base_s and not first.returncode else 1


def _checks(targets: int) -> str:
    texts = []
    for index in range(targets):
        model = _MODELS[index % len(_MODELS)]
        card = _CARDS[index // len(_MODELS) % len(_CARDS)]
        batch = 1 + index // (len(_MODELS) * len(_CARDS))
        texts.append(
            f'[[check]]\nname = "{index}"\ntarget = "{ROOT / "models" / model}"\n'
            f'gpu = "{card}"\nbatch = {batch}\nmax-peak = "14 GiB"\n'
        )
    return "\n".join(texts)


def _run(command: Sequence[str], folder: Path) -> tuple[float, subprocess.CompletedProcess[str]]:
    environment = {name: text for name, text in os.environ.items() if name != OFF_VARIABLE}
    environment |= {"VRAM_PLANNER_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    begun_s = time.perf_counter()
    found = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return time.perf_counter() - begun_s, found


if __name__ == "__main__":
    sys.exit(main())
