"""Reads the promises out of the tests.

A test keeps a promise whose id is in its name (`hc_01_...`) or in its doc (`HC-01`). One doc line of one test says what
the id stands for: `HC-01: A peer ...`. An id in the doc of a file is kept by all tests of the file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]

# In the order of the table.
FAMILIES = {
    "HC": "half-close and orderly ends",
    "RS": "resets",
    "CN": "connecting to the upstream",
    "AC": "listening and accepting",
    "BP": "backpressure, slow and dead peers",
    "DI": "integrity of the bytes",
    "LC": "start, stop and drain",
    "FR": "whole messages",
    "CB": "callbacks",
    "PY": "the interpreter around them",
}

ID = rf"(?:{'|'.join(FAMILIES)})-\d\d"
_IN_NAME = re.compile(rf"(?:test_)?({'|'.join(FAMILIES).lower()})_(\d\d)_")
_TEXT = re.compile(rf"^\s*({ID}): (.+)$", re.MULTILINE)
_RUST_TEST = re.compile(r"^ *(?:pub )?fn (\w+)", re.MULTILINE)
_RUST_DOC = re.compile(r"(?:^ *(?:///.*|#\[.*\])\n)*\Z", re.MULTILINE)


@dataclass(frozen=True)
class Documented:
    """A test or, without a name, a whole file of tests; `path` begins at the folder of all tests."""

    path: str
    name: str
    doc: str

    def ids(self) -> set[str]:
        """Return the promises that it keeps."""
        found = _IN_NAME.match(self.name)
        in_name = {f"{found[1].upper()}-{found[2]}"} if found else set[str]()
        return in_name | set(re.findall(rf"\b{ID}\b", self.doc))

    def texts(self) -> list[tuple[str, str]]:
        """Return (id, promise) for each promise that its doc words."""
        return _TEXT.findall(self.doc)


@dataclass
class Promise:
    """What an id stands for."""

    id: str
    texts: list[str] = field(default_factory=list[str])
    kept_by: list[Documented] = field(default_factory=list[Documented])

    def shown(self) -> list[Documented]:
        """Return what keeps it: a file as a whole only where no single test of it does."""
        by_test = {it.path for it in self.kept_by if it.name}
        return [it for it in self.kept_by if it.name or it.path not in by_test]


def in_rust(path: str, source: str) -> Iterator[Documented]:
    """Yield the file, if it has a doc, and its functions."""
    head = re.match(r"(?://!.*\n)*", source)
    yield Documented(path, "", "" if head is None else re.sub(r"^//! ?", "", head[0], flags=re.MULTILINE))
    for function in _RUST_TEST.finditer(source):
        above = _RUST_DOC.search(source[: function.start()])
        doc = "" if above is None else re.sub(r"^ *(?:/// ?|#\[.*\]$)", "", above[0], flags=re.MULTILINE)
        yield Documented(path, function[1], doc)


def in_python(path: str, source: str) -> Iterator[Documented]:
    """Yield the file and its tests."""
    tree = ast.parse(source)
    yield Documented(path, "", ast.get_docstring(tree) or "")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield Documented(path, node.name, ast.get_docstring(node) or "")


def documented() -> Iterator[Documented]:
    """Yield everything of the tests that may have an id."""
    for path in sorted(TESTS.rglob("*.rs")):
        yield from in_rust(path.relative_to(TESTS).as_posix(), path.read_text(encoding="utf-8"))
    for path in sorted(TESTS.rglob("test_*.py")):
        if path.parent != Path(__file__).parent:
            yield from in_python(path.relative_to(TESTS).as_posix(), path.read_text(encoding="utf-8"))


def promises(found: Iterator[Documented]) -> list[Promise]:
    """Return what the ids stand for, in the order of the table."""
    by_id: dict[str, Promise] = {}
    for it in found:
        for name in it.ids():
            by_id.setdefault(name, Promise(name)).kept_by.append(it)
        for name, text in it.texts():
            by_id[name].texts.append(text)
    order = list(FAMILIES)
    return sorted(by_id.values(), key=lambda promise: (order.index(promise.id[:2]), promise.id))
