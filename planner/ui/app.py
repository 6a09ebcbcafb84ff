"""The routes: the page, its lists, jobs and their results.

In: requests that the guard has let through. Out: HTML, JSON, and a stream of events. Convention:
a route has no logic of its own; what is refused is answered in words, as {"error": ...}.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from planner import __version__
from planner.errors import PlannerError, UsageError
from planner.hardware.database import load_gpus
from planner.memory.card_words import ALL_CARDS, OWN_CARD
from planner.render.outside_text import shown
from planner.ui.fields import FormField, option_words
from planner.ui.guard import MOST_BODY_BYTES, RESULT_POLICY, Guard, Secrets
from planner.ui.jobs import Job, JobQueue, JobRequest, JobState, Limits, QueueFullError
from planner.ui.kept_results import KeptResults
from planner.ui.targets import catalog_targets, checked_target, model_files, names_in

_ASSETS = {"app.js": "text/javascript", "app.css": "text/css", "icon.svg": "image/svg+xml"}
_BEAT_S = 15.0  # a stream that says nothing for longer may be cut by a proxy
# Fields that most people need; the others are in groups below them.
_FIRST = (
    "--gpu", "--batch", "--seq", "--precision", "--optimizer", "--checkpoint-activations",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a server serves: the folder of models and of results, the command, its options.

    `defaults_note` returns a line on the defaults that are in force in the folder, or "".
    """

    folder: Path
    results: Path
    command: str
    fields: Sequence[FormField]
    limits: Limits
    secrets: Secrets
    port: int
    defaults_note: Callable[[], str] = str


def make_app(setup: Setup) -> Starlette:
    """Returns the application with its guard."""
    results = KeptResults(setup.results)
    jobs = JobQueue(
        command=setup.command, folder=setup.folder, results=results, limits=setup.limits
    )
    routes = _Routes(setup, jobs, results)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await jobs.close()

    app = Starlette(
        routes=routes.table(),
        middleware=[Middleware(Guard, secrets=setup.secrets, port=setup.port)],
        exception_handlers={UsageError: _refused, QueueFullError: _full, PlannerError: _failed},
        lifespan=lifespan,
    )
    app.state.jobs = jobs
    return app


class _Routes:
    """The endpoints of one server."""

    def __init__(self, setup: Setup, jobs: JobQueue, results: KeptResults) -> None:
        self._setup = setup
        self._jobs = jobs
        self._results = results
        self._drawing = asyncio.Lock()  # a page of a large model takes a second of one processor
        self._templates = Environment(
            loader=PackageLoader("planner.ui", "page"), autoescape=True, undefined=StrictUndefined
        )

    def table(self) -> list[Route]:
        """Returns the routes."""
        return [
            Route("/", self.page),
            Route("/static/{name}", self.asset),
            Route("/api/lists", self.lists),
            Route("/api/names", self.names),
            Route("/api/events", self.events),
            Route("/api/jobs", self.all_jobs, methods=["GET"]),
            Route("/api/jobs", self.new_job, methods=["POST"]),
            Route("/api/jobs/{job}/cancel", self.cancel, methods=["POST"]),
            Route("/api/jobs/{job}/remove", self.remove, methods=["POST"]),
            Route("/results/{job}", self.result),
            Route("/results/{job}/with/{other}", self.result),
            Route("/results/{job}/file", self.file),
        ]

    async def page(self, request: Request) -> Response:
        """The page, with a form of the options."""
        fields = self._setup.fields
        groups: dict[str, list[FormField]] = {}
        for field in fields:
            if field.name not in _FIRST:
                groups.setdefault(field.heading, []).append(field)
        by_name = {field.name: field for field in fields}
        text = self._templates.get_template("index.html").render(
            key=self._setup.secrets.key,
            note=shown(await run_in_threadpool(self._setup.defaults_note)),
            folder=shown(str(self._setup.folder)),
            first=[by_name[name] for name in _FIRST if name in by_name],
            groups=groups,
            version=__version__,
        )
        return HTMLResponse(text)

    async def asset(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params["name"]
        if name not in _ASSETS:
            return _error("there is no such file", 404)
        data = (files("planner.ui") / "page" / name).read_bytes()
        return Response(data, media_type=_ASSETS[name])

    async def lists(self, request: Request) -> Response:
        """Model files, models of the catalog, and cards to choose from."""
        folder = self._setup.folder
        return JSONResponse(
            {
                "files": await run_in_threadpool(model_files, folder),
                "catalog": await run_in_threadpool(catalog_targets),
                "cards": await run_in_threadpool(_cards),
            }
        )

    async def names(self, request: Request) -> Response:
        """Functions and classes of a file."""
        file = request.query_params.get("file", "")
        return JSONResponse({"names": await run_in_threadpool(names_in, self._setup.folder, file)})

    async def all_jobs(self, request: Request) -> Response:
        """All jobs, oldest first."""
        return JSONResponse({"jobs": [job.to_dict() for job in self._jobs.jobs()]})

    async def new_job(self, request: Request) -> Response:
        """Starts a job, or lets it wait."""
        document = await _document(request)
        target = document.get("target")
        options = document.get("options", {})
        if not isinstance(target, str) or not isinstance(options, dict):
            raise UsageError("a job is {target: text, options: {name: value}}")
        word = await run_in_threadpool(checked_target, self._setup.folder, target)
        words = option_words(self._setup.fields, options)
        job = self._jobs.add(JobRequest(target=word, options=tuple(words)))
        return JSONResponse({"job": job.to_dict()}, 201)

    async def cancel(self, request: Request) -> Response:
        """Ends a job that waits or runs."""
        job = self._job(request)
        if job is None:
            return _error("there is no such job", 404)
        await self._jobs.cancel(job)
        return JSONResponse({"job": job.to_dict()})

    async def remove(self, request: Request) -> Response:
        """Forgets a job that is over."""
        job = self._job(request)
        if job is None:
            return _error("there is no such job", 404)
        if not job.state.is_over:
            return _error("it is not over: cancel it first", 409)
        self._jobs.remove(job)
        return JSONResponse({})

    async def result(self, request: Request) -> Response:
        """The page of a result, or of two side by side."""
        jobs = [self._job(request, key) for key in ("job", "other") if key in request.path_params]
        done = [job.id for job in jobs if job is not None and job.state is JobState.DONE]
        if len(done) < len(jobs):
            return _error("there is no such result", 404)
        async with self._drawing:
            text = await run_in_threadpool(self._results.page, *done)
        headers = {
            "Content-Security-Policy": RESULT_POLICY,
            # A page in a sandbox may not be its own window else (HTML, "final sandboxing flags").
            "Cross-Origin-Opener-Policy": "unsafe-none",
        }
        return HTMLResponse(text, headers=headers)

    async def file(self, request: Request) -> Response:
        """The saved result, for `planner show`."""
        job = self._job(request)
        if job is None or job.state is not JobState.DONE:
            return _error("there is no such result", 404)
        return FileResponse(
            self._results.file(job.id),
            media_type="application/octet-stream",
            filename=f"{_plain(job.request.target)}-{job.id[:6]}.planner",
        )

    async def events(self, request: Request) -> Response:
        """Changes of jobs as server-sent events; the first one has all jobs."""
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        with self._jobs.subscribed() as messages:
            while True:
                try:
                    message = await asyncio.wait_for(messages.get(), _BEAT_S)
                except asyncio.TimeoutError:
                    yield ": still here\n\n"
                    continue
                yield f"event: {message['kind']}\ndata: {json.dumps(message)}\n\n"
                if message["kind"] == "closed":
                    return

    def _job(self, request: Request, key: str = "job") -> Job | None:
        return self._jobs.find(request.path_params[key])


async def _document(request: Request) -> dict[str, Any]:
    body = await request.body()
    if len(body) > MOST_BODY_BYTES:
        raise UsageError("the body is too long")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError("the body must be JSON") from None
    if not isinstance(document, dict):
        raise UsageError("the body must be an object of JSON")
    return document


def _cards() -> list[dict[str, str]]:
    words = {OWN_CARD: "this machine's card", ALL_CARDS: "every card"}
    found = [{"id": name, "name": text} for name, text in words.items()]
    gpus = load_gpus()
    return found + [{"id": name, "name": gpus.find(name).spec.name} for name in sorted(gpus.ids)]


def _plain(target: str) -> str:
    """Returns a name for a file, of the last part of a target."""
    last = re.split(r"[/\\]", target)[-1].replace(".py", "")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-.")[:60] or "result"


def _error(words: str, status: int) -> Response:
    return JSONResponse({"error": words}, status)


async def _refused(request: Request, error: Exception) -> Response:
    return _error(str(error), 400)


async def _full(request: Request, error: Exception) -> Response:
    return _error(str(error), 429)


async def _failed(request: Request, error: Exception) -> Response:
    return _error(str(error), 500)
