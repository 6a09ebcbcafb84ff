"""What all results have: a JSON document, and the way back from it.

In: nothing. Out: Result, the base of Estimate, Curve, CardComparison, Inspection and Verification.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class Result:
    """The base of every result: it is written as JSON, read back, and saved in a file."""

    __slots__ = ()

    def to_dict(self) -> Mapping[str, Any]:
        """The JSON document that `--json` prints, in stable order, with plain types only."""
        raise NotImplementedError

    def to_complete_dict(self) -> dict[str, Any]:
        """The document of `to_dict`, and under "record" every field, so that nothing is lost.

        `from_dict` of it gives an equal result. Recorded allocations are not part of it: `save`
        keeps them.
        """
        from planner.results.document import complete_document

        return complete_document(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The result of a document: of `to_complete_dict` an equal one, of `to_dict` its figures.

        A document of `to_dict` has no list of all blocks at the peak, no other names of a card, and
        no note on who asks a price; `breakdown` is then None, and `peak_summary` has the sums.

        Raises:
            DocumentError: it is not the document of such a result.
        """
        from planner.results.document import result_of

        return result_of(document, cls)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the result to a file that `planner show` prints and `planner.load` reads.

        Raises:
            OutputError: the file cannot be written; what was there before is unchanged.
        """
        from planner.results.saved_file import save

        save(self, path)
