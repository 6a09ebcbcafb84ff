"""A change that a model file offers to `planner advise`, as the child reports it.

In: nothing. Out: OwnLever. Convention: the standard library alone, because modules that a script's
interpreter loads import it.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.config.target import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLever:
    """A change that a model file offers: `arguments` for its model, and the file's own words."""

    name: str
    arguments: tuple[tuple[str, Scalar], ...]
    note: str = ""
    code: str = ""
