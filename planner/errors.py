"""The one error tree. Every message names the request, the finding and the next step.

    PlannerError                      exit code 1
    |- UsageError                     2   the request itself: an option, a value, a name
    |  |- UnknownGpuError             2   no such card; near names are in the message
    |  |- UnknownCpuError             2   no such processor; likewise
    |  |- UnknownHostError            2   no such host; likewise
    |  |- UnknownLinkError            2   no such link between cards or hosts; likewise
    |  |- UnknownModelError           2   no such model in the catalog; likewise
    |  |- LengthError                 2   a text longer than the positions of its model
    |  `- WrongTargetError            2   a target that cannot be a model; also a TargetError
    |- HardwareDatabaseError          1   a YAML record that cannot be used; names file and key
    |- CatalogError                   1   a file of the catalog of models, likewise
    |- TargetError                    1   no model, several models, a name that is not there
    |- ModelError                     1   the user's own code raised; carries the user's frames
    |  `- LibraryError                1   a compiled library of a package cannot be loaded
    |- UnsupportedPlatformError       1   no CUDA build of torch, no compiler, not Linux x86-64
    |- BuildError                     1   the emulated device could not be built or cached
    |- OutputError                  1   a result could not be written to a file or to stdout
    |- DocumentError                  1   a saved result cannot be read: damaged, of another program
    |- HistoryError                   1   the store of verifications cannot be read or written
    `- ChildError                     1   the child process failed: killed, aborted, garbled
       `- ChildTimeoutError           1   the child did not answer within the time allowed

Not fitting is a result, not an error (exit code 3 is given by the command line alone).
"""

from __future__ import annotations


class PlannerError(Exception):
    """Base of every error that planner raises on purpose."""

    exit_code = 1


class UsageError(PlannerError):
    """The request cannot be understood: an unknown option value, a contradiction."""

    exit_code = 2


class UnknownGpuError(UsageError):
    """A card that is not in the hardware database."""


class UnknownCpuError(UsageError):
    """A processor that is not in the hardware database."""


class UnknownHostError(UsageError):
    """A host that is not in the hardware database."""


class UnknownLinkError(UsageError):
    """A link that is not in the hardware database, or none that a card is known to have."""


class UnknownModelError(UsageError):
    """A model that is not in the catalog of published models."""


class LengthError(UsageError):
    """A text that is longer than the table of positions of its model."""


class HardwareDatabaseError(PlannerError):
    """A hardware record that cannot be read or does not follow the schema."""


class CatalogError(PlannerError):
    """A file of the catalog of models that cannot be read or does not follow the schema."""


class TargetError(PlannerError):
    """The model file or module, or the model in it, cannot be found or is ambiguous."""


class WrongTargetError(UsageError, TargetError):
    """A target that cannot be a model, found before the start: no file, a folder, weights."""


class ModelError(PlannerError):
    """The user's code raised. `frames` holds the user's own part of the traceback, as text."""

    def __init__(self, message: str, frames: str = "") -> None:
        super().__init__(message)
        self.frames = frames


class LibraryError(ModelError):
    """A package's compiled library cannot be loaded. Names package, library and symbol."""


class UnsupportedPlatformError(PlannerError):
    """This machine or this torch cannot run the emulated device."""


class BuildError(PlannerError):
    """The emulated device could not be built, or its cache folder cannot be used."""


class DocumentError(PlannerError):
    """A saved result is damaged, of another program, or of a later version of planner."""


class HistoryError(PlannerError):
    """The store of verifications is damaged, of another kind, newer, locked, or cannot grow."""


class OutputError(PlannerError):
    """A result could not be written to the requested file or stream."""


class ChildError(PlannerError):
    """The child process ended without delivering its result."""


class ChildTimeoutError(ChildError):
    """The child process was stopped because it did not answer in time."""
