"""Adds files outside of docs/ to the site, so that a link works in a checkout and on the site.

In: the Markdown files of docs/ and the pages in `PAGES`. Out: each file that they link to, under
its path in the repository, and links rewritten to it. Convention: a path is relative to the top of
the repository; a page of docs/ has its path on the site without `docs/`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

TOP = Path(__file__).parents[2]
PAGES = (  # of the navigation
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "hardware_db/SCHEMA.md",
    "models/catalog/SCHEMA.md",
)
_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
_CODE = re.compile(r"`[^`]*`")
_LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?(\))")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the files outside of docs/ that a page links to, and the pages of the navigation."""
    from mkdocs.structure.files import File

    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()] + [*PAGES]
    known = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith("docs/"):
            files.append(File.generated(config, path, abs_src_path=str(TOP / path)))
        if path.endswith(".md"):
            found = set(_linked_files(path)) - known
            known |= found
            waiting.extend(one for one in found if not one.startswith("docs/"))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites the links of a page from places in the repository to places on the site.

    In tables, `\\|` in code becomes `|`: Python-Markdown, unlike others, would show the backslash.
    """
    site_path = page.file.src_uri
    path = site_path if files.src_uris[site_path].generated_by else f"docs/{site_path}"
    here = str(PurePosixPath(site_path).parent)

    def on_site(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups()
        linked = _repository_path(path, target)
        if not (TOP / linked).is_file():
            return match[0]  # mkdocs complains about it
        return f"{before}{os.path.relpath(linked.removeprefix('docs/'), here)}{anchor or ''}{after}"

    return _ROW.sub(_plain_bars, _LINK.sub(on_site, markdown))


def _plain_bars(row: re.Match[str]) -> str:
    return _CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0])


def _linked_files(path: str) -> Iterator[str]:
    for match in _LINK.finditer((TOP / path).read_text(encoding="utf-8")):
        linked = _repository_path(path, match[2])
        if (TOP / linked).is_file():
            yield linked


def _repository_path(page: str, target: str) -> str:
    return os.path.normpath(PurePosixPath(page).parent / target)
