"""Opens the kept answers of a target, where the user and the target allow it.

In: the target, torch, the emulated device. Out: KeptAnswers, or why there are none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from planner.config.target import Target, TargetKind
from planner.emulator.build import EmulatedDevice
from planner.emulator.torch_install import TorchInstall
from planner.errors import BuildError
from planner.process.environment import child_environment
from planner.process.kept.answers import KeptAnswers
from planner.process.kept.key import key_of
from planner.process.kept.store import OFF_VARIABLE, limit_bytes, open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedAnswers:
    """The answers; None: none are kept, for a `reason`, or with a `warning` for the user."""

    answers: KeptAnswers | None = None
    reason: str = ""
    warning: str | None = None


def opened_answers(
    target: Target, *, torch: TorchInstall, device: EmulatedDevice, profile: str, wanted: bool
) -> OpenedAnswers:
    """Returns the kept answers of a target on the emulated device, loaded on the card `profile`.

    Raises:
        UsageError: $VRAM_PLANNER_CACHE_SIZE is no size.
    """
    if not wanted or os.environ.get(OFF_VARIABLE):
        return OpenedAnswers(reason="the cache is off")
    if target.kind is TargetKind.PICKLE:
        return OpenedAnswers(reason="the target is a live object")
    if not limit_bytes():
        return OpenedAnswers(reason="the cache may hold 0 bytes")
    environment = child_environment({})
    try:
        store = open_store()
        key = key_of(target, torch=torch, device=device, profile=profile, environment=environment)
    except (BuildError, OSError) as error:
        return OpenedAnswers(
            reason="the folder cannot be used", warning=f"answers cannot be kept: {error}"
        )
    return OpenedAnswers(answers=KeptAnswers(store, key, environment))
