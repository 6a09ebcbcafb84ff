"""What the user's code has read: all that an answer of the child may depend on besides its job.

In: nothing. Out: Reads, sent as JSON. Convention: names alone, each path absolute; the parent looks
at what they name, when an answer is kept and when it is looked up (process/kept).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """Names of what was read since the last report of the same process or of its parent.

    `unkept` is a reason why an answer must not be kept, if there is one.
    """

    modules: tuple[str, ...] = ()
    """Files of imported modules."""
    files: tuple[str, ...] = ()
    """Files that were opened to be read, whether they exist or not."""
    looked_at: tuple[str, ...] = ()
    """Paths whose existence, size or time was asked for."""
    folders: tuple[str, ...] = ()
    """Folders that were listed."""
    search_path: tuple[str, ...] = ()
    """sys.path."""
    top_level: tuple[str, ...] = ()
    """Names of modules that were looked for in `search_path`, whether they were found or not."""
    distributions: tuple[str, ...] = ()
    """Folders that were searched for installed distributions."""
    in_packages: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """A folder of a package, and the names of modules that were looked for in it."""
    variables: tuple[str, ...] = ()
    """Environment variables."""
    all_variables: bool = False
    """Whether the environment was read as a whole."""
    unkept: str | None = None


_INSTALLED = ("/site-packages/", "/dist-packages/")


def is_installed(place: str) -> bool:
    """Returns whether a path is that of an installed package, which only an installer changes."""
    return any(part in place for part in _INSTALLED)
