"""Reads the levers of a model file: changes of the model's arguments that `planner advise` tries.

In: the file's `levers`, as {"window attention": {"arguments": {"attention": "window"}, "note":
"..."}}. Out: OwnLevers.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from planner.config.parse import arguments
from planner.errors import TargetError, UsageError
from planner.wire.own_lever import OwnLever

LEVERS = "levers"
_KEYS = ("arguments", "note", "code")
_FORM = '{"window attention": {"arguments": {"attention": "window"}, "note": "sees less"}}'


def own_levers(module: ModuleType) -> tuple[OwnLever, ...]:
    """Returns the levers of a module; none if it has no `levers`.

    Raises:
        TargetError: they have another form.
    """
    table = getattr(module, LEVERS, None)
    if table is None:
        return ()
    if not isinstance(table, Mapping):
        raise TargetError(
            f"{LEVERS} in {module.__name__} is a {type(table).__name__}; write {_FORM}"
        )
    return tuple(_lever(name, entry, module.__name__) for name, entry in table.items())


def _lever(name: object, entry: object, where: str) -> OwnLever:
    place = f"{LEVERS} in {where}: {name!r}"
    if not isinstance(name, str) or not isinstance(entry, Mapping):
        raise TargetError(f"{place} is no lever; write {LEVERS} = {_FORM}")
    unknown = [key for key in entry if key not in _KEYS]
    if unknown or not entry.get("arguments"):
        found = f"has the key {unknown[0]!r}" if unknown else "has no arguments"
        raise TargetError(f"{place} {found}; it may have {', '.join(_KEYS)}, like {_FORM}")
    texts = {key: entry.get(key, "") for key in ("note", "code")}
    wrong = [key for key, text in texts.items() if not isinstance(text, str)]
    if wrong:
        raise TargetError(f"{place}: {wrong[0]} must be text, not {texts[wrong[0]]!r}")
    try:
        given = arguments(entry["arguments"], f"{place}: arguments")
    except UsageError as error:
        raise TargetError(str(error)) from None
    return OwnLever(name=name, arguments=given, **texts)
