"""The page of `planner report` in a real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import planner
from planner.render.html.page import page_of
from planner.results.estimate import Estimate
from planner.results.result import Result
from planner.results.timelines import timelines_of
from tests.integration.real_browser import NEEDS_CHROMIUM, chromium
from tests.unit.cli.test_advise import made_advice
from tests.unit.cli.test_curve_and_compare import made_comparison, made_curve
from tests.unit.cli.test_parallelize import made_parallelization

pytestmark = NEEDS_CHROMIUM
if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "<img src=x onerror=alert(1)>"
MODEL = f"""
import torch
from torch import nn

def build_model():
    model = nn.Sequential(nn.Linear(784, 1024), nn.ReLU())
    model.add_module({HOSTILE!r}, nn.Linear(1024, 1024))
    model.add_module("last", nn.Linear(1024, 10))
    return model

def build_batch(batch_size):
    return torch.randn(batch_size, 784)
"""
OTHERS = {
    "curve": made_curve, "compare": made_comparison, "advise": made_advice,
    "parallelize": made_parallelization,
}  # fmt: skip
A4_PIXELS = 703  # 210 mm less the margins of the page, at 96 for an inch
LOOKS = [(width, scheme) for width in (390, 1440) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose file and one of whose layers are named as an attack."""
    file = tmp_path_factory.mktemp("model") / f"{HOSTILE}.py"
    file.write_text(MODEL)
    return file


@pytest.fixture(scope="module")
def result(model_file: Path) -> Estimate:
    """A real result with recordings of three more batches."""
    return planner.estimate(str(model_file), gpu="t4", batch_size=64, keep_batches=3)


@pytest.fixture(scope="module")
def files(result: Estimate, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a result of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    results: dict[str, Result] = {name: made() for name, made in OTHERS.items()}
    results["estimate"] = result
    for name, one in results.items():
        (folder / f"{name}.html").write_text(page_of(one), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in results}


@contextmanager
def opened(
    browser: Browser, file: Path, width: int = 1440, scheme: Any = "light"
) -> Iterator[Page]:
    """Yields the page once it is drawn; fails if it complained, asked the network, or had a dialog.

    A breach of the page's policy is an error of the console.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, complaints = context.new_page(), []
    page.on(
        "console",
        lambda one: complaints.append(one.text) if one.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda one: (complaints.append(one.message), one.dismiss()))
    page.on(
        "request",
        lambda one: (
            complaints.append(one.url)
            if one.url != file.as_uri() and not one.url.startswith("data:")
            else None
        ),
    )
    page.goto(file.as_uri())
    page.locator("html[data-ready]").wait_for(state="attached")
    yield page
    context.close()
    assert complaints == []


def go_to_batch(page: Page, place: int) -> None:
    """Moves the slider, and waits for all that follows it."""
    page.evaluate(
        """async (place) => {
            const panel = planner.panels[0];
            panel.slider.value = place;
            panel.slider.dispatchEvent(new Event("input"));
            await panel.ready;
        }""",
        place,
    )


def highest(page: Page) -> int:
    """The highest level that the timeline shows at the present zoom."""
    return int(page.locator("svg[data-highest-bytes]").get_attribute("data-highest-bytes") or -1)


def test_the_page_needs_nothing_and_shows_texts_as_texts(
    browser: Browser, files: dict[str, Path]
) -> None:
    with opened(browser, files["estimate"]) as page:
        assert page.locator("img").count() == 0
        assert HOSTILE in page.locator("h1").inner_text()
        layer = page.locator("#planner-data").text_content() or ""
        assert "\\u003cimg" in layer
        for by in ("module", "category"):
            page.click(f"[data-by={by}]")
            texts = page.locator("[data-part=treemap], [data-part=parts]").all_text_contents()
            assert HOSTILE in "".join(texts)
        assert page.locator("img").count() == 0
        assert f"{HOSTILE}.weight" in page.locator("[data-part=largest]").inner_text()
        ran = "const s = document.createElement('script'); s.textContent = 'ran = 1'"
        # The policy is in force: a script that came in later is refused.
        tried = browser.new_page()
        tried.goto(files["estimate"].as_uri())
        assert (
            tried.evaluate(f"() => {{ {ran}; document.body.append(s); return window.ran }}") is None
        )
        assert tried.evaluate("fetch('http://127.0.0.1:9/').then(() => 1, () => 0)") == 0
        tried.close()


def test_a_batch_of_the_slider_has_the_figures_of_an_estimate_at_it(
    browser: Browser, files: dict[str, Path], result: Estimate, model_file: Path
) -> None:
    found = timelines_of(result)
    places = {batch: place for place, batch in enumerate(found.batches())}
    recorded = sorted(one.value for one in found.recorded if one.value in places)
    chosen = [recorded[0], recorded[len(recorded) // 2], recorded[-1]]
    assert len(set(chosen)) == 3
    with opened(browser, files["estimate"]) as page:
        for batch in chosen:
            (card,) = planner.estimate(
                str(model_file), gpu="t4", batch_size=batch, max_batch=False
            ).gpus
            go_to_batch(page, places[batch])
            verdict = page.locator("[data-part=verdict]")
            assert verdict.get_attribute("data-peak-allocated-bytes") == str(
                card.peak_allocated_bytes
            )
            assert verdict.get_attribute("data-device-total-bytes") == str(card.device_total_bytes)
            assert verdict.get_attribute("data-verdict") == ("fits" if card.fits else "not")
            assert page.locator("[data-figure=batch]").first.inner_text() == f"{batch:,}"
            assert highest(page) == card.peak_allocated_bytes


def test_the_highest_point_is_exact_at_each_zoom(
    browser: Browser, files: dict[str, Path], result: Estimate
) -> None:
    timeline = timelines_of(result).at(64).timeline
    levels, level = [], 0
    for change in timeline.changes_bytes:
        level += change
        levels.append(level)
    peak = result.gpus[0].peak_allocated_bytes
    with opened(browser, files["estimate"], width=390) as page:
        chart = page.locator("svg[data-highest-bytes]")
        assert (highest(page), max(levels)) == (peak, peak)
        page.click("[data-part=zoom-peak]")
        assert highest(page) == peak
        page.click("[data-part=zoom-whole]")
        page.evaluate("planner.panels[0].chart.zoomTo(0, 12)")
        begin, end = (int(chart.get_attribute(f"data-{one}") or -1) for one in ("begin", "end"))
        assert (begin, end) == (0, 12)
        assert highest(page) == max(levels[begin:end]) < peak


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("name", ["estimate", *OTHERS])
def test_nothing_is_cut_off(
    browser: Browser, files: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    with opened(browser, files[name], width, scheme) as page:
        assert page.locator("html").get_attribute("data-theme") == scheme
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        charts = page.locator("[data-chart]").count()
        assert page.locator("[data-chart] svg").count() >= charts
        beyond = page.evaluate(
            """[...document.querySelectorAll("[data-chart] svg text")].filter((text) => {
                const box = text.getBoundingClientRect();
                const of = text.closest("svg").getBoundingClientRect();
                return box.width && (box.left < of.left - 1 || box.right > of.right + 1);
            }).map((text) => text.textContent)"""
        )
        assert beyond == []


CONTROLS = (
    "button:visible:not([aria-pressed=true], .crumb, .group), input:visible, select:visible, "
    "summary:visible"
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["estimate", *OTHERS])
def test_paper_has_no_controls_and_all_of_each_chart(
    browser: Browser, files: dict[str, Path], name: str, scheme: str
) -> None:
    with opened(browser, files[name], scheme=scheme) as page:
        on_screen = page.locator(CONTROLS).count()
        page.emulate_media(media="print", color_scheme=scheme)
        assert (on_screen > 0, page.locator(CONTROLS).count()) == (True, 0)
        page.set_viewport_size({"width": A4_PIXELS, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        beyond = page.evaluate(
            """[...document.querySelectorAll("svg, .treemap, td, th, .meter, li, p")].filter(
                (one) => one.getBoundingClientRect().right > innerWidth + 1
                    || one.scrollWidth > one.clientWidth + 1 && one.matches("td, th"),
            ).map((one) => one.outerHTML.slice(0, 200))"""
        )
        assert beyond == []
        ink = page.evaluate("getComputedStyle(document.body).color")
        assert ink == "rgb(28, 36, 48)"  # dark letters: paper is white


def test_a_print_is_a_few_pages(browser: Browser, files: dict[str, Path]) -> None:
    with opened(browser, files["estimate"]) as page:
        printed = page.pdf(format="A4")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 5


@cache
def axe_script() -> str:
    """The rules of axe-core; the package is not imported, only its file is read."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-playwright-python is not installed")
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["estimate", *OTHERS])
def test_axe_finds_nothing_serious(
    browser: Browser, files: dict[str, Path], name: str, scheme: str
) -> None:
    script = axe_script()
    with opened(browser, files[name], scheme=scheme) as page:
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        page.evaluate(script)
        found = page.evaluate(
            """axe.run().then((all) => [all.passes.length, all.violations.map((one) =>
                [one.impact, one.id, one.nodes.map((node) => node.html.slice(0, 200))])])"""
        )
    passes, faults = found
    assert passes > 10  # it did look
    assert [one for one in faults if one[0] in ("serious", "critical")] == []
