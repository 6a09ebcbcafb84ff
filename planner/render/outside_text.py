"""Makes texts from outside safe to show on a terminal.

In: names of modules, cards and files, messages of the model's code: anything that planner did not
write. Out: the same text with each character that a terminal would obey, hide or turn around
written as an escape (\\x1b). Convention: JSON and files have the text as it is; everything that
is shown goes through here.
"""

from __future__ import annotations

import copy
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast

# Controls, formats (right to left, zero width), surrogates, line and paragraph separators.
_ESCAPED = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_OF_MANY_LINES = frozenset("\n\t")
# Fields of results that hold sentences, which may quote an error of several lines.
_SENTENCES = frozenset(
    ("warnings", "assumptions", "notes", "complaints", "detail", "reason", "error")
)
# Most values of a record; looked up first.
_WITHOUT_TEXT = frozenset((int, float, bool, type(None)))
# As annotations are written.
_NUMBERS = frozenset(("int", "float", "bool", "int | None", "float | None"))

R = TypeVar("R")


def shown(text: str) -> str:
    """Returns the text on one line, with escapes."""
    return text if text.isprintable() else "".join(_escaped(one, "") for one in text)


def shown_lines(text: str) -> str:
    """Returns the text with escapes; line breaks and tabs stay."""
    return text if text.isprintable() else "".join(_escaped(one, _OF_MANY_LINES) for one in text)


def shown_record(record: R) -> R:
    """Returns the record with every text in it made safe; the same object if nothing changes."""
    return cast(R, _shown_value(record, shown))


def _escaped(character: str, kept: str | frozenset[str]) -> str:
    if character in kept or unicodedata.category(character) not in _ESCAPED:
        return character
    return character.encode("unicode_escape").decode()


def _shown_value(value: Any, clean: Any) -> Any:
    if type(value) in _WITHOUT_TEXT or isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        pairs = [(_shown_value(key, clean), _shown_value(one, clean)) for key, one in value.items()]
        is_same = all(
            a is b
            for pair, item in zip(pairs, value.items(), strict=True)
            for a, b in zip(pair, item, strict=True)
        )
        return value if is_same else dict(pairs)
    if type(value) in (tuple, list):
        if all(_is_without_text(kind) for kind in set(map(type, value))):
            return value
        parts = [_shown_value(one, clean) for one in value]
        is_same = all(new is old for new, old in zip(parts, value, strict=True))
        return value if is_same else type(value)(parts)
    if is_dataclass(value) and not isinstance(value, type):
        return _shown_dataclass(value, clean)
    return value


@cache
def _is_without_text(kind: Any) -> bool:
    """Returns whether no value of this type can hold a text."""
    return kind in _WITHOUT_TEXT or (is_dataclass(kind) and not _text_fields(cast(Any, kind)))


@cache
def _text_fields(kind: Any) -> tuple[str, ...]:
    """Returns the fields that may hold a text; a recorded run has thousands that may not."""
    module = sys.modules[kind.__module__]

    def has_no_text(annotation: object) -> bool:
        named = getattr(module, annotation, None) if isinstance(annotation, str) else None
        is_choice = isinstance(named, type) and issubclass(named, Enum)
        return annotation in _NUMBERS or is_choice

    return tuple(field.name for field in fields(kind) if not has_no_text(field.type))


def _shown_dataclass(value: Any, clean: Any) -> Any:
    changed = {}
    for name in _text_fields(cast(Any, type(value))):
        old = getattr(value, name)
        new = _shown_value(old, shown_lines if name in _SENTENCES else clean)
        if new is not old:
            changed[name] = new
    if not changed:
        return value
    result = copy.copy(value)
    for name, new in changed.items():
        object.__setattr__(result, name, new)  # frozen
    return result
