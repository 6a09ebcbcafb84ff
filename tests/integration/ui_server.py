"""A server of `planner ui` as a process of its own, and what /proc says of its family."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from planner.machine.processes import living_processes

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MARK = "PLANNER_UI_TEST"
_PRETENDED = """
import sys
from pathlib import Path
from planner.cli.form_fields import form_fields
from planner.cli.process import end_in_order
from planner.ui.jobs import Limits
from planner.ui.server import serve
end_in_order()
serve(Path(sys.argv[1]).resolve(), fields=form_fields(), command="pretended_planner",
      limits=Limits(kept=5), port=0, opens_browser=False,
      on_ready=lambda address: print(address, flush=True))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: its process, its address with the token, and the mark of its family."""

    process: subprocess.Popen[str]
    address: str
    mark: str
    temporary: Path

    def family(self) -> list[int]:
        """Returns the living processes that the server has started, and itself."""
        found = []
        for entry in living_processes():
            try:
                variables = Path(f"/proc/{entry.pid}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"{MARK}={self.mark}".encode() in variables:
                found.append(entry.pid)
        return found

    def descriptors(self) -> list[str]:
        """Returns what the open descriptors of the server are, sockets and pipes without number."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        return sorted(re.sub(r"\[\d+\]", "", os.readlink(one)) for one in folder.iterdir())

    @contextmanager
    def page(self) -> Iterator[Page]:
        """Yields a client that has opened the page."""
        base = self.address.partition("?")[0].rstrip("/")
        with httpx.Client(base_url=base, timeout=30) as client:
            text = client.get(self.address).raise_for_status().text
            (key,) = re.findall(r'name="planner-key" content="([^"]+)"', text)
            yield Page(client=client, headers={"Origin": base, "X-Planner-Key": key})


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A client with the cookie and the key of a page."""

    client: httpx.Client
    headers: dict[str, str]

    def post(self, path: str, body: object) -> httpx.Response:
        """Posts as the page does."""
        return self.client.post(path, json=body, headers=self.headers)

    def ask(self, target: str, **options: object) -> str:
        """Starts a job; returns its id."""
        answer = self.post("/api/jobs", {"target": target, "options": options}).raise_for_status()
        return str(answer.json()["job"]["id"])

    def job(self, name: str) -> dict[str, Any]:
        """Returns a job."""
        jobs = self.client.get("/api/jobs").json()["jobs"]
        return next(job for job in jobs if job["id"] == name)

    def events(self) -> Iterator[dict[str, Any]]:
        """Yields the messages of the stream."""
        with self.client.stream("GET", "/api/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))


@contextmanager
def server(
    folder: Path, temporary: Path, *words: str, result: Path | None = None
) -> Iterator[Server]:
    """Yields a server of `planner ui`; of a pretended command if its `result` is given."""
    temporary.mkdir(exist_ok=True)
    mark = uuid.uuid4().hex
    environment = {
        **os.environ,
        MARK: mark,
        "TMPDIR": str(temporary),
        "PYTHONPATH": f"{ROOT}:{HERE}",
        "PRETENDED_RESULT": str(result),
    }
    command = [sys.executable, "-m", "planner", "ui", "--no-browser", str(folder)]
    if result is not None:
        command = [sys.executable, "-c", _PRETENDED, str(folder)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        found = Server(
            process=process,
            address=process.stdout.readline().strip(),
            mark=mark,
            temporary=temporary,
        )
        try:
            assert found.address, process.stderr and process.stderr.read()
            yield found
        finally:
            process.kill()
            for pid in found.family():
                os.kill(pid, signal.SIGKILL)


def wait_for(is_so: Callable[[], object], seconds: float) -> None:
    """Waits until it is so; fails after that time."""
    end_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end_s, f"not after {seconds} s"
        time.sleep(0.05)
