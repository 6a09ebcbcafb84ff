"""Takes a build out of the installed package vram-planner-devices, so that nothing is compiled.

In: the key of a build. Out: its files, copied to the cache, where they are as safe as those that
were built there. Convention: the package has a sealed folder for each key; wheel.py makes it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from planner.emulator.sealed import DamagedError, unpacked

DISTRIBUTION = "vram-planner-devices"
PACKAGE = "vram_planner_devices"


def prebuilt_folder(key: str) -> Path | None:
    """Returns the folder of this build in the installed package; None: there is none."""
    try:
        spec = find_spec(PACKAGE)
    except (ImportError, ValueError):
        return None
    locations = [] if spec is None else spec.submodule_search_locations or []
    return next((Path(one) / key for one in locations if (Path(one) / key).is_dir()), None)


def taken(key: str, work: Path) -> dict[str, Any] | None:
    """Copies the build to the folder `work`; returns its manifest, None where it cannot be used.

    Raises:
        OSError: `work` cannot be written.
    """
    folder = prebuilt_folder(key)
    if folder is None:
        return None
    try:
        return unpacked(folder, work)
    except DamagedError:
        for path in sorted(work.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        return None
