"""Compiled expressions of Python's as the core reads them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from interpose import ConfigError, _native, faults
from interpose._expressions import core_expression


@pytest.mark.parametrize(
    ("compiled", "means"),
    [
        (re.compile(rb"a b"), b"a b"),
        (re.compile(rb"a b", re.VERBOSE), b"ab"),
        (re.compile(rb" a\ b [ #] # and so on" + b"\n c", re.VERBOSE), rb"a\ b[ #]c"),
        (re.compile(rb"(?x) a b"), b"ab"),
        (re.compile(rb"(?xi) [a # ] \# ", re.DOTALL), rb"(?is)[a # ]\#"),
        (re.compile(rb"[^]a b]c", re.VERBOSE), b"[^]a b]c"),
        (re.compile("a.b"), b"(?u)a.b"),
        (re.compile("é ü", re.VERBOSE | re.MULTILINE), "(?mu)éü".encode()),
        (re.compile("a", re.IGNORECASE), b"(?i)a"),
    ],
)
def test_it_means_the_same(compiled: Any, means: bytes) -> None:
    assert core_expression("on_match", compiled) == means
    _native.Expression("on_match", means)
    faults.Stall(on_match=compiled)


@pytest.mark.parametrize("text", [b"[a&&b]+", b"[a~~b]+", b"[[a]+", rb"[\w\s]+?x", b"(?x) [ab ]{2} x # more"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_sets_are_those_of_python(text: bytes) -> None:
    compiled = re.compile(text)
    native = _native.Expression("on_match", core_expression("on_match", compiled))
    for data in (b"a&x", b"&&b", b"~a", b"[a", b"a x", b"abx", b"b  x", b"ab\tx"):
        found = [match.span() for match in compiled.finditer(data)]
        assert native.find_all(data, 0, len(data)) == found, data


@pytest.mark.parametrize(
    ("compiled", "wanted"),
    [
        (re.compile(rb"a", re.LOCALE), "re.LOCALE depends on the machine"),
        (re.compile("é", re.IGNORECASE), "re.IGNORECASE is for ASCII letters, and 'é' has others; write both cases"),
        (re.compile(rb"a(?x: b )"), "has re.VERBOSE for a part of it; write that part without blanks"),
        (re.compile(rb"a(?i-x:b)(?sx-i:c )"), "has re.VERBOSE for a part of it"),
        (re.compile(rb"a(?=b)"), "look-around"),
        (re.compile(rb"a\Z"), "unrecognized escape"),
    ],
)
def test_what_would_mean_something_else_is_refused(compiled: Any, wanted: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(wanted)) as raised:
        faults.Stall(on_match=compiled)
    assert str(raised.value).startswith("on_match: ")
    assert "\n" not in str(raised.value)
