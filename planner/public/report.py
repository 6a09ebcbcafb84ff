"""`planner.report`: a result as one page of HTML, from a result, a saved one or a target.

In: a result, a file of one, or what planner.estimate takes. Out: the file of the page. Convention:
a target is estimated first, with some batches more than its search has run, for the slider.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.config.options import EstimateOptions
from planner.errors import UsageError
from planner.machine.whole_files import check_place, write_whole
from planner.results.result import Result
from planner.results.saved_file import is_saved, load

if TYPE_CHECKING:
    from typing_extensions import Unpack

MORE_BATCHES = 6
"""Runs beside those of the search, for the slider of a page."""


def report(
    source: Any,
    *,
    to: str | PathLike[str],
    against: Result | str | PathLike[str] | None = None,
    redact: bool = False,
    batches: Collection[int] = (),
    gpu: str | Sequence[str] = (),
    **options: Unpack[EstimateOptions],
) -> Path:
    """Writes a result as one self-contained page of HTML, and returns its file.

    `source` is a result (Estimate, Curve, CardComparison, Advice, Parallelization), a file of
    `save` or `--json`, or a target as in planner.estimate, which is estimated on `gpu` with
    `options` first. `against` is a second result, shown next to the first. With `redact` no path
    and no source line is in the page. `batches` are shown beside the usual ones, of an Estimate
    with recordings.

    Raises:
        UsageError: a kind of result without a page, a batch that cannot be known without a run, or
            options for a result that is there already.
        PlannerError: see errors.py.
    """
    from planner.render.html.page import page_of

    check_place(Path(to), "to")
    other = against if against is None or isinstance(against, Result) else load(against)
    found = _result_of(source, gpu, options)
    write_whole(Path(to), page_of(found, other=other, is_redacted=redact, batches=batches))
    return Path(to)


def _result_of(source: Any, gpu: str | Sequence[str], options: EstimateOptions) -> Result:
    is_file = isinstance(source, (str, PathLike)) and is_saved(Path(source))
    if not (is_file or isinstance(source, Result)):
        from planner.questions.estimate import estimate

        return estimate(source, gpu=gpu, keep_batches=MORE_BATCHES, **options)
    if gpu or options:
        name = "gpu" if gpu else next(iter(options))
        raise UsageError(f"{name} is for a target, and this is a result, which is not run again")
    return load(source) if is_file else source
