"""Turns the tables [[check]] of a project's file into checks.

In: a ConfigFile. Out: Checks. Convention: keys that are neither a limit nor `name`, `target` or
`strict` are long options of `planner estimate`, and [defaults] apply as on its command line. All of
it is checked before anything is run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import click

from planner.cli.config_file import ConfigFile
from planner.cli.estimate import estimate
from planner.cli.file_defaults import FileDefaults, file_defaults, long_options
from planner.config.check import Check
from planner.config.limits import LIMIT_WORDS, STRICT, LimitKind, parse_limits
from planner.errors import UsageError
from planner.hardware.database import load_gpus
from planner.machine.this_host import NAME as THIS_HOST
from planner.memory.card_words import ALL_CARDS, OWN_CARD, card_words
from planner.wire.variables import ALLOC_CONF_VARIABLES

_OWN_KEYS = ("name", "target", STRICT, *LIMIT_WORDS)
# Parameters of the command that are not options of planner.estimate().
_OF_THE_COMMAND = ("target", "save_file", "as_json", "verbose", "quiet")
_NOT_OF_A_CHECK = ("json", "verbose", "quiet", "save", "no-config", "help")
_NOT_HERE = "a check has the same figures on every machine"


def read_checks(
    config: ConfigFile, known_elsewhere: Callable[[], Collection[str]] = tuple
) -> tuple[Check, ...]:
    """Returns the checks of a file, in its order; `known_elsewhere` is that of file_defaults.

    Raises:
        UsageError: there are none, or one has a wrong key or value; names the check.
    """
    if not config.checks:
        raise UsageError(
            f"{config.place}: there is no [[check]] in it; write one with target, gpu and limits"
        )
    found: list[Check] = []
    for number, table in enumerate(config.checks, 1):
        check = _check(config, number, table, known_elsewhere)
        if any(check.name == other.name for other in found):
            raise UsageError(
                f"{config.place}: two checks have the name {check.name!r}; give each a name of its "
                "own: name = ..."
            )
        found.append(check)
    return tuple(found)


def _check(
    config: ConfigFile,
    number: int,
    table: Mapping[str, Any],
    known_elsewhere: Callable[[], Collection[str]],
) -> Check:
    target, name = table.get("target"), table.get("name")
    place = f"{config.place}: [[check]] {number}"
    if not isinstance(target, str) or not target:
        raise UsageError(f'{place}: it has no target; write target = "net.py", and the gpu')
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise UsageError(f"{place}: name must be text, not {name!r}")
    place = f"{place} ({name or target})"
    try:
        limits = parse_limits({key: table[key] for key in table if key in (STRICT, *LIMIT_WORDS)})
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error
    own = {key: value for key, value in table.items() if key not in _OWN_KEYS}
    shared = file_defaults(config, estimate, _parameters(own), known_elsewhere)
    options, words = _options(shared, place, target, own)
    if limits.need_largest_batch and not options.get("max_batch", True):
        raise UsageError(
            f"{place}: {LimitKind.MIN_LARGEST_BATCH.value} needs the search for the largest batch: "
            "take no-max-batch out"
        )
    return Check(
        name=name or target,
        target=target,
        options=options,
        limits=limits,
        words=words,
    )


def _parameters(own: Mapping[str, Any]) -> list[str]:
    """Returns the parameters of `planner estimate` that these keys are for."""
    known = long_options(estimate)
    return [str(known[key].name) for key in own if key in known]


def _options(
    shared: FileDefaults, place: str, target: str, own: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """Returns the options as planner.estimate() takes them, and as they were written."""
    for key in own:
        if key in _NOT_OF_A_CHECK:
            raise UsageError(f"{place}: {key} is no option of a check")
    table = ConfigFile(path=shared.config.path, place=place, defaults=own)
    try:
        here = file_defaults(table, estimate, (), tuple)
    except UsageError as error:
        raise UsageError(f"{error}; limits are {', '.join(LIMIT_WORDS)}") from error
    params = _parsed(place, target, {**shared.values, **here.values})
    _refuse_what_differs(place, params)
    options = {
        name: value
        for name, value in params.items()
        if name not in _OF_THE_COMMAND and value not in (None, ())
    }
    options["calibration"] = False  # past verifications of one machine would move the figures
    return options, _words(shared, here)


def _parsed(place: str, target: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters of `planner estimate`, as its command line gives them."""
    try:
        context = estimate.make_context(
            "estimate", [target, "--no-config"], default_map=dict(values)
        )
    except click.BadParameter as error:
        option = error.param.opts[-1].removeprefix("--") if error.param else "an option"
        raise UsageError(f"{place}: {option}: {error.message}") from error
    except click.UsageError as error:
        raise UsageError(f"{place}: {error.format_message()}") from error
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error
    return dict(context.params)


def _refuse_what_differs(place: str, params: Mapping[str, Any]) -> None:
    """Raises UsageError for options whose figures depend on the machine, and for unknown cards."""
    cards = card_words(params.get("gpu"))
    words = [card.lower() for card in cards]
    if params.get("device") is not None or params.get("memory") is not None:
        raise UsageError(f"{place}: device and memory are of a run on a CPU; {_NOT_HERE}: say gpu")
    if params.get("measure_data"):
        raise UsageError(f"{place}: measure-data times this machine; {_NOT_HERE}: say data")
    if str(params.get("host") or "").lower() == THIS_HOST:
        raise UsageError(f"{place}: host {THIS_HOST!r} measures this machine; {_NOT_HERE}")
    if not cards and params.get("host") is None:
        raise UsageError(f'{place}: it names no card; write gpu = "a10g"')
    if OWN_CARD in words or ALL_CARDS in words:
        raise UsageError(f"{place}: gpu must name cards, not {OWN_CARD} or {ALL_CARDS}")
    database = params.get("hardware_db")
    known = load_gpus(None if database is None else Path(database))
    for card in cards:
        try:
            known.find(card)
        except UsageError as error:
            raise UsageError(f"{place}: {error}") from error


def _words(shared: FileDefaults, here: FileDefaults) -> tuple[tuple[str, str], ...]:
    texts = {**shared.texts, **here.texts}
    if "alloc-conf" not in texts:  # PyTorch in the run reads them
        texts |= {name: os.environ[name] for name in ALLOC_CONF_VARIABLES if name in os.environ}
    return tuple(
        (key, ",".join(map(str, value)) if isinstance(value, list) else str(value))
        for key, value in sorted(texts.items())
    )
