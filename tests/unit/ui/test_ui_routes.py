"""The guard refuses strangers, the routes refuse what is not allowed, the queue has a limit."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from starlette.testclient import TestClient

from planner.cli.form_fields import form_fields
from planner.results.estimate import Estimate
from planner.ui import jobs as jobs_module
from planner.ui.app import Setup, make_app
from planner.ui.guard import Secrets
from planner.ui.jobs import Limits
from planner.ui.runs import RunEnded

PORT = 8765
OWN = f"http://127.0.0.1:{PORT}"
COOKIE = f"planner_ui_{PORT}"
JOB = {"target": "net.py", "options": {"--gpu": "a100"}}


class PretendedRun:
    """A run that ends when it is ended, or as the name of its target says; starts no process."""

    saved: Estimate | None = None
    words: ClassVar[list[Sequence[str]]] = []

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._gone = asyncio.Event()

    @classmethod
    async def started(cls, command: str, words: Sequence[str], *, folder: Path) -> PretendedRun:
        cls.words.append(words)
        return cls(words)

    async def ended(self, on_line: Callable[[str], None]) -> RunEnded:
        on_line("a100: recording batch 8")
        target = self._words[1]
        if target == "wrong.py":
            return RunEnded(code=2, error="there is no model <img src=x onerror=alert(1)>")
        if target == "quick.py":
            assert self.saved is not None
            self.saved.save(self._words[-1].removeprefix("--save="))
            return RunEnded(code=3, error="")
        await self._gone.wait()
        return RunEnded(code=143, error="")

    async def end(self) -> None:
        self._gone.set()


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture
def stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secrets: Secrets, estimate: Estimate
) -> Iterator[TestClient]:
    """A client that knows no secret; two jobs at most: one runs, one waits."""
    monkeypatch.setattr(jobs_module, "Run", PretendedRun)
    monkeypatch.setattr(PretendedRun, "saved", estimate)
    monkeypatch.setattr(PretendedRun, "words", [])
    folder, results = tmp_path / "work", tmp_path / "results"
    folder.mkdir()
    results.mkdir()
    for name in ("net.py", "wrong.py", "quick.py"):
        (folder / name).write_text("def build_model(): ...\n")
    (tmp_path / "secret.py").write_text("")
    (folder / "link.py").symlink_to(tmp_path / "secret.py")
    setup = Setup(
        folder=folder,
        results=results,
        command="none",
        fields=form_fields(),
        limits=Limits(running=1, waiting=1, kept=3),
        secrets=secrets,
        port=PORT,
    )
    with TestClient(make_app(setup), base_url=OWN) as client:
        yield client


@pytest.fixture
def client(stranger: TestClient, secrets: Secrets) -> TestClient:
    """The same client, as the page is."""
    stranger.cookies.set(COOKIE, secrets.token)
    stranger.headers.update({"Origin": OWN, "X-Planner-Key": secrets.key})
    return stranger


def ask(client: TestClient, target: str, **options: Any) -> dict[str, Any]:
    answer = client.post("/api/jobs", json={"target": target, "options": options})
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()["job"]
    return job


def state_of(client: TestClient, name: str) -> str:
    (job,) = (one for one in client.get("/api/jobs").json()["jobs"] if one["id"] == name)
    return str(job["state"])


def until(client: TestClient, name: str, state: str) -> None:
    for _ in range(500):
        if state_of(client, name) == state:
            return
    raise AssertionError(f"{state_of(client, name)}, not {state}")


@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=wrong", "/api/jobs", "/static/app.js", "/api/events", "/x"]
)
def test_without_the_token_nothing_is_answered(stranger: TestClient, path: str) -> None:
    assert stranger.get(path).status_code == 403
    stranger.cookies.set(COOKIE, "wrong")
    assert stranger.get(path).status_code == 403


def test_the_token_in_the_address_gives_a_cookie_at_the_first_page_alone(
    stranger: TestClient, secrets: Secrets
) -> None:
    assert stranger.get(f"/api/jobs?token={secrets.token}").status_code == 403
    answer = stranger.get(f"/?token={secrets.token}")
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}={secrets.token};")
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert stranger.get("/api/jobs").status_code == 200
    assert "set-cookie" not in stranger.get("/").headers


def test_a_ticket_is_good_once(stranger: TestClient, secrets: Secrets) -> None:
    ticket = secrets.new_ticket()
    assert stranger.get(f"/?ticket={ticket}x").status_code == 403
    assert stranger.get(f"/?ticket={ticket}").status_code == 200
    stranger.cookies.clear()
    assert stranger.get(f"/?ticket={ticket}").status_code == 403
    assert stranger.get("/?ticket=").status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", f"[::1]:{PORT}"]
)
def test_other_hosts_are_refused(client: TestClient, host: str) -> None:
    del client.headers["Origin"]
    answer = client.get("/api/jobs", headers={"Host": host})
    assert (answer.status_code, answer.text) == (403, f"This server answers as {OWN[7:]} alone.\n")


def test_localhost_is_the_same_host(client: TestClient) -> None:
    own = {"Host": f"localhost:{PORT}", "Origin": f"http://localhost:{PORT}"}
    assert client.get("/api/jobs", headers=own).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        f"https://127.0.0.1:{PORT}",
        f"http://127.0.0.1:{PORT + 1}",
        f"http://localhost:{PORT}",
    ],
)
@pytest.mark.parametrize("path", ["/api/jobs", "/api/events", "/"])
def test_other_origins_are_refused(client: TestClient, origin: str, path: str) -> None:
    assert client.get(path, headers={"Origin": origin}).status_code == 403
    assert client.post("/api/jobs", json=JOB, headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_requests_of_other_sites_are_refused(client: TestClient, site: str) -> None:
    assert client.get("/api/events", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert client.get("/", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert client.post("/api/jobs", json=JOB, headers={"Sec-Fetch-Site": site}).status_code == 403


def test_a_link_elsewhere_may_lead_to_the_first_page(client: TestClient) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    del client.headers["Origin"]
    assert client.get("/", headers=link).status_code == 200
    framed = {**link, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    assert client.get("/", headers=framed).status_code == 403
    assert client.get("/api/jobs", headers=link).status_code == 403


def test_a_post_needs_origin_key_and_json(client: TestClient) -> None:
    assert client.post("/api/jobs", json=JOB, headers={"X-Planner-Key": "no"}).status_code == 403
    as_form = {"Content-Type": "text/plain"}
    assert client.post("/api/jobs", content="{}", headers=as_form).status_code == 415
    long = {**JOB, "more": "x" * (1 << 16)}
    assert client.post("/api/jobs", json=long).status_code == 413
    chunked = client.post(
        "/api/jobs", content=iter([b"{}"]), headers={"Content-Type": "application/json"}
    )
    assert chunked.status_code == 413
    assert client.request("PUT", "/api/jobs", json=JOB).status_code == 405
    assert client.request("OPTIONS", "/api/jobs").status_code == 405
    del client.headers["Origin"]
    assert client.post("/api/jobs", json=JOB).status_code == 403


def test_every_answer_is_private(client: TestClient) -> None:
    for path in ("/", "/api/jobs", "/static/app.css", "/none"):
        headers = client.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


def test_the_page_has_no_script_of_its_own(client: TestClient, secrets: Secrets) -> None:
    page = client.get("/").text
    assert secrets.key in page
    assert secrets.token not in page
    assert page.count("<script") == 1
    assert " style=" not in page
    assert " onclick" not in page


@pytest.mark.parametrize("target", ["../secret.py", "/etc/passwd", "link.py", "none.py", ""])
def test_paths_outside_the_folder_are_refused(client: TestClient, target: str) -> None:
    answer = client.post("/api/jobs", json={"target": target, "options": {}})
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert client.get("/api/names", params={"file": target}).status_code == 400
    assert PretendedRun.words == []


@pytest.mark.parametrize(
    "document",
    [[], {"target": 1}, {"target": "net.py", "options": []},
     {"target": "net.py", "options": {"--save": "x"}}],
)  # fmt: skip
def test_what_is_no_job_is_refused(client: TestClient, document: Any) -> None:
    assert client.post("/api/jobs", json=document).status_code == 400
    assert PretendedRun.words == []


def test_a_job_beyond_the_limit_is_refused(client: TestClient) -> None:
    first, second = ask(client, "net.py"), ask(client, "net.py")
    assert (first["state"], second["state"]) == ("running", "waiting")
    answer = client.post("/api/jobs", json=JOB)
    assert answer.status_code == 429
    assert "1 of at most 1 run and 1 of at most 1 wait" in answer.json()["error"]
    assert len(client.get("/api/jobs").json()["jobs"]) == 2
    cancelled = client.post(f"/api/jobs/{first['id']}/cancel", json={}).json()["job"]
    assert cancelled["state"] == "cancelled"
    until(client, second["id"], "running")  # the next one starts
    assert ask(client, "net.py")["state"] == "waiting"


def test_a_waiting_job_can_be_cancelled(client: TestClient) -> None:
    first, second = ask(client, "net.py"), ask(client, "net.py")
    client.post(f"/api/jobs/{second['id']}/cancel", json={})
    assert state_of(client, second["id"]) == "cancelled"
    assert state_of(client, first["id"]) == "running"
    assert client.post(f"/api/jobs/{first['id']}/remove", json={}).status_code == 409
    assert client.post("/api/jobs/none/cancel", json={}).status_code == 404


def test_a_result_is_shown_saved_compared_and_removed(client: TestClient) -> None:
    first = ask(client, "quick.py", **{"--gpu": "a100,t4", "--batch": "16"})
    until(client, first["id"], "done")
    assert PretendedRun.words[0][:4] == ["estimate", "quick.py", "--gpu=a100,t4", "--batch=16"]
    (job,) = client.get("/api/jobs").json()["jobs"]
    assert job["fits"] is False
    assert job["verdict"][0].startswith("a100: fits, 22.5 of 79.1 GiB")
    page = client.get(f"/results/{first['id']}")
    assert page.status_code == 200
    assert "A100" in page.text or "a100" in page.text
    assert "sandbox allow-scripts" in page.headers["content-security-policy"]
    file = client.get(f"/results/{first['id']}/file")
    assert file.headers["content-disposition"].startswith('attachment; filename="quick-')
    assert file.content[:2] == b"PK"
    second = ask(client, "quick.py")
    until(client, second["id"], "done")
    assert client.get(f"/results/{first['id']}/with/{second['id']}").status_code == 200
    assert client.get(f"/results/{first['id']}/with/none").status_code == 404
    client.post(f"/api/jobs/{first['id']}/remove", json={})
    assert client.get(f"/results/{first['id']}").status_code == 404
    assert client.get(f"/results/{first['id']}/file").status_code == 404


def test_a_failed_job_says_why_and_has_no_result(client: TestClient) -> None:
    job = ask(client, "wrong.py")
    until(client, job["id"], "failed")
    (found,) = client.get("/api/jobs").json()["jobs"]
    assert found["error"] == "there is no model <img src=x onerror=alert(1)>"
    assert found["lines"] == ["a100: recording batch 8"]
    assert client.get(f"/results/{job['id']}").status_code == 404


def test_old_results_are_dropped_with_their_files(client: TestClient, tmp_path: Path) -> None:
    names = []
    for _ in range(5):
        names.append(ask(client, "quick.py")["id"])
        until(client, names[-1], "done")
    kept = [job["id"] for job in client.get("/api/jobs").json()["jobs"]]
    assert kept == names[-3:]
    assert {path.name for path in (tmp_path / "results").iterdir()} == set(kept)
    assert zipfile.is_zipfile(tmp_path / "results" / kept[0] / "result.planner")


def test_lists_to_choose_from(client: TestClient) -> None:
    lists = client.get("/api/lists").json()
    assert lists["files"] == ["net.py", "quick.py", "wrong.py"]
    assert "hf:openai-community/gpt2" in lists["catalog"]
    assert {"id": "t4", "name": "Tesla T4"} in lists["cards"]
    assert client.get("/api/names", params={"file": "net.py"}).json() == {"names": ["build_model"]}
    assert client.get("/static/index.html").status_code == 404
    assert client.get("/static/..%2fapp.py").status_code == 404
