"""`planner doctor`: whether estimates can run here, and the facts for a bug report."""

from __future__ import annotations

import click

from planner.cli import options as shared
from planner.cli import tables
from planner.cli.exit_codes import ExitCode
from planner.cli.output import print_json
from planner.questions.doctor import Diagnosis, diagnosis
from planner.units import format_bytes

_EXIT_CODES = """\b
Exit codes:
  0  estimates can run on this machine
  1  they cannot; the report says what to do
  2  wrong usage
"""
_NONE = "none found"
_STATES = {"none": "none yet for this torch; the first estimate builds it"}


@click.command(epilog=_EXIT_CODES)
@shared.as_json
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Say whether estimates can run on this machine, and why not.

    Nothing is built, changed or sent; a report of a bug needs what it prints.
    """
    found = diagnosis()
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    context.exit(ExitCode.ERROR if found.problems else ExitCode.FITS)


def _print(found: Diagnosis) -> None:
    sections: dict[str, list[tuple[str, str]]] = {
        "libraries": list(found.libraries) or [("", _NONE)],
        "environment": list(found.environment) or [("", "nothing that matters is set")],
        "to do": [(f"{number}.", text) for number, text in enumerate(found.problems, 1)],
    }
    verdict = "cannot run here yet: see below" if found.problems else "can run on this machine"
    tables.print_sheet(
        f"planner {found.planner}: estimates {verdict}",
        None,
        _lines(found),
        {heading: pairs for heading, pairs in sections.items() if pairs},
    )


def _lines(found: Diagnosis) -> list[tuple[str, str]]:
    torch, cache = found.torch, found.cache
    room = "not known" if cache.free_bytes is None else format_bytes(cache.free_bytes)
    ram = "" if found.ram_bytes is None else f", {format_bytes(found.ram_bytes)} of RAM"
    cudnn = "" if torch is None or torch.cudnn is None else f", cuDNN {torch.cudnn}"
    cards = [
        f"{card.name}, {format_bytes(card.usable_memory_bytes)}"
        f"{', partitioned (MIG)' if card.is_partitioned else ''}"
        for card in found.cards
    ]
    return [
        ("Python", f"{found.python} ({found.executable})"),
        ("torch", _NONE if torch is None else f"{torch.version}, CUDA {torch.cuda}{cudnn}"),
        ("torch is in", "" if torch is None else torch.folder),
        ("compiler", found.compiler or _NONE),
        ("cache", cache.folder),
        ("emulated device", _STATES.get(cache.state, cache.state)),
        ("size of the cache", f"{format_bytes(cache.size_bytes)}; free on its disk: {room}"),
        ("NVIDIA driver", found.driver or "none answers; estimates need none"),
        ("cards", "; ".join(cards)),
        ("system", found.system),
        ("processor", f"{found.processor}, {found.threads} threads{ram}"),
    ]
