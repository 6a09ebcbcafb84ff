"""Writes docs/reference/json.md from the types of the documents, and their JSON Schemas.

Run `python docs/hooks/json_page.py` after a change in planner/results/schema/; a test compares
the page. As a hook of mkdocs it adds the schemas to the site as reference/schema/COMMAND.json.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

TOP = Path(__file__).parents[2]
if str(TOP) not in sys.path:
    sys.path.insert(0, str(TOP))

from planner.results.document import KINDS, json_schema  # noqa: E402

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

_SCHEMA = [
    node
    for file in sorted((TOP / "planner/results/schema").glob("*.py"))
    for node in ast.parse(file.read_text(encoding="utf-8")).body
]
PAGE = TOP / "docs/reference/json.md"
_HEAD = """\
# JSON

<!-- Written by docs/hooks/json_page.py from planner/results/schema/. -->

`--json` prints one document, `schema_version` 1. Keys may be added; none is changed or removed.
Sizes are bytes, times seconds, and a range is `[low, high]`. What is not known is null. `from_dict`
of [each record](python.md#every-result) reads a document again, and `planner show FILE` prints its
report.

A JSON Schema of each document, for an editor or a validator, is in `schema/` beside this page on
the site: {schemas}.
In Python, `planner.results.document.json_schema("estimate")` gives it.

Where a [file of the project](config-file.md) gave defaults, the documents of these seven commands
have one key more: `defaults_file`, with the path as `file` and the defaults in force as `options`.
"""
_TAIL = """
## Other commands

`history`, `learn`, `models`, `gpus`, `cpus`, `hosts`, `cache` and `doctor` print a document of
their own each with `--json`, with a `schema_version` too.
"""


def page() -> str:
    """The text of the page."""
    links = ", ".join(f"`schema/{kind.command}.json`" for kind in KINDS)
    parts = [_HEAD.format(schemas=links)]
    described: set[str] = set()
    for kind in KINDS:
        schema = json_schema(kind.command)
        parts.append(f"\n## planner {kind.command}\n")
        parts.extend(_tables(_name(schema), schema["$defs"], described))
    return "".join([*parts, _TAIL])


def _tables(name: str, definitions: dict[str, Any], described: set[str]) -> Iterator[str]:
    """The table of an object, then those of the objects in it, each once in the page."""
    described.add(name)
    inner: list[str] = []
    found = definitions[name]
    if name.removesuffix("Document") not in _KINDS_OF_PAGE:
        yield f"\n### {_title(name)}\n\n{found['description']}\n"
    yield "\n| key | type | holds |\n|---|---|---|\n"
    for key in _ordered(name, found["properties"]):
        value = found["properties"][key]
        yield f"| `{key}` | {_type(value, inner)} | {value['description']} |\n"
    for one in inner:
        if one not in described:
            yield from _tables(one, definitions, described)


_KINDS_OF_PAGE = {kind.document.__name__.removesuffix("Document") for kind in KINDS}


def _ordered(name: str, properties: dict[str, Any]) -> list[str]:
    """Keys in the order of the class, those of its bases last; msgspec sorts them by name."""
    body = next(node for node in _SCHEMA if isinstance(node, ast.ClassDef) and node.name == name)
    own = [
        node.target.id
        for node in body.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    bases = [base.id for base in body.bases if isinstance(base, ast.Name)]
    inherited = [key for base in bases if base != "TypedDict" for key in _ordered(base, properties)]
    return [*own, *inherited]


def _type(value: dict[str, Any], inner: list[str]) -> str:
    if "anyOf" in value:
        kinds = [_type(one, inner) for one in value["anyOf"]]
        return "any scalar" if len(kinds) > 3 else " or ".join(dict.fromkeys(kinds))
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        inner.append(name)
        return f"[{_title(name)}](#{_title(name).replace(' ', '-')})"
    if "const" in value or "enum" in value:
        return f"`{value.get('const', value.get('enum', [''])[0])}`"
    if value.get("type") == "array":
        return f"list of {_type(value['items'], inner)}"
    if value.get("type") == "object":
        values = value.get("additionalProperties")
        return f"object of {_type(values, inner)}" if isinstance(values, dict) else "object"
    return str(value.get("type", "any value"))


def _title(name: str) -> str:
    """A class name as words: ComparedCardDocument, "compared card"."""
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in name.removesuffix("Document"))
    return words.strip()


def _name(schema: dict[str, Any]) -> str:
    name: str = schema["$ref"].rpartition("/")[2]
    return name


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the schemas to the site."""
    from mkdocs.structure.files import File

    for kind in KINDS:
        text = json.dumps(json_schema(kind.command), indent=2) + "\n"
        path = f"reference/schema/{kind.command}.json"
        files.append(File.generated(config, path, content=text))
    return files


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
