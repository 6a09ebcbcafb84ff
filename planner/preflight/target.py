"""Refuses an impossible target before torch is imported or anything is started.

In: the target in the caller's words. Out: nothing, or a WrongTargetError with a guess at the
intended target. Convention: a target that may work is let through; the run decides.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from planner.config.published import Library
from planner.config.target import Target, TargetKind, parse_target
from planner.errors import UsageError, WrongTargetError
from planner.preflight.contents import check_source
from planner.preflight.file_kinds import is_known_kind, what_it_needs
from planner.preflight.modules import (
    FoundModule,
    declares,
    find_module,
    may_make_modules,
    torchvision_models,
)

_FORMS = (
    "a target is a Python file, FILE:NAME, package.module:NAME or a published model (hf:org/name)"
)
_SHOWN = 8
# Words that people write for the libraries of published models.
_LIBRARIES = {
    "huggingface": "hf", "hub": "hf", "transformers": "hf", "hf_hub": "hf", "diffuser": "diffusers",
}  # fmt: skip
# A name that is too long or has a NUL, a folder that cannot be read or is gone, no home folder.
_NOT_SEEN = (OSError, ValueError, RuntimeError)
_Thing = TypeVar("_Thing")


def check_target(text: str) -> None:
    """Checks the target without running it.

    Raises:
        WrongTargetError: no such file or module, a folder, a file that is not Python, or one
            that cannot contain a model.
    """
    try:
        target = parse_target(text)
    except UsageError as error:
        meant = ""
        with suppress(*_NOT_SEEN):
            if Path(text).expanduser().exists():  # config-v1.yaml
                _check_path(Target(kind=TargetKind.FILE, location=text))
            meant = _meant(text, None)
        raise WrongTargetError(f"{error}{meant}") from None
    with suppress(*_NOT_SEEN):
        if target.kind is TargetKind.FILE:
            _check_path(target)
        else:
            _check_module(target)


def _check_path(target: Target) -> None:
    path = Path(target.location).expanduser()
    if path.is_dir():
        raise WrongTargetError(f"{target.location} is a folder; {_name_one(path, target.location)}")
    if path.is_file():
        if path.suffix != ".py":
            raise WrongTargetError(f"{target.location} {what_it_needs(path)}")
        check_source(path, target)
        return
    if path.exists():
        return  # a pipe or a device
    _check_prefix(target)
    kind = f"; a file of this kind {what_it_needs(path)}" if is_known_kind(path) else ""
    raise WrongTargetError(f"there is no file {target.location}{_near_path(path, target)}{kind}")


def _check_prefix(target: Target) -> None:
    """Refuses `huggingface:org/name`: a word before the colon that is no library of models."""
    word, separator, name = target.location.partition(":")
    if not separator or not word.isidentifier() or "/" in word:
        return
    known = ", ".join(f"{library.value}:" for library in Library)
    guess = _LIBRARIES.get(word.lower(), "")
    meant = f"; did you mean {guess}:{name}?" if guess else ""
    raise WrongTargetError(
        f"there is no file {target.location}, and {word}: is no library of published models; "
        f"these are {known}{meant}"
    )


def _name_one(folder: Path, text: str) -> str:
    names = sorted(entry.name for entry in folder.glob("*.py") if entry.name != "__init__.py")
    if not names:
        return "name a Python file; it holds none"
    start = text.rstrip("/")
    listed = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"name a Python file in it, like {start}/{names[0]} (it holds {listed})"


def _near_path(path: Path, target: Target) -> str:
    """Returns a hint: similar names in that folder, else the same or similar names elsewhere."""
    folder = path.parent
    if not folder.is_dir():
        meant = _meant(path.name, target.name)
        if not meant and len(path.parts) == 2 and path.suffix != ".py" and "." not in str(folder):
            meant = f"; a model of the Hugging Face hub is hf:{target.location}"
        return f", and no folder {folder}{meant}"
    names = [entry.name for entry in folder.glob("*.py")]
    stem = path.stem if path.suffix == ".py" else path.name
    near = difflib.get_close_matches(f"{stem}.py", names, n=3)
    if near:
        return f"; did you mean {_or(_with_name(folder / name, target.name) for name in near)}?"
    meant = _meant(stem, target.name)
    if meant or not names:
        return meant
    listed = ", ".join(sorted(names)[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    where = "this folder" if folder == Path() else str(folder)
    return f"; {where} holds {listed}"


def _check_module(target: Target) -> None:
    found = find_module(target.location)
    if found is None:
        return
    parts = target.location.split(".")
    if found.parts == len(parts):
        if found.file is not None:
            if not found.folders and found.file.suffix == ".py":
                check_source(found.file, target)
        elif found.is_folder and found.folders:
            folder = found.folders[0]
            text = target.location.replace(".", "/")
            raise WrongTargetError(f"{text} is a folder; {_name_one(folder, text)}")
        return
    as_file = Path(target.location)
    if as_file.is_file() or (found.parts == 0 and is_known_kind(as_file)):  # config.yaml
        _check_path(target)
    if found.parts == 0:
        of = "" if parts[0] == target.label else f" for {target.label!r}"
        raise WrongTargetError(
            f"there is no module {parts[0]!r}{of}; {_FORMS}"
            f"{_meant(target.location, target.name) or _otherwise(target)}"
        )
    if found.parts == len(parts) - 1 and target.name is None:
        _check_dot_for_colon(target, found)


def _otherwise(target: Target) -> str:
    if "." in target.location:
        return "; install it, or start from the folder that holds it"
    return "; install it, or name the file: path/to/model.py"


def _check_dot_for_colon(target: Target, found: FoundModule) -> None:
    module, _, name = target.location.rpartition(".")
    if may_make_modules(found) or not declares(found, name):
        return
    spec = torchvision_models().get(name) if module == "torchvision.models" else None
    options = "" if spec is None else f" {spec}"
    raise WrongTargetError(
        f"there is no module {target.location!r}: {name} is a name in {module}; with a colon: "
        f"{module}:{name}{options}"
    )


def _meant(text: str, name: str | None) -> str:
    """Returns a hint at similar names: files here and in models/, and models of torchvision."""
    stem = text.removesuffix(".py").rpartition(".")[2].rpartition("/")[2]
    files = [*sorted(Path().glob("*.py")), *sorted(Path("models").glob("*.py"))]
    found = [_with_name(file, name) for file in _called(stem, {f.stem: f for f in files})]
    if name is None:
        options = torchvision_models()
        names = _called(stem, {option: option for option in options})
        found += [f"torchvision.models:{one} {options[one]}" for one in names]
    return f"; did you mean {_or(found[:3])}?" if found else ""


def _called(stem: str, known: dict[str, _Thing]) -> list[_Thing]:
    """Returns the one with that name (case, - and _ do not count), else those of similar names."""
    folded = {_folded(name): name for name in known}
    if _folded(stem) in folded:
        return [known[folded[_folded(stem)]]]
    near = difflib.get_close_matches(_folded(stem), folded, n=2, cutoff=0.75)
    return [known[folded[one]] for one in near]


def _folded(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _with_name(path: Path, name: str | None) -> str:
    return str(path) if name is None else f"{path}:{name}"


def _or(texts: Iterable[str]) -> str:
    return " or ".join(texts)
