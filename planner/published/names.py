"""Parts the name of a published model: the library before the colon, the model after it.

In: the target in the caller's words. Out: NamedModel, or None where the text names none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from planner.config.published import Library

# As hubs allow it: org/name, each part without a slash.
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
FORMS = (
    "hf:org/name", "hf:path/to/config.json", "diffusers:path/to/config.json", "timm:resnet50",
    "torchvision:vit_b_16",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """A library, and the model in the caller's words."""

    library: Library
    name: str


def named_model(text: str) -> NamedModel | None:
    """Returns the library and the model of `hf:org/name`; None for any other target."""
    word, separator, name = text.partition(":")
    libraries = {library.value: library for library in Library}
    if not separator or word not in libraries or not name:
        return None
    return NamedModel(library=libraries[word], name=name)


def is_hub_name(name: str) -> bool:
    """Returns whether a hub could have a model of this name."""
    return _HUB_NAME.fullmatch(name) is not None
