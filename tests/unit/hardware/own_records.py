"""Records of a user, written as files of a folder of theirs."""

from __future__ import annotations

from pathlib import Path

import yaml


def written(folder: Path, record: object, name: str = "one.yaml") -> Path:
    """The file, in a folder that is made for it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(yaml.safe_dump(record), encoding="utf-8")
    return path
