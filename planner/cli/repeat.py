"""A report that was printed before by the same command, and that would be the same now.

In: the words of the command line, or the values of its parameters. Out: the report, printed again,
or kept for the next time. Convention: only a report that depends on nothing but the step, named
cards and planner's own records is kept; what reads this machine, prices or files of the parent is
made anew each time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from planner.cli.terminal import copied, print_text
from planner.errors import PlannerError
from planner.process.kept.reports import Report, files_state, kept_reports

if TYPE_CHECKING:
    import click

_COMMAND = "estimate"
# Parameters of the step, of the card and of the output. Any other one has its default.
_OWN = frozenset(
    {
        "target", "gpu", "batch_size", "sequence_length", "precision", "optimizer",
        "optimizer_arguments", "accumulate", "mode", "channels_last", "checkpoint_activations",
        "checkpoint_blocks", "chunked_loss", "compile", "optimizer_in_backward", "offload",
        "clip_grad_norm", "ema", "set_to_none", "steps", "build_on", "model_arguments", "inputs",
        "gpu_memory", "reserve", "alloc_conf", "max_batch", "calibration", "workers",
        "prefetch_factor", "pin_memory", "price", "dataset_size", "pue", "power_limit", "timeout_s",
        "as_json", "verbose", "quiet", "output_format", "no_config",
    }
)  # fmt: skip


def shown_again(words: Sequence[str]) -> int | None:
    """Prints the kept report of these words, and returns its exit code; None: there is none.

    Raises:
        OutputError: it could not be printed.
    """
    reports = kept_reports(words)
    found = None if reports is None else reports.find()
    if found is None:
        return None
    print_text(found.text)
    return found.code


class Keeping:
    """The report that is being made. `code` is its exit code, once it is printed."""

    code: int | None = None


@contextmanager
def report_kept(context: click.Context) -> Iterator[Keeping]:
    """Keeps what is printed to stdout, where a repeat would print the same.

    Nothing is kept where `code` was not set: the command has failed.
    """
    from planner.process.kept.journal import open_journal

    keeping = Keeping()
    reports = kept_reports(sys.argv[1:]) if _may_be_kept(context) else None
    if reports is None:
        yield keeping
        return
    before = files_state(_looked_at())
    with copied() as texts, open_journal() as journal:
        yield keeping
    if keeping.code is not None and before == files_state(_looked_at()):
        reports.keep(Report(text="".join(texts), code=int(keeping.code)), journal, before)


def _may_be_kept(context: click.Context) -> bool:
    import click.core

    from planner.memory.card_words import OWN_CARD, card_words
    from planner.published.names import named_model

    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in _OWN and source is not click.core.ParameterSource.DEFAULT:
            return False
    if named_model(context.params["target"]) is not None or sys.argv[1:2] != [_COMMAND]:
        return False
    with suppress(PlannerError):
        cards = card_words(context.params["gpu"])
        return bool(cards) and OWN_CARD not in cards
    return False


def _looked_at() -> list[str]:
    """Returns the files, there or not, that a report depends on beside the reads of its answers."""
    from planner.cli.config_file import looked_at
    from planner.emulator.torch_install import find_torch
    from planner.verification.store import history_file

    torch = find_torch()
    cudnn = () if torch.cudnn_library is None else (torch.cudnn_library,)
    return [str(path) for path in (*looked_at(), history_file(), *torch.own_files, *cudnn)]
