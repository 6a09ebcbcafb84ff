"""Which step a kept verification was of, and whether two of them may have been of the same one.

In: the JSON document of a Verification. Out: StepIdentity. Convention: a document of an older
planner lacks some keys of the step: what it does not have may be anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from planner.config.step import StepConfig
from planner.results.estimate import asked_config_dict

# The search moves the batch, and the number of steps says how often the step is run.
OF_THE_RUN = ("batch_size", "steps")
_ARGUMENTS = "model_arguments"
_WEIGHTS = "weight_dtypes"
_IN_ENTRY = ("mode", "precision", "clip_grad_norm", "ema")  # words of the entry itself
_PARTS = frozenset(
    {
        *({field.name for field in fields(StepConfig)} - set(OF_THE_RUN)),
        "optimizer_requested", _ARGUMENTS, _WEIGHTS,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StepIdentity:
    """`parts` are names and JSON texts of what is known of the step, by name."""

    target: str
    parts: tuple[tuple[str, str], ...]

    @property
    def is_whole(self) -> bool:
        """Whether everything is known that makes a step another one."""
        return {name for name, _ in self.parts} >= _PARTS

    def may_be(self, other: StepIdentity) -> bool:
        """Whether nothing that is known of both tells them apart."""
        if self.target != other.target:
            return False
        theirs = dict(other.parts)
        return all(theirs.get(name, text) == text for name, text in self.parts)

    @property
    def settings(self) -> tuple[str, ...]:
        """What is not the default, like "channels_last true", beside what an entry has anyway."""
        usual = {_ARGUMENTS: "{}"} | {
            name: _text(value) for name, value in asked_config_dict(StepConfig()).items()
        }
        return tuple(
            f"{name} {text}".replace('"', "")
            for name, text in self.parts
            if name not in _IN_ENTRY and text not in (usual.get(name, text), "null")
        )


def step_identity(document: Mapping[str, Any]) -> StepIdentity:
    """The step of a Verification's JSON document.

    Raises:
        KeyError, TypeError, ValueError: it is no such document.
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
