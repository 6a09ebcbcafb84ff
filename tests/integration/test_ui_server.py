"""`planner ui` as a process: however it ends, and however many jobs it ran, nothing is left."""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from planner.results.estimate import Estimate
from tests.integration.child_runs import WriteModel
from tests.integration.ui_server import Page, Server, server, wait_for

FOREVER = """
    import subprocess, sys, time
    def build_model():
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        print("the model is here", file=sys.stderr, flush=True)
        time.sleep(1000)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with targets of the pretended command."""
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("quick.py", "stubborn.py"):
        (folder / name).write_text("")
    return folder


@pytest.fixture
def result(tmp_path: Path, estimate: Estimate) -> Path:
    """A saved result."""
    estimate.save(tmp_path / "x.planner")
    return tmp_path / "x.planner"


def started(page: Page, target: str, says: str) -> str:
    """Starts a job, and waits for a line of it."""
    name = page.ask(target, **{"--gpu": "t4"})
    wait_for(lambda: any(says in line for line in page.job(name)["lines"]), 60)
    return name


def alone(found: Server) -> bool:
    """Whether the server has no other process."""
    return set(found.family()) <= {found.process.pid}


@pytest.mark.slow
def test_a_killed_server_leaves_no_child(tmp_path: Path, write_model: WriteModel) -> None:
    write_model(FOREVER, "work/net.py")
    with server(tmp_path / "work", tmp_path / "tmp") as found, found.page() as page:
        started(page, "net.py", "the model is here")
        # server, supervisor, planner, supervisor of the model, the model, its sleep
        assert len(found.family()) >= 6
        found.process.kill()
        wait_for(lambda: not found.family(), 15)


@pytest.mark.slow
def test_a_cancelled_job_leaves_no_child(tmp_path: Path, write_model: WriteModel) -> None:
    write_model(FOREVER, "work/net.py")
    with server(tmp_path / "work", tmp_path / "tmp") as found, found.page() as page:
        name = started(page, "net.py", "the model is here")
        assert page.post(f"/api/jobs/{name}/cancel", {}).json()["job"]["state"] == "cancelled"
        assert alone(found)


def test_a_job_that_does_not_listen_is_ended_too(
    folder: Path, tmp_path: Path, result: Path
) -> None:
    with server(folder, tmp_path / "tmp", result=result) as found, found.page() as page:
        name = started(page, "stubborn.py", "recording")
        assert len(found.family()) == 4  # server, supervisor, command, its sleep
        page.post(f"/api/jobs/{name}/cancel", {})
        assert alone(found)
        started(page, "stubborn.py", "recording")
        found.process.kill()
        wait_for(lambda: not found.family(), 15)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(
    folder: Path, tmp_path: Path, result: Path, number: signal.Signals
) -> None:
    with server(folder, tmp_path / "tmp", result=result) as found, found.page() as page:
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(one["kind"] for one in page.events()))
        reader.start()
        with found.page() as other:
            started(other, "stubborn.py", "recording")
        found.process.send_signal(number)
        assert found.process.wait(20) == 0
        reader.join(5)
        assert said[0] == "all"
        assert said[-1] == "closed"
        assert not found.family()
        assert list(found.temporary.iterdir()) == []


def test_fifty_jobs_leak_nothing(folder: Path, tmp_path: Path, result: Path) -> None:
    """Their command saves a result and leaves a process in a session of its own behind."""
    with server(folder, tmp_path / "tmp", result=result) as found, found.page() as page:
        before: list[str] = []
        for number in range(50):
            name = page.ask("quick.py", **{"--batch": number + 1})
            wait_for(lambda name=name: page.job(name)["state"] == "done", 20)  # type: ignore[misc]
            assert page.client.get(f"/results/{name}").status_code == 200
            assert alone(found)
            if number == 1:
                before = found.descriptors()
        wait_for(lambda: found.descriptors() == before, 5)
        (own,) = found.temporary.iterdir()
        jobs = {job["id"] for job in page.client.get("/api/jobs").json()["jobs"]}
        assert len(jobs) == 5
        assert {path.name for path in own.iterdir()} == {*jobs, "lock"}
        found.process.send_signal(signal.SIGINT)
        assert found.process.wait(20) == 0
        assert list(found.temporary.iterdir()) == []


def test_what_a_killed_server_has_left_is_removed_by_the_next(
    folder: Path, tmp_path: Path, result: Path
) -> None:
    with server(folder, tmp_path / "tmp", result=result) as first:
        with server(folder, tmp_path / "tmp", result=result) as second:
            assert len(list(first.temporary.iterdir())) == 2  # that of a living one stays
            second.process.kill()
            second.process.wait()
        with server(folder, tmp_path / "tmp", result=result):
            assert len(list(first.temporary.iterdir())) == 2


def test_progress_comes_as_events(folder: Path, tmp_path: Path, result: Path) -> None:
    with server(folder, tmp_path / "tmp", result=result) as found, found.page() as page:
        events = page.events()
        assert next(events) == {"kind": "all", "jobs": []}
        with found.page() as other:
            name = other.ask("quick.py")
        seen = []
        for event in events:
            seen.append(event["job"]["state"] if event["kind"] == "job" else event["text"])
            if seen[-1] == "done":
                break
        assert seen == ["waiting", "running", "t4: recording batch 8", "done"]
        assert event["job"]["id"] == name


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "planner", "ui", str(tmp_path), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr
    assert done.stdout == ""


def test_it_listens_at_this_machine_alone(folder: Path, tmp_path: Path, result: Path) -> None:
    with server(folder, tmp_path / "tmp", result=result) as found:
        port = int(found.address.partition("127.0.0.1:")[2].partition("/")[0])
        lines = [
            line.split()[1]
            for name in ("tcp", "tcp6")
            for line in Path(f"/proc/{found.process.pid}/net/{name}").read_text().splitlines()[1:]
            if line.split()[3] == "0A"  # listens
        ]
        assert [one for one in lines if one.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]
        with socket.socket(socket.AF_INET) as stranger:
            stranger.settimeout(2)
            assert stranger.connect_ex(("127.0.0.2", port)) == errno.ECONNREFUSED
