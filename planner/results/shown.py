"""Shows a result at a prompt and in a notebook: on one line, and as a small table.

In: a result. Out: text, HTML. Convention: the forms belong to the records, as JSON and CSV do, and
are imported when they are used. Reports for a terminal are made in planner/render.
"""

from __future__ import annotations


class Shown:
    """The base of every result that a prompt may show."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Returns the answer on one line."""
        from planner.results.one_line import one_line

        return one_line(self)

    def _repr_html_(self) -> str:
        """Returns the answer as a table, for a notebook."""
        from planner.results.html_form import html_form

        return html_form(self)
