"""The arrows between a package's files, as its imports draw them, and the circles among those."""

from __future__ import annotations

import ast
import enum
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Kind(enum.IntEnum):
    """When an import is made."""

    LOADING = 0
    """When the file is loaded."""
    DEFERRED = 1
    """When a function is called."""
    TYPING = 2
    """By type checkers alone."""


class Arrow(NamedTuple):
    """One file needs another."""

    source: str
    target: str
    kind: Kind
    line: int


class _Imports(ast.NodeVisitor):
    """Collects the arrows of one file."""

    def __init__(self, package: str, source: str, files: Iterable[str]) -> None:
        self._package = package
        self._source = source
        self._files = frozenset(files)
        self._kind = Kind.LOADING
        self.arrows: list[Arrow] = []

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._note(alias.name.split("."), node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        head = node.module.split(".") if node.module else []
        if node.level:
            # A package is its own parent: `from . import x` in `_cli/__init__.py` is of `_cli`.
            own = [self._package, *self._source.split(".")]
            parents = own[: len(own) - node.level] if not self._source.endswith("__init__") else own[: -node.level]
            head = parents + head
        for alias in node.names:
            self._note([*head, alias.name], node.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        """See `import_module("package.file")`, by whatever name it goes."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0] if node.args else None
        if name in ("import_module", "__import__") and isinstance(first, ast.Constant):
            self._note(str(first.value).split("."), node.lineno)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        test = node.test
        is_typing = getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"
        self._within(Kind.TYPING if is_typing else self._kind, node.body)
        self._within(self._kind, node.orelse)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._within(max(self._kind, Kind.DEFERRED), node.body)
        for other in [*node.decorator_list, node.args]:
            self.visit(other)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def _within(self, kind: Kind, body: list[ast.stmt]) -> None:
        before, self._kind = self._kind, kind
        for node in body:
            self.visit(node)
        self._kind = before

    def _note(self, words: list[str], line: int) -> None:
        """Note the longest part of a dotted name that is a file of the package."""
        if words[0] != self._package:
            return
        inside = words[1:]
        for length in range(len(inside), 0, -1):
            name = ".".join(inside[:length])
            for target in (name, f"{name}.__init__"):
                if target in self._files:
                    if target != self._source:
                        self.arrows.append(Arrow(self._source, target, self._kind, line))
                    return


def arrows_of(package: str, sources: Mapping[str, str]) -> list[Arrow]:
    """Return the arrows among `sources`: texts by name, `_server` or `_cli.demo` or `_cli.__init__`."""
    found: list[Arrow] = []
    for name, text in sources.items():
        imports = _Imports(package, name, sources)
        imports.visit(ast.parse(text))
        found += imports.arrows
    return found


def circles(arrows: Iterable[Arrow], kind: Kind) -> list[list[str]]:
    """Return the circles that arrows of `kind` close, with those that come earlier: groups of files, sorted.

    A circle is reported by the earliest kind that closes it.
    """
    known = [*arrows]
    before = [] if kind is Kind.LOADING else _groups(arrow for arrow in known if arrow.kind < kind)
    return [group for group in _groups(arrow for arrow in known if arrow.kind <= kind) if group not in before]


def _groups(arrows: Iterable[Arrow]) -> list[list[str]]:
    reached: dict[str, set[str]] = {}
    targets: dict[str, set[str]] = {}
    for arrow in arrows:
        targets.setdefault(arrow.source, set()).add(arrow.target)
    for name in targets:
        waiting, seen = [name], set[str]()
        while waiting:
            new = targets.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        reached[name] = seen
    groups = {tuple(sorted(b for b in reached if b in reached[a] and a in reached[b])) for a in reached}
    return sorted([*group] for group in groups if group)
