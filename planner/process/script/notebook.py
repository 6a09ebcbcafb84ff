"""A notebook as a script: its code cells, one after the other.

In: the .ipynb file. Out: Python text. Convention: a line of IPython (%, !, ?) does no work of the
training and becomes `pass`; a cell of another language is left out.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from planner.errors import UsageError
from planner.process.script.words import is_python

SUFFIX = ".ipynb"
_LINE_MAGIC = re.compile(r"^(\s*)(?:%[A-Za-z%].*|!(?!=).*|\??[\w.]+\?{1,2}|\?{1,2}[\w.]+)\s*$")
_ASSIGNED = re.compile(r"^(\s*)([\w, ]+?)\s*=\s*(!|%(?!%)).*$")
_KEPT_CELLS = ("%%time", "%%timeit", "%%capture", "%%prun")  # what follows is Python
_BEFORE = "import sys; sys.path[0] = {folder!r}; display = print; get_ipython = lambda: None\n"


@contextmanager
def notebook_as_script(words: Sequence[str], working: Path) -> Iterator[tuple[str, ...]]:
    """Yields the words of a command with its notebook replaced by a script, which ends with it.

    Without a notebook these are the same words. A notebook alone is run by `python`.

    Raises:
        UsageError: there is no such notebook, or it holds no Python.
    """
    place = next((i for i, word in enumerate(words) if word.endswith(SUFFIX)), None)
    if place is None or place > 1 or not all(map(is_python, words[:place])):  # an argument
        yield tuple(words)
        return
    file = working / words[place]
    code = script_of(file)
    with tempfile.TemporaryDirectory(prefix="planner-notebook-") as folder:
        script = Path(folder, f"{file.stem}.py")
        script.write_text(code, encoding="utf-8")
        python = tuple(words[:place]) or ("python",)
        yield (*python, str(script), *words[place + 1 :])


def script_of(file: Path) -> str:
    """Returns the code cells of a notebook as a script that imports from the notebook's folder.

    Raises:
        UsageError: the file is not there, is no notebook, or holds no Python.
    """
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
        cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
        texts = ["".join(cell["source"]) for cell in cells]
        language = content.get("metadata", {}).get("kernelspec", {}).get("language", "python")
    except FileNotFoundError:
        raise UsageError(f"there is no notebook {file}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{file} cannot be read as a notebook of format 4 ({type(error).__name__}: {error}); "
            "save it anew, or convert it with `jupyter nbconvert --to script`"
        ) from None
    if language != "python" or not any(map(str.strip, texts)):
        found = f"its language is {language}" if language != "python" else "it has no code cell"
        raise UsageError(f"{file} holds no Python: {found}")
    first = _BEFORE.format(folder=str(file.resolve().parent))
    return first + "\n\n".join(map(_plain_cell, texts)) + "\n"


def _plain_cell(text: str) -> str:
    """Returns a cell without the lines of IPython; line numbers stay."""
    lines = text.splitlines()
    if lines and lines[0].startswith("%%"):
        if not lines[0].startswith(_KEPT_CELLS):
            return "\n".join(f"# {line}" for line in lines)
        lines[0] = f"# {lines[0]}"
    return "\n".join(map(_plain_line, lines))


def _plain_line(line: str) -> str:
    assigned = _ASSIGNED.match(line)
    if assigned:
        return f"{assigned[1]}{assigned[2]} = None  # {line.strip()}"
    magic = _LINE_MAGIC.match(line)
    return f"{magic[1]}pass  # {line.strip()}" if magic else line
