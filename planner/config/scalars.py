"""The values of arguments that a caller may write on a command line.

In: nothing. Out: the type of such a value.
"""

from __future__ import annotations

Scalar = bool | int | float | str | None
