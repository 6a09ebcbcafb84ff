"""Checks the defaults of a config file, and converts them for the options of a command.

In: a ConfigFile, the options of a command, and which of them were given. Out: FileDefaults.
Convention: a given option replaces its default, and also the defaults that contradict it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from planner.cli.config_file import ConfigFile
from planner.config.near_words import near
from planner.config.step import EMA_DECAY, CompileMode
from planner.errors import UsageError

NO_CONFIG = "no-config"
_NEVER = (NO_CONFIG, "help", "csv", "save")  # a project's file must not choose the files to write
_LISTS = ("gpu", "batches")  # their values may be one text with commas
_OF_THE_CARD = ("gpu-memory", "price", "power-limit")  # they describe the card that the file names
_NOT_OF_A_CPU = (
    "gpu", "gpu-memory", "alloc-conf", "data", "measure-data", "workers", "prefetch-factor",
    "no-pin-memory", "cpu", "host", "ram", "price", "prices", "dataset-size", "pue",
    "power-limit",
)  # fmt: skip
# A given option, and the defaults that contradict it or belong to the default that it replaces.
_REPLACES: Mapping[str, tuple[str, ...]] = {
    "gpu": ("device", "memory"),
    "device": ("emulated",),
    "memory": ("emulated",),
    "emulated": ("device", "memory"),
    "data": ("measure-data",),
    "measure-data": ("data",),
    "host": ("cpu",),
    "cpu": ("host",),
    "workers": ("prefetch-factor",),
    "optimizer": ("optimizer-arg",),
    "input": ("seq", "batch-from-data"),
    "seq": ("input", "batch-from-data"),
    "batch-from-data": ("input", "seq"),
    "price": ("prices",),
    "prices": ("price",),
    "json": ("format",),
    "format": ("json",),
    "global-batch": ("accumulate", "optimizer-in-backward"),
    "accumulate": ("global-batch", "optimizer-in-backward"),
    "mode": (
        "clip-grad-norm",
        "ema",
        "global-batch",
        "checkpoint-blocks",
        "chunked-loss",
        "optimizer-in-backward",
        "offload",
    ),
    "compile": ("chunked-loss",),
    "chunked-loss": ("compile",),
    "clip-grad-norm": ("optimizer-in-backward",),
    "no-set-to-none": ("optimizer-in-backward",),
    "optimizer-in-backward": ("accumulate", "global-batch", "clip-grad-norm", "no-set-to-none"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDefaults:
    """Defaults in force: `values` by parameter, as click takes them; `texts` by key of the file."""

    config: ConfigFile
    values: Mapping[str, Any]
    texts: Mapping[str, Any]


def file_defaults(
    config: ConfigFile,
    command: click.Command,
    given: Collection[str],
    known_elsewhere: Callable[[], Collection[str]],
) -> FileDefaults:
    """Returns the defaults for a command; `given` names the parameters on the command line.

    Raises:
        UsageError: a key that is not an option of any command (`known_elsewhere` returns those
            of the others), or a value of a wrong type.
    """
    options = long_options(command)
    for key in config.defaults:
        if key in _NEVER or (key not in options and key not in known_elsewhere()):
            raise UsageError(_unknown(config, key, {*options, *known_elsewhere()} - {*_NEVER}))
    said = {key for key, option in options.items() if option.name in given}
    dropped = said | _replaced(said, config, command.name or "")
    kept = {
        key: _value(config, key, options[key], value)
        for key, value in config.defaults.items()
        if key in options and key not in dropped
    }
    kept = {key: value for key, value in kept.items() if value is not None}
    return FileDefaults(
        config=config,
        values={str(options[key].name): value for key, value in kept.items()},
        texts={key: config.defaults[key] for key in kept},
    )


def long_options(command: click.Command) -> dict[str, click.Option]:
    """Returns the options of a command by long name, without the hyphens."""
    return {
        name.removeprefix("--"): option
        for option in command.params
        if isinstance(option, click.Option)
        for name in option.opts
        if name.startswith("--")
    }


def _unknown(config: ConfigFile, key: str, known: set[str]) -> str:
    if key in _NEVER:
        return f"{config.place}: {key} is for the command line alone"
    guess = near(key.replace("_", "-").removeprefix("--"), sorted(known))
    hint = f"did you mean {guess}?" if guess else "keys are long options, as --batch is batch"
    return f"{config.place}: there is no option {key!r}; {hint}"


def _replaced(said: set[str], config: ConfigFile, command: str) -> set[str]:
    found = {other for key in said for other in _REPLACES.get(key, ())}
    if command == "estimate" and said & {"device", "memory"}:
        found |= {*_NOT_OF_A_CPU}
    if command == "estimate" and "host" in said and "gpu" not in said:
        found.add("gpu")  # the cards of the host are meant
    if "gpu" in said | found and "gpu" in config.defaults:
        found |= {*_OF_THE_CARD}
    return found - said


def _value(config: ConfigFile, key: str, option: click.Option, value: object) -> Any:
    """Returns the value for click; None if it has no effect, like false for a flag."""
    place = f"{config.place}: {key}"
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{place} must be true or false, not {value!r}")
        return value or None
    if option.multiple:
        several = value if isinstance(value, list) else [value]
        return [_one(config, place, option, one) for one in several] or None
    if isinstance(value, list) and key in _LISTS:
        return ",".join(str(_one(config, place, option, one)) for one in value) or None
    if isinstance(value, bool) and key == "compile":
        return (CompileMode.DEFAULT if value else CompileMode.OFF).value
    if isinstance(value, bool) and key == "ema":
        return str(EMA_DECAY) if value else None
    return _one(config, place, option, value)


def _one(config: ConfigFile, place: str, option: click.Option, value: object) -> Any:
    wanted, what = _type_of(option)
    if isinstance(value, bool) or not isinstance(value, tuple(wanted)):
        raise UsageError(f"{place} must be {what}, not {value!r}")
    if isinstance(option.type, click.Path):
        return str(config.path.parent / Path(str(value)).expanduser())
    return str(value) if str in wanted else value


def _type_of(option: click.Option) -> tuple[Sequence[type], str]:
    if isinstance(option.type, click.IntRange):
        return (int,), "a whole number"
    if option.type is click.FLOAT:
        return (int, float), "a number"
    if isinstance(option.type, (click.Choice, click.Path)):
        return (str,), "text"
    return (str, int, float), "text or a number"
