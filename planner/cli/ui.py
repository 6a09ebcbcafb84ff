"""`planner ui [FOLDER]`: a page on this machine that asks for estimates and shows them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from planner.cli.terminal import print_text, say
from planner.errors import UnsupportedPlatformError
from planner.render.outside_text import shown

_NEEDED = ("starlette", "uvicorn", "jinja2")
_COMMAND = "planner.__main__"
_EPILOG = """\b
Examples:
  planner ui
  planner ui models --port 8765 --no-browser
\b
Exit codes:
  0  ended by Ctrl-C
  1  error: a package is missing
  2  wrong usage: no such folder, a port that is taken
"""


@click.command(epilog=_EPILOG)
@click.argument(
    "folder",
    default=".",
    type=click.Path(path_type=Path),
)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="Port of 127.0.0.1, like 8765.",
)
@click.option("--no-browser", is_flag=True, help="Print the address alone, and open no browser.")
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Estimates that run at once; four more may wait.",
)
def ui(folder: Path, port: int, no_browser: bool, jobs: int) -> None:
    """Ask for estimates and compare them, in the browser.

    The page chooses model files of FOLDER (this folder, if none is given) and models of the
    catalog. It answers to this machine alone, and only with the token of its address. A model file
    is your own code: it is run with your rights, as on the command line.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UnsupportedPlatformError(
            f"planner ui needs {' and '.join(missing)}: pip install 'vram-planner[ui]'"
        )
    from planner.cli.form_fields import defaults_note, form_fields
    from planner.ui.jobs import Limits
    from planner.ui.server import serve
    from planner.ui.targets import checked_folder

    folder = checked_folder(folder)

    def on_ready(address: str) -> None:
        print_text(f"{address}\n")
        say(f"model files of {shown(str(folder))}; Ctrl-C ends it")

    serve(
        folder,
        fields=form_fields(),
        command=_COMMAND,
        limits=Limits(running=jobs),
        port=port,
        opens_browser=not no_browser,
        on_ready=on_ready,
        defaults_note=lambda: defaults_note(folder),
    )
