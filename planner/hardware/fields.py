"""Reads one mapping of a record strictly: a key that no code reads is an error.

In: a mapping as YAML gave it. Out: plain values of the requested type and range. Convention: an
error names the file, the key with its section, the value found and the expected one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from planner.errors import HardwareDatabaseError

E = TypeVar("E", bound=Enum)


class Fields:
    """One mapping that is being read. `finish()` reports the keys that were not read."""

    def __init__(self, value: object, *, file: str, section: str = "") -> None:
        self._file = file
        self._section = section
        if not isinstance(value, Mapping):
            raise self._error(None, f"must be a mapping of keys to values, not {_shown(value)}")
        self._values: Mapping[object, object] = value
        self._asked: set[object] = set()

    def section(self, key: str) -> Fields:
        """Returns the mapping under the key."""
        return Fields(self._required(key), file=self._file, section=self._path(key))

    def optional_section(self, key: str) -> Fields | None:
        """Returns the mapping under the key, None if it is missing or null."""
        value = self._optional(key)
        if value is None:
            return None
        return Fields(value, file=self._file, section=self._path(key))

    def sections(self, key: str) -> tuple[Fields, ...]:
        """Returns a list of mappings, empty if the key is missing or null."""
        return tuple(
            Fields(item, file=self._file, section=f"{self._path(key)}[{position}]")
            for position, item in enumerate(self._list(key))
        )

    def mapping(self, key: str) -> dict[Any, Any]:
        """Returns the mapping under the key as YAML gave it; its keys are not checked."""
        value = self._required(key)
        if not isinstance(value, Mapping):
            raise self._error(key, f"must be a mapping of keys to values, not {_shown(value)}")
        return dict(value)

    def text(self, key: str, pattern: str = r"\S.*") -> str:
        """Returns a text that matches `pattern` as a whole."""
        return self._as_text(key, self._required(key), pattern)

    def optional_text(self, key: str, pattern: str = r"\S.*") -> str | None:
        """Returns as `text` does, or None if the key is missing or null."""
        value = self._optional(key)
        return None if value is None else self._as_text(key, value, pattern)

    def texts(self, key: str) -> tuple[str, ...]:
        """Returns a list of texts, empty if the key is missing or null."""
        return tuple(self._as_text(key, item, r"\S.*") for item in self._list(key))

    def texts_by_text(self, key: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Returns texts with their lists of texts, empty if the key is missing or null."""
        if self._optional(key) is None:
            return ()
        below = self.section(key)
        return tuple((name, below.texts(name)) for name in below.keys())  # noqa: SIM118 not a dict

    def word(self, key: str, words: type[E]) -> E:
        """Returns a member of the enum `words`."""
        value = self._required(key)
        try:
            return words(value)
        except ValueError:
            known = ", ".join(str(member.value) for member in words)
            raise self._error(key, f"{_shown(value)} is not one of {known}") from None

    def number(self, key: str, low: float, high: float) -> float:
        """Returns a number from `low` to `high`; the key's name ends with the unit."""
        return self._as_number(key, self._required(key), low, high)

    def optional_number(self, key: str, low: float, high: float) -> float | None:
        """Returns as `number` does, or None if the key is missing or null."""
        value = self._optional(key)
        return None if value is None else self._as_number(key, value, low, high)

    def whole(self, key: str, low: int, high: int) -> int:
        """Returns a whole number from `low` to `high`."""
        return self._as_whole(key, self._required(key), low, high)

    def optional_whole(self, key: str, low: int, high: int) -> int | None:
        """Returns as `whole` does, or None if the key is missing or null."""
        value = self._optional(key)
        return None if value is None else self._as_whole(key, value, low, high)

    def numbers(self, key: str, low: float, high: float) -> tuple[float, ...]:
        """Returns a list of one or more numbers from `low` to `high`."""
        self._required(key)
        values = tuple(self._as_number(key, item, low, high) for item in self._list(key))
        if not values:
            raise self._error(key, "is an empty list, but a number is needed")
        return values

    def interval(self, key: str, low: float, high: float) -> tuple[float, float]:
        """Returns two numbers, the least and the greatest."""
        value = self._required(key)
        if not isinstance(value, list) or len(value) != 2:
            raise self._error(key, f"must be [least, greatest], not {_shown(value)}")
        least, greatest = (self._as_number(key, item, low, high) for item in value)
        if least > greatest:
            raise self._error(key, f"the least, {least:g}, is above the greatest, {greatest:g}")
        return least, greatest

    def has(self, key: str) -> bool:
        """Returns whether the key has a value; this does not count as reading it."""
        return self._values.get(key) is not None

    def keys(self) -> tuple[str, ...]:
        """Returns all keys, as text."""
        return tuple(self._as_text(str(key), key, r"\S.*") for key in self._values)

    def fail(self, key: str, problem: str) -> HardwareDatabaseError:
        """Returns the error for a key whose value is well formed but cannot be right."""
        return self._error(key, problem)

    def finish(self) -> None:
        """Checks that every key was read.

        Raises:
            HardwareDatabaseError: a key that is not in the schema.
        """
        unknown = [key for key in self._values if key not in self._asked]
        if unknown:
            known = sorted(str(key) for key in self._asked)
            raise self._error(str(unknown[0]), f"is not a key here; known: {', '.join(known)}")

    def _required(self, key: str) -> object:
        value = self._optional(key)
        if value is not None:
            return value
        if key in self._values:
            raise self._error(key, "is null, but a value is needed")
        near = _nearest(key, [str(other) for other in self._values if other not in self._asked])
        raise self._error(key, f"is missing; found {near!r} instead" if near else "is missing")

    def _optional(self, key: str) -> object:
        self._asked.add(key)
        return self._values.get(key)

    def _list(self, key: str) -> list[object]:
        value = self._optional(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._error(key, f"must be a list, not {_shown(value)}")
        return value

    def _as_text(self, key: str, value: object, pattern: str) -> str:
        if not isinstance(value, str):
            raise self._error(key, f'must be text, not {_shown(value)}; write it in quotes: "..."')
        if re.fullmatch(pattern, value) is None:
            raise self._error(key, f"{value!r} does not have the form {pattern}")
        return value

    def _as_number(self, key: str, value: object, low: float, high: float) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._error(key, f"must be a plain number, not {_shown(value)}")
        if not low <= value <= high:
            raise self._error(
                key, f"{value:g} is outside {low:g} to {high:g}; is it in the unit of the key?"
            )
        return float(value)

    def _as_whole(self, key: str, value: object, low: int, high: int) -> int:
        number = self._as_number(key, value, low, high)
        if not number.is_integer():
            raise self._error(key, f"must be a whole number, not {number:g}")
        return int(number)

    def _path(self, key: str) -> str:
        return f"{self._section}.{key}" if self._section else key

    def _error(self, key: str | None, problem: str) -> HardwareDatabaseError:
        path = self._section if key is None else self._path(key)
        return HardwareDatabaseError(
            ": ".join(part for part in (self._file, path, problem) if part)
        )


def _nearest(key: str, others: list[str]) -> str | None:
    from difflib import get_close_matches  # only needed for an error

    near = get_close_matches(key, others, n=1)
    return near[0] if near else None


def _shown(value: object) -> str:
    if isinstance(value, (list, Mapping)):
        return "a list" if isinstance(value, list) else "a mapping"
    text = repr(value)
    return f"{text[:60]}..." if len(text) > 60 else text
