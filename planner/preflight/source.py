"""Reads the names that a Python file binds at its top level, by its syntax, without running it.

In: a path. Out: Source, or None where it cannot be read so. Convention: names are those that the
file may bind; with `is_certain` nothing in it can bind others.
"""

from __future__ import annotations

import ast
import builtins
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOST_BYTES = 1 << 20  # a larger file is left to the run
_Function = (ast.FunctionDef, ast.AsyncFunctionDef)
_Scope = (*_Function, ast.ClassDef, ast.Lambda)
# Names whose use can bind other names, which the syntax does not show.
_BINDERS = {"globals", "exec", "eval"}
_HOLDERS = {"_getframe", "currentframe", "f_globals", "__globals__", "__dict__"}
_OF_THE_SCOPE = {"vars", "locals"}  # without an argument they give the names of the module
_CLASS_MAKERS = {"type", "new_class", "make_dataclass", "make_class"}
# A class with one of these beginnings is not an nn.Module.
_NO_MODELS = (
    "torch.utils.data.", "torch.autograd.", "torch.optim.Optimizer", "torch.optim.lr_scheduler.",
    "torchvision.datasets.", "enum.", "typing.", "abc.", "collections.", "threading.", "argparse.",
    "unittest.", "json.",
)  # fmt: skip
_BUILTIN_CLASSES = {name for name, value in vars(builtins).items() if isinstance(value, type)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file's top level: `names` are bound there, `functions` and `classes` defined there.

    `may_hold_model_class`: a class of the file, or one that a call in it makes, may be a model.
    """

    names: frozenset[str]
    functions: tuple[str, ...]
    classes: tuple[str, ...]
    is_certain: bool
    may_hold_model_class: bool


def read_source(path: Path) -> Source | None:
    """Returns the top level of a file; None if it is too large, not text, or not valid Python."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run shows them too
            tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    top = tuple(_top_level(tree))
    names = frozenset(_bound(top)) | frozenset(_global(tree))
    return Source(
        names=names,
        functions=tuple(node.name for node in top if isinstance(node, _Function)),
        classes=tuple(node.name for node in top if isinstance(node, ast.ClassDef)),
        is_certain=not _is_dynamic(tree, names, path.stem),
        may_hold_model_class=_may_hold_model_class(tree, top, names),
    )


def _top_level(tree: ast.Module) -> Iterator[ast.AST]:
    """Yields all nodes outside functions and classes, and these without their contents."""
    waiting: list[ast.AST] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _Scope):
            waiting += reversed(list(ast.iter_child_nodes(node)))


def _bound(top: tuple[ast.AST, ...]) -> Iterator[str]:
    for node in top:
        if isinstance(node, (*_Function, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and not _is_read(node):
            yield node.id
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]
        elif isinstance(node, (ast.MatchAs, ast.MatchStar, ast.ExceptHandler)) and node.name:
            yield node.name
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest


def _global(tree: ast.Module) -> Iterator[str]:
    """Yields the names that functions bind at the top level."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.NamedExpr):  # such as := in a default value of a function
            yield node.target.id


def _is_dynamic(tree: ast.Module, names: frozenset[str], stem: str) -> bool:
    """Returns whether the file may bind top-level names that the syntax does not show."""
    return "__getattr__" in names or any(
        _imports_binders(node, stem) or _reaches_the_scope(node) for node in ast.walk(tree)
    )


def _imports_binders(node: ast.AST, stem: str) -> bool:
    """Returns whether a node imports all names, the file itself, or access to a module's names."""
    if isinstance(node, ast.ImportFrom):
        names = {alias.name for alias in node.names}
        return "*" in names or node.module == stem or not names.isdisjoint({"modules", *_HOLDERS})
    return isinstance(node, ast.Import) and any(
        alias.name in (stem, "__main__") for alias in node.names
    )


def _reaches_the_scope(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in _BINDERS
    if isinstance(node, ast.Attribute):
        of_sys = node.attr == "modules" and _dotted(node.value) == "sys"
        return of_sys or node.attr in _HOLDERS
    return (
        isinstance(node, ast.Call)
        and not node.args
        and isinstance(node.func, ast.Name)
        and node.func.id in _OF_THE_SCOPE
    )


def _may_hold_model_class(
    tree: ast.Module, top: tuple[ast.AST, ...], names: frozenset[str]
) -> bool:
    origins = _origins(tree)
    assigned = {node.id for node in top if isinstance(node, ast.Name) and not _is_read(node)}
    defined = {node.name: node for node in top if isinstance(node, ast.ClassDef)}

    def is_no_model(base: ast.expr, seen: tuple[str, ...]) -> bool:
        if isinstance(base, ast.Subscript):  # Generic[T]
            return is_no_model(base.value, seen)
        name = _dotted(base) or ""
        first, dot, rest = name.partition(".")
        if first in assigned or name in seen or (first in origins and first in defined):
            return False
        if first in origins:
            return all(f"{one}{dot}{rest}".startswith(_NO_MODELS) for one in origins[first])
        if name in defined:
            return not may_be_model(defined[name], (*seen, name))
        return name in _BUILTIN_CLASSES and name not in names

    def may_be_model(node: ast.ClassDef, seen: tuple[str, ...] = ()) -> bool:
        decorators = {(_dotted(one) or "").rpartition(".")[2] for one in node.decorator_list}
        if node.keywords or decorators - {"dataclass"}:
            return True
        return not all(is_no_model(base, seen) for base in node.bases)

    return any(
        (isinstance(node, ast.ClassDef) and may_be_model(node)) or _makes_class(node)
        for node in ast.walk(tree)
    ) or any(_assigns_class(node) for node in top)


def _makes_class(node: ast.AST) -> bool:
    """Returns whether a node makes a class by a call like type("Net", bases, {})."""
    if not isinstance(node, ast.Call):
        return False
    called = (_dotted(node.func) or "").rpartition(".")[2]
    return called in _CLASS_MAKERS and len(node.args) > 1


def _assigns_class(node: ast.AST) -> bool:
    """Returns whether the name suggests that a call gives a class, as in Net = make(...)."""
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and any(isinstance(one, ast.Name) and one.id[:1].isupper() for one in node.targets)
        and not all(isinstance(one, ast.Name) and one.id.isupper() for one in node.targets)
    )


def _is_read(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Load)


def _origins(tree: ast.Module) -> dict[str, set[str]]:
    """Returns each imported name, with the dotted names that it stands for."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                origin = alias.name if alias.asname else first
                found.setdefault(alias.asname or first, set()).add(origin)
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            for alias in node.names:
                found.setdefault(alias.asname or alias.name, set()).add(f"{package}.{alias.name}")
    return found


def _dotted(node: ast.AST) -> str | None:
    """Returns `a.b.c` of such an expression; for a call, the name that is called."""
    if isinstance(node, ast.Call):
        return _dotted(node.func)
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None
