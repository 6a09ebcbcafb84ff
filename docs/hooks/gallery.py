"""Makes the pictures of docs/gallery.md by the commands that stand in it.

Run `python docs/hooks/gallery.py` after a change of planner/results/plots; it takes minutes. With
names of pictures, as `resnet50-curve.svg`, only these are made.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]
PAGE = TOP / "docs/gallery.md"
_COMMAND = re.compile(r"^planner (.* --plot (docs/assets/gallery/\S+))$", re.MULTILINE)
# 3: done, and the step does not fit on a card.
_DONE = (0, 3)


def commands() -> dict[str, list[str]]:
    """The words of each command, by the file that it draws."""
    text = PAGE.read_text(encoding="utf-8")
    return {file: shlex.split(words) for words, file in _COMMAND.findall(text)}


def main(names: list[str]) -> int:
    """Draws the pictures, and returns 1 where a command has failed."""
    failed = 0
    for file, words in commands().items():
        if names and Path(file).name not in names:
            continue
        done = subprocess.run(
            [sys.executable, "-m", "planner", *words, "--no-config", "--quiet"],
            cwd=TOP,
            stdout=subprocess.DEVNULL,
        )
        size = (TOP / file).stat().st_size if (TOP / file).is_file() else 0
        print(f"{file}: {size} bytes, exit code {done.returncode}")
        failed += done.returncode not in _DONE
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
