"""The hardware database: where its files are, how they are read, the cards in it.

In: hardware_db/gpus/*.yaml and the user's own folder on top. Out: GpuDatabase. The only module
that reads YAML. Convention: a user's record is checked when it is loaded; one of ours when the
card is asked for, so that an estimate for one card does not pay for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from planner.errors import HardwareDatabaseError, UnknownGpuError, UsageError
from planner.hardware.gpu_record import read_gpu, read_names
from planner.hardware.names import CardNames, NameIndex
from planner.hardware.specs import GpuMatch, GpuSpec, Vendor

# In our own records the names come first and `vendor` ends them; see SCHEMA.md.
_END_OF_NAMES = re.compile(r"^vendor:", re.MULTILINE)
# Ours have under 3000. The C parser crashes on text that is nested 100 000 levels deep.
_MAX_RECORD_CHARACTERS = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    names: CardNames
    load: Callable[[], GpuSpec]


class GpuDatabase:
    """All cards by name. Made by `load_gpus()`."""

    def __init__(self, own: list[_Entry], users: list[_Entry]) -> None:
        self._index = NameIndex()
        self._index.add([entry.names for entry in users])  # first, so the user's names win
        replaced = {entry.names.id for entry in users}
        kept = [entry for entry in own if entry.names.id not in replaced]
        self._index.add([entry.names for entry in kept])
        self._entries = {entry.names.id: entry for entry in (*kept, *users)}

    def all(self) -> tuple[GpuSpec, ...]:
        """Every card, by vendor, compute capability and name.

        Raises:
            HardwareDatabaseError: a record does not follow the schema.
        """
        vendors = list(Vendor)
        return tuple(
            sorted(
                (entry.load() for entry in self._entries.values()),
                key=lambda spec: (
                    vendors.index(spec.vendor),
                    spec.compute_capability or (0, 0),
                    spec.name.lower(),
                    spec.usable_memory_bytes,
                ),
            )
        )

    def find(self, name: str) -> GpuMatch:
        """The card meant by an id, an alias or a device name.

        Raises:
            UnknownGpuError: no such card; near names are in the message.
            HardwareDatabaseError: the card's record does not follow the schema.
        """
        claim = self._index.find(name)
        if claim is None:
            near = self._index.near(name)
            hint = f"; near names: {', '.join(near)}" if near else ""
            raise UnknownGpuError(
                f"no card named {name!r}{hint}; run `planner gpus` to list all of them"
            )
        spec = self._entries[claim.card].load()
        notes = []
        if claim.others:
            notes.append(f"assuming {spec.short_name}; also: {', '.join(claim.others)}")
        if spec.assumption:
            notes.append(spec.assumption)
        return GpuMatch(spec=spec, requested=name, note="; ".join(notes) or None)


def load_gpus(extra_dir: Path | None = None) -> GpuDatabase:
    """Our records and, on top, those of a user's folder (`*.yaml`, there or under gpus/).

    Raises:
        UsageError: `extra_dir` is not a folder with records.
        HardwareDatabaseError: a record cannot be read or does not follow the schema.
    """
    own = [_own_entry(path) for path in _files(_own_folder() / "gpus")]
    return GpuDatabase(own, [] if extra_dir is None else _user_entries(extra_dir))


def _own_folder() -> Path:
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "hardware_db", package.parent / "hardware_db"):
        if folder.is_dir():
            return folder
    raise HardwareDatabaseError(
        f"the hardware database is missing: neither {package / 'hardware_db'} nor "
        f"{package.parent / 'hardware_db'} is a folder; install vram-planner again"
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("."))


def _own_entry(path: Path) -> _Entry:
    text = _text(path)
    end = _END_OF_NAMES.search(text)
    opening = text[: end.start()] if end else text

    @cache
    def load() -> GpuSpec:
        return read_gpu(_parsed(text, path), str(path))

    return _Entry(names=read_names(_parsed(opening, path), str(path)), load=load)


def _user_entries(folder: Path) -> list[_Entry]:
    if not folder.is_dir():
        raise UsageError(f"--hardware-db {folder}: no such folder")
    paths = [*_files(folder), *_files(folder / "gpus")]
    if not paths:
        raise UsageError(f"--hardware-db {folder}: no *.yaml there or under gpus/")
    return [_user_entry(path) for path in paths]


def _user_entry(path: Path) -> _Entry:
    value = _parsed(_text(path), path)
    spec = read_gpu(value, str(path))
    return _Entry(names=read_names(value, str(path)), load=lambda: spec)


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise HardwareDatabaseError(f"{path}: is not UTF-8 text: {error}") from None
    except OSError as error:
        raise HardwareDatabaseError(f"{path}: cannot be read: {error.strerror}") from None
    if len(text) > _MAX_RECORD_CHARACTERS:
        raise HardwareDatabaseError(
            f"{path}: has {len(text)} characters; the record of a card has at most "
            f"{_MAX_RECORD_CHARACTERS}"
        )
    return text


def _parsed(text: str, path: Path) -> object:
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
    """Safe loading, where a key written twice is an error instead of the last one winning."""

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


def _one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())
