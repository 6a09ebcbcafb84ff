"""Measures the page of a saved result in a browser: its size, and the time of each redraw.

    python -m benchmarks.report_page RESULT [--rounds 20]

In: a file of `planner estimate --save`, chromium and the package playwright. Out: bytes of the page
and of its data, and milliseconds: from a move of the slider to the new timeline and to all that
follows it, of a step of the zoom, and of a move of the pointer; layout is in them, paint is not.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.render.html.page import page_of
from planner.results.saved_file import load

CHROMIUM = "/usr/bin/chromium"
_IDLE_MS = 2000  # before the slider is moved for the first time
_SLIDER = """async (place) => {
    const panel = planner.panels[0], holder = panel.root.querySelector("[data-part=timeline]");
    let drawn = null;
    const began = performance.now();
    new MutationObserver((_, watch) => {
        holder.offsetHeight;
        drawn = performance.now() - began;
        watch.disconnect();
    }).observe(holder, { childList: true });
    panel.slider.value = place;
    panel.slider.dispatchEvent(new Event("input"));
    await panel.ready;
    panel.root.offsetHeight;
    return [drawn, performance.now() - began];
}"""
_ZOOM = """(factor) => {
    const began = performance.now(), { chart, root } = planner.panels[0];
    chart.zoom(factor);
    root.offsetHeight;
    return performance.now() - began;
}"""
_HOVER = """(share) => {
    const began = performance.now(), { chart, root } = planner.panels[0];
    chart.at(chart.columns.highest[Math.floor(share * (chart.width - 1))]);
    root.offsetHeight;
    return performance.now() - began;
}"""


def main(words: Sequence[str] | None = None) -> int:
    """Prints the figures of one page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args(words)
    text = page_of(load(asked.result))
    data = text.partition('id="planner-data">')[2].partition("</script>")[0]
    print(f"page {len(text.encode()) / 1e6:.2f} MB, its data {len(data) / 1e6:.2f} MB")
    with tempfile.TemporaryDirectory(prefix="planner-page-") as folder:
        file = Path(folder) / "page.html"
        file.write_text(text, encoding="utf-8")
        _measure(file, asked.rounds)
    return 0


def _measure(file: Path, rounds: int) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(file.as_uri())
        page.locator("html[data-ready]").wait_for(state="attached")
        print(f"opened {page.evaluate('performance.now()'):.0f} ms after the start of the page")
        page.wait_for_timeout(_IDLE_MS)
        count = page.evaluate("planner.panels[0].card.batches.length")
        requests = page.evaluate("planner.panels[0].timeline.count")
        print(f"{requests} requests in the run, {count} batches")
        for label in ("first visit", "second visit"):
            moves = [page.evaluate(_SLIDER, place) for place in range(count)]
            _say(f"slider, {label}: timeline", [drawn for drawn, _ in moves])
            _say(f"slider, {label}: everything", [whole for _, whole in moves])
        zooms = [page.evaluate(_ZOOM, 0.5 if at % 2 else 2) for at in range(rounds)]
        _say("zoom", zooms)
        _say("hover", [page.evaluate(_HOVER, at / rounds) for at in range(rounds)])
        browser.close()


def _say(label: str, times_ms: list[Any]) -> None:
    middle, most = statistics.median(times_ms), max(times_ms)
    print(f"{label}: {middle:.1f} ms in the middle, {most:.1f} ms at most, of {len(times_ms)}")


if __name__ == "__main__":
    raise SystemExit(main())
