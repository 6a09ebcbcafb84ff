"""What planner and the warden of a command say to each other, as JSON files of the run's folder.

In: nothing. Out: WardenOrder, Shield, CommandEnded. Convention: paths are texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

ORDER_FILE, SHIELD_FILE, ENDED_FILE = "warden.json", "shield.json", "ended.json"
REFUSED_CODE = 78  # of a command that was not started, as nothing would keep its writes away


class ShieldKind(str, Enum):
    """What keeps the writes of a command from the disk."""

    NAMESPACES = "namespaces"
    """Each folder that it could write is a copy in memory; there is no network."""
    LANDLOCK = "landlock"
    """Its writes fail."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class WardenOrder:
    """The command, its working folder, folders whose writes are `kept`, and shields to try.

    `environment` are variables that replace those of the warden.
    """

    command: Sequence[str]
    working: str
    environment: Mapping[str, str]
    kept: Sequence[str] = ()
    kinds: Sequence[str] = (ShieldKind.NAMESPACES.value, ShieldKind.LANDLOCK.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shield:
    """The shield in force, and why those before it are not; `is_wanted`: all writes are allowed."""

    kind: ShieldKind
    reasons: Sequence[str] = ()
    is_wanted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnded:
    """Exit code of the command, below 0 a signal, and the processes that it has left behind."""

    code: int
    left: int
