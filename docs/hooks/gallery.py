"""Makes the pictures of docs/gallery.md by the commands that stand in it.

Run `python docs/hooks/gallery.py` after a change of planner/results/plots or planner/render/html;
it takes minutes. With names of pictures, as `resnet50-curve.svg`, only these are made. The picture
of a page needs Debian's chromium and playwright.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).parents[2]
PAGE = TOP / "docs/gallery.md"
CHROMIUM = "/usr/bin/chromium"
_PLOT = re.compile(r"^planner (.* --plot (docs/assets/gallery/\S+))$", re.MULTILINE)
_REPORT = re.compile(
    r"^planner (report .*) -o report\.html\n```\n\n!\[[^\]]*\]\((assets/gallery/\S+\.png)\)$",
    re.MULTILINE,
)
_WIDTH = 1200
_LAST = "[data-part=legend]"  # of the page: the picture ends below it
_MARGIN = 24
# 3: done, and the step does not fit on a card.
_DONE = (0, 3)


def pictures() -> dict[str, Callable[[], int]]:
    """What makes each picture and returns an exit code, by its path from the top."""
    text = PAGE.read_text(encoding="utf-8")
    found: dict[str, Callable[[], int]] = {}
    for words, file in _PLOT.findall(text):
        found[file] = lambda words=words: _run(shlex.split(words))
    for words, file in _REPORT.findall(text):
        found[f"docs/{file}"] = lambda words=words, file=file: _page(words, TOP / "docs" / file)
    return found


def _run(words: list[str]) -> int:
    command = [sys.executable, "-m", "planner", *words, "--no-config", "--quiet"]
    return subprocess.run(command, cwd=TOP, stdout=subprocess.DEVNULL).returncode


def _page(words: str, picture: Path) -> int:
    """Draws the upper part of a page: the verdict, the slider and the timeline."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="planner-gallery-") as folder:
        page_file = Path(folder) / "report.html"
        code = _run([*shlex.split(words), "-o", str(page_file)])
        if code:
            return code
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": _WIDTH, "height": 900}, color_scheme="light")
            page.goto(page_file.as_uri())
            page.locator("html[data-ready]").wait_for(state="attached")
            box = page.locator(_LAST).first.bounding_box()
            assert box is not None
            height = box["y"] + box["height"] + _MARGIN
            clip = {"x": 0, "y": 0, "width": _WIDTH, "height": height}
            page.screenshot(path=picture, clip=clip, full_page=True)
            browser.close()
    return 0


def main(names: list[str]) -> int:
    """Draws the pictures, and returns 1 where a command has failed."""
    failed = 0
    for file, draw in pictures().items():
        if names and Path(file).name not in names:
            continue
        code = draw()
        size = (TOP / file).stat().st_size if (TOP / file).is_file() else 0
        print(f"{file}: {size} bytes, exit code {code}", flush=True)
        failed += code not in _DONE
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
