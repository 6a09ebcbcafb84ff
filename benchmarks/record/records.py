"""The records of a published figure: its source, and the step that is run for it.

In: nothing. Out: Step, Case, Source; each comparison adds fields of its own. Convention: paths of
model files are relative to the repository.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

from planner.config.target import Scalar

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step on an emulated card.

    `arguments` are for the model file's build_model; `options` are the fields of StepConfig;
    `variables` are set in the environment of the child. `image_size` is None without images.
    """

    model: str
    card: str
    batch_size: int
    model_file: str
    arguments: tuple[tuple[str, Scalar], ...] = ()
    options: tuple[tuple[str, Scalar], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    image_size: int | None = None

    @property
    def loaded(self) -> tuple[object, ...]:
        """Returns the key of the child that can run this step: batch and card may differ."""
        return (self.model_file, self.arguments, self.options, self.variables, self.image_size)


def step_of(document: dict[str, Any]) -> Step:
    """Reads a step from the JSON of its fields."""
    pairs = {
        key: tuple((name, value) for name, value in document[key])
        for key in ("arguments", "options", "variables")
    }
    return Step(**{**document, **pairs})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One published figure."""

    source: str
    name: str
    step: Step

    @property
    def run(self) -> str:
        """Returns the name of the measured run, which may have more than one figure."""
        return self.name


class Unit(Enum):
    """The unit of which halves are drawn, one to fit constants on and one to judge them."""

    MODEL = "models"
    CASE = "cases"  # where there are too few models

    def of(self, case: Case) -> str:
        """Returns the name of the unit that the case belongs to."""
        return case.name if self is Unit.CASE else case.step.model


AnyCase = TypeVar("AnyCase", bound=Case)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Generic[AnyCase]):
    """One published set of figures.

    `measurements` is its CSV file; `read` makes the cases of a row, for the source itself;
    `environment` is a name in environments.py.
    """

    name: str
    title: str
    measurements: Path
    read: Callable[[Any, Row], Iterator[AnyCase]]
    environment: str = "current"
    halved_by: Unit = Unit.MODEL
