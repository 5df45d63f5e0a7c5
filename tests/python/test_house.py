"""The house rule that no linter has: how long a Python function may be.

The rules about Rust files, and about the length of any file, are in tests/core/layering.rs.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("python", "tests", "benches", "docs", "examples")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
LONGEST_FUNCTION = 60


def long_functions(source: str) -> list[str]:
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [f.name for f in functions if f.end_lineno is not None and f.end_lineno - f.lineno >= LONGEST_FUNCTION]


def test_the_walk_finds_the_modules() -> None:
    assert ROOT / "python/interpose/__init__.py" in MODULES
    assert Path(__file__) in MODULES


def test_no_function_is_longer_than_a_page() -> None:
    found = {str(path.relative_to(ROOT)): long_functions(path.read_text(encoding="utf-8")) for path in MODULES}
    assert {path: functions for path, functions in found.items() if functions} == {}


def test_the_check_sees_a_function_that_is_too_long() -> None:
    assert long_functions("def f():\n" + "    g()\n" * 60) == ["f"]
    assert not long_functions("def f():\n" + "    g()\n" * 59)
    assert long_functions("class A:\n    async def f(self):\n" + "        g()\n" * 60) == ["f"]
