"""Makes a record of the keys of a document that have the names of its fields.

In: a dataclass, a document. Out: the record. Convention: a key that an older planner has not
written leaves the default of its field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

import msgspec

Document = Mapping[str, Any]
_Record = TypeVar("_Record")


def record_of(kind: type[_Record], document: Document, **made: Any) -> _Record:
    """Returns a record: its fields are `made`, else keys of the document, else defaults."""
    hints = get_type_hints(kind)
    given = {
        name: msgspec.convert(document[name], hint)
        for name, hint in hints.items()
        if name not in made and name in document
    }
    return kind(**given, **made)
