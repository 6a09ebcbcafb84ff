"""The text of a key of a document, and the type of a range."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msgspec import Meta

Range = list[float]  # low and high


def described(description: str) -> Meta:
    """Returns the text of a key. msgspec is imported when a schema is made, not with a result."""
    from msgspec import Meta

    return Meta(description=description)
