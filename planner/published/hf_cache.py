"""Finds the config.json of a model in the user's own cache of Hugging Face.

In: the name of a model. Out: the path of a config.json, or None. Convention: the cache is read as
files, as huggingface_hub lays them out; nothing is imported and nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def cache_folder() -> Path:
    """Returns the folder of the cache, as huggingface_hub chooses it (constants.py)."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return Path(given).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"


def cached_config(name: str, files: Sequence[str]) -> Path | None:
    """Returns the first of `files` that a snapshot of the model holds; the main one comes first."""
    folder = cache_folder() / f"models--{name.replace('/', '--')}"
    try:
        for snapshot in _snapshots(folder):
            for file in files:
                if (snapshot / file).is_file():
                    return snapshot / file
    except OSError:
        return None  # a cache that cannot be read has nothing for us
    return None


def _snapshots(folder: Path) -> Iterator[Path]:
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return
    main = folder / "refs" / "main"
    if main.is_file():
        yield snapshots / main.read_text(errors="replace").strip()
    yield from sorted(snapshots.iterdir(), key=lambda one: -one.stat().st_mtime)
