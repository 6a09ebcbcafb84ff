"""Finds the YAML files of the hardware database and parses them into plain values.

In: paths. Out: texts, and mappings as YAML gives them. The only module that reads YAML.
Convention: an error names the file and its fault.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from planner.errors import HardwareDatabaseError
from planner.hardware.user_files import bounded_content

# Our records have under 3000. The C parser crashes on text that is nested 100 000 levels deep.
_MAX_RECORD_BYTES = 16_384
_MAX_WHOLE = 2**64  # far above every figure of a record; Python cannot print the longest numbers
_SHOWN_CHARACTERS = 60


def own_folder() -> Path:
    """Returns the folder of the built-in records of hardware.

    Raises:
        HardwareDatabaseError: there is none.
    """
    return data_folder("the hardware database", "hardware_db", "hardware_db")


def data_folder(what: str, in_wheel: str, in_checkout: str) -> Path:
    """Returns a folder of built-in records: in the package (wheel), else next to it.

    Raises:
        HardwareDatabaseError: there is none.
    """
    package = Path(__file__).resolve().parent.parent
    folders = (package / in_wheel, package.parent / in_checkout)
    for folder in folders:
        if folder.is_dir():
            return folder
    raise HardwareDatabaseError(
        f"{what} is missing: neither {folders[0]} nor {folders[1]} is a folder; "
        "install vram-planner again"
    )


def record_files(folder: Path) -> list[Path]:
    """Returns the *.yaml of a folder, sorted by name; none if there is no such folder."""
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("."))


def read_text(path: Path, most_bytes: int = _MAX_RECORD_BYTES) -> str:
    """Reads the text of a record, or of a file of records with another limit.

    Raises:
        HardwareDatabaseError: it cannot be read, is not UTF-8, or is too long for a record.
    """
    try:
        content = bounded_content(path, most_bytes)
    except OSError as error:
        raise HardwareDatabaseError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > most_bytes:
        raise HardwareDatabaseError(f"{path}: is too long: a record has at most {most_bytes} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise HardwareDatabaseError(f"{path}: is not UTF-8 text: {error}") from None


def parsed(text: str, path: Path) -> object:
    """Parses the text of a record.

    Raises:
        HardwareDatabaseError: not YAML, an invalid value, a key written twice, or empty.
    """
    try:
        value = yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        raise HardwareDatabaseError(f"{path}: is not valid YAML: {_one_line(error)}") from None
    except RecursionError:
        raise HardwareDatabaseError(f"{path}: is nested too deeply") from None
    if value is None:
        raise HardwareDatabaseError(f"{path}: is empty")
    return value


_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is 7 times as fast


class _StrictLoader(_SafeLoader):  # type: ignore[misc] # chosen at run time
    """Loads YAML safely; a key written twice is an error, where YAML would keep the last one.

    A text that looks like a date, a number or a word of YAML but is not a valid one is an error
    with its line, instead of an exception of Python.
    """

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as error:  # ValueError, KeyError, AttributeError ...: of any constructor
            raise _not_a_value(node) from error
        if isinstance(value, int) and abs(value) >= _MAX_WHOLE:
            raise _not_a_value(node)
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key.value, str):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is written twice", key.start_mark
                )
            seen.add(key.value)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def _not_a_value(node: Any) -> yaml.constructor.ConstructorError:
    text = node.value if isinstance(node.value, str) else f"a {node.id}"
    shown = repr(text[:_SHOWN_CHARACTERS]) + ("..." if len(text) > _SHOWN_CHARACTERS else "")
    kind = node.tag.rpartition(":")[2]
    return yaml.constructor.ConstructorError(
        None,
        None,
        f"{shown} is not a valid {kind}; a text that looks like one is written in quotes",
        node.start_mark,
    )


def _one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())
