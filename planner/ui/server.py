"""Serves the page at 127.0.0.1 until Ctrl-C, and leaves nothing behind.

In: a folder, the options as fields, limits, a port. Out: a server; `on_ready` gets its address.
"""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import uvicorn

from planner.errors import UsageError
from planner.ui.app import Setup, make_app
from planner.ui.fields import FormField
from planner.ui.guard import HOST, Secrets
from planner.ui.jobs import JobQueue, Limits
from planner.ui.kept_results import private_folder

_PATIENCE_S = 20  # for jobs to end, then for answers that are being sent
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(
    folder: Path,
    *,
    fields: Sequence[FormField],
    command: str,
    limits: Limits,
    port: int,
    opens_browser: bool,
    on_ready: Callable[[str], None],
    defaults_note: Callable[[], str] = str,
) -> None:
    """Serves until a signal ends it. `command` is the module that a job runs; port 0: a free one.

    `defaults_note` returns a line for the form, on the defaults of the folder.

    Raises:
        UsageError: the port is taken, or may not be used.
        OSError: there is no place for temporary files.
    """
    secrets = Secrets()
    with bound_socket(port) as listening, private_folder() as results:
        number = listening.getsockname()[1]
        setup = Setup(
            folder=folder,
            results=results,
            command=command,
            fields=fields,
            limits=limits,
            secrets=secrets,
            port=number,
            defaults_note=defaults_note,
        )
        address = f"http://{HOST}:{number}/"

        def ready() -> None:
            on_ready(f"{address}?token={secrets.token}")
            if opens_browser:
                ticket = f"{address}?ticket={secrets.new_ticket()}"
                # A browser of the terminal would hold the server up.
                Thread(target=webbrowser.open, args=(ticket,), daemon=True).start()

        app = make_app(setup)
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            log_level="critical",
            access_log=False,  # it would have the token in it
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_PATIENCE_S,
        )
        _Server(config, app.state.jobs, ready).run(sockets=[listening])


@contextmanager
def bound_socket(port: int) -> Iterator[socket.socket]:
    """Yields a socket that is bound to the port of 127.0.0.1.

    Raises:
        UsageError: the port is taken, or may not be used.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
            listening.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                why = "is taken by another program; name another one, or leave --port out"
            else:
                why = f"cannot be used: {error.strerror}; name one from 1024 on"
            raise UsageError(f"port {port} of {HOST} {why}") from None
        yield listening


class _Server(uvicorn.Server):
    """A server that ends its jobs first, whose streams would else hold it up."""

    def __init__(
        self, config: uvicorn.Config, jobs: JobQueue, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._jobs = jobs
        self._on_ready = on_ready
        self._closing: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen, and says so."""
        await super().startup(sockets)
        self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ends in order at a signal; a second one of Ctrl-C does not wait for answers."""
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in _ENDING:
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        if self._closing is not None:
            self.force_exit = True
            return
        self._closing = asyncio.get_running_loop().create_task(self._close())

    async def _close(self) -> None:
        try:
            await self._jobs.close()
        finally:
            self.should_exit = True
