"""What planner tells the process in which an engine starts on the emulated card.

In: nothing. Out: EngineStart as a line of JSON. Convention: what the engine prints is its answer.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStart:
    """The card, and what the engine is started with.

    `libraries` are the emulated device and `profile` the card; `arguments` are those of vllm.LLM.
    """

    libraries: tuple[str, ...]
    driver_folder: str
    profile: str
    arguments: dict[str, Any]


def start_text(start: EngineStart) -> str:
    """Returns the start as one line of JSON."""
    return json.dumps(asdict(start)) + "\n"


def start_of(text: str) -> EngineStart:
    """Returns the start of such a line."""
    given = json.loads(text)
    return EngineStart(**{**given, "libraries": tuple(given["libraries"])})
