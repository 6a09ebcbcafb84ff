"""The options of a job as fields of a form, and the words of a command line that are made of them.

In: FormFields, which the command line makes of its own options, and values as JSON. Out: words.
Convention: a name that is no field is refused; a value is one word and never a further option.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from planner.config.near_words import near
from planner.errors import UsageError

_LONGEST_VALUE = 300
_MOST_VALUES = 20


class FieldKind(str, Enum):
    """How the value of a field is entered."""

    TEXT = "text"
    """One line of text."""
    NUMBER = "number"
    """A whole number."""
    CHOICE = "choice"
    """One of a few words."""
    SWITCH = "switch"
    """On or off."""
    LIST = "list"
    """Several texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """An option of a command: its `name` with hyphens, and what a form needs to ask for it.

    `default` is in words. `hint` is the kind of value, like N or KEY=VALUE.
    """

    name: str
    heading: str
    kind: FieldKind
    help: str
    default: str = ""
    hint: str = ""
    choices: tuple[str, ...] = ()
    minimum: int | None = None

    @property
    def label(self) -> str:
        """Returns the name without its hyphens."""
        return self.name.removeprefix("--")


def option_words(fields: Sequence[FormField], given: Mapping[str, Any]) -> list[str]:
    """Returns the words of a command line for values by name; empty values are left out.

    Raises:
        UsageError: a name that is no field, or a value of a wrong kind.
    """
    known = {field.name: field for field in fields}
    for name in given:
        if name not in known:
            guess = near(name, known)
            meant = f"; did you mean {guess}?" if guess else ""
            raise UsageError(f"there is no option {name!r} on this page{meant}")
    words: list[str] = []
    for name, field in known.items():  # in the order of the form, whatever the order of the values
        if name in given:
            words += _words_of(field, given[name])
    return words


def _words_of(field: FormField, value: object) -> list[str]:
    if field.kind is FieldKind.SWITCH:
        if not isinstance(value, bool):
            raise UsageError(f"{field.name} is on or off: true or false, not {value!r}")
        return [field.name] if value else []
    if isinstance(value, list) and field.kind is FieldKind.LIST:
        if len(value) > _MOST_VALUES:
            raise UsageError(f"{field.name} has {len(value)} values; {_MOST_VALUES} are the most")
        return [f"{field.name}={text}" for one in value if (text := _text(field, one))]
    text = _text(field, value)
    return [f"{field.name}={text}"] if text else []


def _text(field: FormField, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"{field.name} must be text or a number, not {value!r}")
    text = str(value).strip()
    if len(text) > _LONGEST_VALUE or not text.isprintable():
        raise UsageError(
            f"the value of {field.name} must be one line of at most {_LONGEST_VALUE} characters"
        )
    if text and field.choices and text not in field.choices:
        raise UsageError(f"{field.name} is one of {', '.join(field.choices)}, not {text!r}")
    if text and field.kind is FieldKind.NUMBER and not _is_whole(text, field.minimum):
        least = "" if field.minimum is None else f" from {field.minimum}"
        raise UsageError(f"{field.name} must be a whole number{least}, not {text!r}")
    return text


def _is_whole(text: str, minimum: int | None) -> bool:
    return text.isascii() and text.isdigit() and (minimum is None or int(text) >= minimum)
