"""Makes one self-contained HTML page of a result: no network, no code from elsewhere.

In: a result, or two. Out: HTML. Convention: the templates escape every text; the page's policy
(Content-Security-Policy) admits only the scripts and the style that are in it, by their hashes, and
no connection at all. With `is_redacted`, no path and no source line is in the page.
"""

from __future__ import annotations

import copy
import json
from base64 import b64encode
from collections.abc import Collection
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import jinja2

from planner.render.html.colours import colour_style
from planner.render.html.columns import Columns
from planner.render.html.panels.of_results import panel_of
from planner.render.html.redaction import redacted
from planner.render.html.side_by_side import differences
from planner.render.outside_text import shown_record
from planner.results.result import Result

_SCRIPTS = (
    "vendor/d3.min.js", "vendor/plot.umd.min.js", "scripts/format.js", "scripts/data.js",
    "scripts/timeline.js", "scripts/treemap.js", "scripts/estimate.js", "scripts/charts.js",
    "scripts/main.js",
)  # fmt: skip
_HERE = "planner.render.html"


def page_of(
    result: Result,
    *,
    other: Result | None = None,
    is_redacted: bool = False,
    batches: Collection[int] = (),
) -> str:
    """Returns the page of a result; `other` is shown next to it, with the differences.

    `batches` are shown beside the usual ones. Nothing is run.

    Raises:
        UsageError: a kind of result that has no page, or a batch that cannot be known.
    """
    columns = Columns()
    panels = [
        _shown_panel(one, columns, is_redacted=is_redacted, batches=batches if not at else ())
        for at, one in enumerate((result, other)) if one is not None
    ]  # fmt: skip
    data = {"results": [panel["data"] for panel in panels], "blobs": columns.blobs}
    scripts = [_text(name) for name in _SCRIPTS]
    style = colour_style() + _text("page.css")
    return _environment().get_template("page.html.j2").render(
        panels=panels,
        differences=[] if other is None else differences(result, other),
        title=" and ".join(panel["title"] for panel in panels),
        data=_json_for_html(data),
        scripts=scripts,
        style=style,
        policy=_policy(scripts, style),
    )  # fmt: skip


def _shown_panel(
    result: Result, columns: Columns, *, is_redacted: bool, batches: Collection[int]
) -> dict[str, Any]:
    panel = panel_of(_with_plain_texts(result), columns, batches)
    sources = panel.pop("sources")
    if not is_redacted:
        return panel
    return dict(redacted(panel, panel["target"], sources))


def _with_plain_texts(result: Result) -> Result:
    """Returns the result with texts that are safe to show; recordings are left as they are."""
    bare = copy.copy(result)
    recordings = {
        name: getattr(result, name) for name in ("allocations", "batches") if hasattr(result, name)
    }
    for name in recordings:
        object.__setattr__(bare, name, ())  # frozen
    safe = copy.copy(shown_record(bare))
    for name, found in recordings.items():
        object.__setattr__(safe, name, found)
    return safe


def _policy(scripts: list[str], style: str) -> str:
    script_hashes = " ".join(f"'{_hash(one)}'" for one in scripts)
    return (
        f"default-src 'none'; script-src {script_hashes}; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _json_for_html(data: Any) -> str:
    """Returns JSON that cannot end its script element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _text(name: str) -> str:
    return files(_HERE).joinpath(*name.split("/")).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
