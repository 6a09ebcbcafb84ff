"""The page of `planner ui` in a real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.child_runs import WriteModel
from tests.integration.real_browser import NEEDS_CHROMIUM, chromium, playwright
from tests.integration.ui_server import Server, server

pytestmark = NEEDS_CHROMIUM
if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "<img src=x onerror=alert(1)>.py"
TINY = """
    def build_model():
        return nn.Linear(8, 2)
    def build_batch(batch_size):
        return torch.randn(batch_size, 8), torch.randint(0, 2, (batch_size,))
"""
FOREVER = """
    import time
    def build_model():
        time.sleep(1000)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def running(tmp_path: Path, write_model: WriteModel) -> Iterator[Server]:
    """A server of real estimates, with a model that ends and one that does not."""
    write_model(TINY, f"work/{HOSTILE}")
    write_model(TINY, "work/tiny.py")
    write_model(FOREVER, "work/forever.py")
    with server(tmp_path / "work", tmp_path / "tmp") as found:
        yield found


@pytest.fixture
def page(browser: Browser, running: Server) -> Iterator[Page]:
    """The page, opened at its address; fails if the console has an error or a dialog came."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    found, complaints = context.new_page(), []
    found.on("console", lambda one: complaints.append(one.text) if one.type == "error" else None)
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("dialog", lambda one: (complaints.append(one.message), one.dismiss()))
    found.on(
        "request",
        lambda one: complaints.append(one.url) if "//127.0.0.1:" not in one.url else None,
    )
    found.goto(running.address)
    found.locator("#targets option").nth(100).wait_for(state="attached")
    yield found
    context.close()
    assert complaints == []


def state(page: Page, number: int) -> playwright.Locator:
    """The state of a job; the newest is 0."""
    return page.locator("#jobs > li .state").nth(number)


def ask(page: Page, target: str, **options: str) -> None:
    """Asks by the keyboard alone."""
    page.focus("#target")
    page.keyboard.press("Control+a")
    page.keyboard.type(target)
    for name, value in options.items():
        page.focus(f"[data-name='--{name}']")
        page.keyboard.press("Control+a")
        page.keyboard.type(value)
    page.keyboard.press("Enter")


def test_a_file_is_chosen_run_watched_shown_and_compared(page: Page, running: Server) -> None:
    expect = playwright.expect
    assert "token" not in page.url
    ask(page, HOSTILE, gpu="t4")
    expect(page.locator("#jobs progress")).to_be_visible()
    expect(page.locator("#jobs .log summary")).to_contain_text("t", timeout=30_000)
    expect(state(page, 0)).to_contain_text("fits, in", timeout=120_000)
    expect(page.locator("#jobs h3")).to_have_text(HOSTILE)
    expect(page.locator("#jobs .verdict li").first).to_contain_text("t4: fits, ")
    expect(page.locator("#view")).to_be_visible()
    expect(page.frame_locator("#frame").locator("body")).to_contain_text("training with batch 8")
    assert page.evaluate("document.images.length") == 0
    ask(page, "tiny.py", batch="16")
    expect(page.locator("#jobs > li")).to_have_count(2)  # until then the newest is the first job
    expect(state(page, 0)).to_contain_text("fits, in", timeout=120_000)
    for box in page.locator("#jobs .pick input").all():
        box.focus()
        page.keyboard.press("Space")
    page.focus("#compare")
    page.keyboard.press("Enter")
    expect(page.locator("#view-title")).to_have_text(f"tiny.py and {HOSTILE}")
    expect(page.frame_locator("#frame").locator("body")).to_contain_text("with batch 16")
    expect(page.frame_locator("#frame").locator("body")).to_contain_text("with batch 8")
    with page.expect_download() as saved:
        page.locator("#jobs .file").first.click()
    assert saved.value.suggested_filename.startswith("tiny-")
    page.reload()  # the cookie is enough, and the history is still there
    expect(page.locator("#jobs > li")).to_have_count(2)


def test_a_job_is_cancelled_and_what_is_wrong_is_said(page: Page) -> None:
    expect = playwright.expect
    ask(page, "forever.py", gpu="t4")
    expect(page.locator("#jobs .cancel")).to_be_visible()
    page.focus("#jobs .cancel")
    page.keyboard.press("Enter")
    expect(state(page, 0)).to_have_text("cancelled", timeout=20_000)
    ask(page, "tiny.py", batch="0")
    expect(page.locator("#form-error")).to_contain_text("--batch")
    page.click("button[type=reset]")
    expect(page.locator("#form-error")).to_be_hidden()
    ask(page, "tiny.py", gpu="a1000000")
    expect(state(page, 0)).to_contain_text("failed", timeout=60_000)
    expect(page.locator("#jobs pre.error").first).to_contain_text("a1000000")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_cut_off(page: Page, width: int, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    for group in page.locator("form details").all():
        group.evaluate("one => { one.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    sizes = page.evaluate(
        "[...document.querySelectorAll('button:enabled, select, input[type=text]')]"
        ".filter(one => one.offsetParent).map(one => one.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 40  # pixels: a thumb


def test_a_results_page_runs_its_own_script_alone_and_reaches_nothing(
    browser: Browser, running: Server
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(running.address)
    ask(page, "tiny.py", gpu="t4")
    playwright.expect(state(page, 0)).to_contain_text("fits, in", timeout=120_000)
    playwright.expect(page.frame_locator("#frame").locator("body")).to_contain_text("batch 8")
    _, frame = page.frames
    base = running.address.partition("?")[0]
    address = frame.url
    assert address.startswith(f"{base}results/")
    alone = context.new_page()
    alone.goto(address)
    for one in (frame, alone.main_frame):
        one.wait_for_selector("html[data-ready=yes]")  # its own script has run
        script = "s => { const e = document.createElement('script'); e.textContent = 'ran = 1'; "
        assert one.evaluate(f"{script} document.body.append(e); return window.ran; }}") is None
        assert one.evaluate("self.origin") == "null"
        reach = "u => fetch(u, {credentials: 'include'}).then(() => 'read', () => 'refused')"
        for url in (f"{base}api/jobs", address, "http://example.com/"):
            assert one.evaluate(reach, url) == "refused"
    context.close()


def test_a_page_at_another_port_cannot_use_the_cookie(browser: Browser, running: Server) -> None:
    """A browser sends cookies to each port of a host, and takes the ports for one site."""
    context = browser.new_context()
    own = context.new_page()
    own.goto(running.address)
    base = running.address.partition("?")[0]
    body = f"<iframe src='{base}'></iframe><img id=a src='{base}static/icon.svg'>"
    with elsewhere(body) as address:
        other, answers = context.new_page(), []
        other.on("response", lambda one: answers.append(one.status) if base in one.url else None)
        other.goto(address)
        for act in (
            "fetch(u, {mode: 'no-cors', credentials: 'include'}).catch(() => 0)",
            "fetch(u + 'api/jobs', {method: 'POST', credentials: 'include', body: '{}'})"
            ".then(() => 'read', () => 0)",
            "new Promise((end) => { const s = new EventSource(u + 'api/events', "
            "{withCredentials: 1}); s.onerror = () => end(0); s.onopen = () => end('read'); })",
        ):
            assert other.evaluate(f"u => {act}", base) != "read"
        assert other.evaluate("document.getElementById('a').naturalWidth") == 0
    assert answers == [403]  # of the frame; what else came, the browser did not hand over
    playwright.expect(own.locator("#jobs > li")).to_have_count(0)
    context.close()


@contextmanager
def elsewhere(body: str) -> Iterator[str]:
    """Yields the address of a page with that body, at another port of this machine."""

    class OnePage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), OnePage) as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{one.server_port}/"
        one.shutdown()
        thread.join()
