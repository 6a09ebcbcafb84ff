"""Texts of the user's code, in a form that can be sent and shown.

In: any text. Out: one that a terminal and JSON accept.
"""

from __future__ import annotations

_LIMIT = 4000  # characters; some exceptions print whole tensors


def sendable(text: str) -> str:
    """Returns the text without lone surrogates, and of limited length."""
    if len(text) > _LIMIT:
        text = f"{text[:_LIMIT]} ... ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode()
