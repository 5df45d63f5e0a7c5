"""The rule of plain words in CONTRIBUTING, checked: comments and docstrings of `src/` and `python/`."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BANNED = re.compile(r"\b(?:told|untold|so many)\b|\b[Ww]hoever\b|\bGives\b|\bThe same\b")
FIRST = re.compile(r"(?:What|Whether|Has|The same)\b")

# Files that are not yet reworded. It only shrinks: one without an offender has to leave it.
NOT_YET: frozenset[str] = frozenset({})


def rust_comments(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield line number, text, and whether it begins a doc comment, of each comment line."""
    before = ""
    for number, line in enumerate(text.splitlines(), 1):
        found = re.search(r'(?:^|[\s{};,])(//[/!]?)(?!/) ?([^"]*)$', line)
        mark = found[1] if found else ""
        if found:
            yield number, found[2], mark != "//" and mark != before
        before = mark


def python_comments(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield line number, text and whether it begins a docstring, of each line of a comment or docstring in Python."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# "), False
    for node in ast.walk(ast.parse(text)):
        # Docstrings, and the strings below attributes.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for offset, line in enumerate(node.value.value.splitlines()):
                yield node.lineno + offset, line.strip(), offset == 0


def offenders(path: Path, text: str) -> list[str]:
    """Return what breaks the rule in a file."""
    comments = python_comments(text) if path.suffix in (".py", ".pyi") else rust_comments(text)
    lines = [
        (number, line) for number, line, begins in comments if BANNED.search(line) or (begins and FIRST.match(line))
    ]
    return [f"{path}:{number}: {line}" for number, line in sorted(lines)]


def all_offenders() -> dict[str, list[str]]:
    paths = [path for folder, end in (("src", "rs"), ("python", "py")) for path in (ROOT / folder).rglob(f"*.{end}")]
    assert len(paths) > 100
    named = {str(path.relative_to(ROOT)): path for path in sorted(paths)}
    found = {name: offenders(Path(name), path.read_text(encoding="utf-8")) for name, path in named.items()}
    return {name: lines for name, lines in found.items() if lines}


def test_comments_use_plain_words() -> None:
    found = [line for name, lines in all_offenders().items() if name not in NOT_YET for line in lines]
    assert not found, "\n" + "\n".join(found)


def test_files_that_are_reworded_leave_the_list() -> None:
    assert NOT_YET - set(all_offenders()) == set()


def test_the_check_sees_what_it_should() -> None:
    rust = Path("a.rs")
    for bad in (
        "/// What it does.",
        "//! Has it do.",
        "// Nobody was told.",
        "f(); // so many bytes",
        "/// a\n/// Gives b.",
    ):
        assert offenders(rust, bad), bad
    for good in ('"// told"', "/// Returns it.\n/// What follows.", "// Hashes.", "let told = 1;", "// the same of b"):
        assert not offenders(rust, good), good
    python = Path("a.py")
    for bad in ('"""Whether."""', "x = 1  # whoever", 'def f():\n    """Return.\n\n    The same.\n    """\n'):
        assert offenders(python, bad), bad
    for good in ('"""Return."""', 'x = "told"', "told = 1"):
        assert not offenders(python, good), good
