"""The base of all results: writes a JSON document, and reads it back.

In: nothing. Out: Result, the base of Estimate, Curve, CardComparison, Inspection, Verification,
Advice, Parallelization and ServingPlan.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class Result:
    """The base of every result: can be written as JSON, read back, and saved in a file."""

    __slots__ = ()

    def to_dict(self) -> Mapping[str, Any]:
        """Returns the JSON document of `--json`, in stable order, with plain types only."""
        raise NotImplementedError

    def to_complete_dict(self) -> dict[str, Any]:
        """Returns the document of `to_dict`, and every field under "record", so nothing is lost.

        `from_dict` of it gives an equal result. Recorded allocations are not part of it: `save`
        keeps them.
        """
        from planner.results.document import complete_document

        return complete_document(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Returns the result: an equal one from `to_complete_dict`, the figures from `to_dict`.

        A document of `to_dict` has no list of all blocks at the peak, no other names of a card, and
        no source of a price; `breakdown` is then None, and `peak_summary` has the sums.

        Raises:
            DocumentError: it is not the document of such a result.
        """
        from planner.results.document import result_of

        return result_of(document, cls)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the result to a file that `planner show` prints and `planner.load` reads.

        Raises:
            OutputError: the file cannot be written; a file that was there before is unchanged.
        """
        from planner.results.saved_file import save

        save(self, path)
