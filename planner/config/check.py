"""A check as data: a target, the options of its estimate, and the limits.

In: checked words. Out: Check. Convention: `options` are keyword options of planner.estimate().
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.config.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of a project; `words` are its options as they were written, for the lock file."""

    name: str
    target: Any
    options: Mapping[str, Any]
    limits: Limits
    words: tuple[tuple[str, str], ...] = ()
