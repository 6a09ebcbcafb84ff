"""Identifies the step of a kept verification; compares whether two may be of the same step.

In: the JSON document of a Verification. Out: StepIdentity. Convention: a document of an older
planner lacks some keys of the step: a missing key may have had any value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from planner.config.step import StepConfig
from planner.results.estimate import asked_config_dict

# Not parts of the step: the search changes the batch, `steps` is how often the step is run, and a
# verification runs no `window` of a generation and no other `size` than that of the task.
OF_THE_RUN = ("batch_size", "steps", "window", "size")
_ARGUMENTS = "model_arguments"
_WEIGHTS = "weight_dtypes"
_IN_ENTRY = ("mode", "precision", "clip_grad_norm", "ema")  # fields of the HistoryEntry itself
_PARTS = frozenset(
    {
        *({field.name for field in fields(StepConfig)} - set(OF_THE_RUN)),
        "optimizer_requested", _ARGUMENTS, _WEIGHTS,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StepIdentity:
    """The known parts of a step. `parts` are their names and JSON texts, by name."""

    target: str
    parts: tuple[tuple[str, str], ...]

    @property
    def is_whole(self) -> bool:
        """Returns whether every part that distinguishes steps is known."""
        return {name for name, _ in self.parts} >= _PARTS

    def may_be(self, other: StepIdentity) -> bool:
        """Returns whether all parts known of both steps are equal."""
        if self.target != other.target:
            return False
        theirs = dict(other.parts)
        return all(theirs.get(name, text) == text for name, text in self.parts)

    @property
    def settings(self) -> tuple[str, ...]:
        """Returns parts that are not the default, like "channels_last true", except _IN_ENTRY."""
        usual = {_ARGUMENTS: "{}"} | {
            name: _text(value) for name, value in asked_config_dict(StepConfig()).items()
        }
        return tuple(
            f"{name} {text}".replace('"', "")
            for name, text in self.parts
            if name not in _IN_ENTRY and text not in (usual.get(name, text), "null")
        )


def step_identity(document: Mapping[str, Any]) -> StepIdentity:
    """Reads the step of a Verification's JSON document.

    Raises:
        KeyError, TypeError, ValueError: it is not such a document.
    """
    known = {name: document[name] for name in (_ARGUMENTS, _WEIGHTS) if name in document}
    config = {**document["config"]}
    parts = {name: value for name, value in config.items() if name not in OF_THE_RUN} | known
    return StepIdentity(
        target=str(document["target"]),
        parts=tuple((name, _text(value)) for name, value in sorted(parts.items())),
    )


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
