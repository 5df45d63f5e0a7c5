"""The table of promises is what the tests say, and explains every id that is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from .catalogue import ID, TESTS, Documented, Promise, documented, in_python, in_rust, promises
from .table import on_page, rows

PROMISES = promises(documented())


def test_the_table_on_the_page_is_what_the_tests_say() -> None:
    assert on_page() == rows(PROMISES), "stale: tests/run promises --write"


def test_every_id_is_explained_once_in_one_sentence() -> None:
    assert len(PROMISES) > 100, "the walk finds the tests"
    unclear = [(it.id, it.texts) for it in PROMISES if len(it.texts) != 1 or not it.texts[0].endswith(".")]
    assert unclear == [], "one doc line of one test is to say what the id stands for: `ID: Sentence.`"


def test_every_id_that_is_used_is_in_the_table() -> None:
    known = {it.id for it in PROMISES}
    pages = [*TESTS.rglob("*.rs"), *TESTS.rglob("*.py"), *(TESTS.parent / "src").rglob("*.rs")]
    used = {name for page in pages for name in re.findall(rf"\b{ID}\b", page.read_text(encoding="utf-8"))}
    assert used - known == {"AC-99"}  # the example below


RUST = """//! Of a file.

#[test]
fn other() {}

/// AC-99: Says so.
///
/// More.
#[test]
fn first() {}

pub fn hc_01_second() {}
"""

PYTHON = '''"""Of a file."""

def test_other(): ...

def test_first():
    """AC-99: Says so.

    More.
    """

def test_hc_01_second(): ...
'''


@pytest.mark.parametrize(("read", "source", "test"), [(in_rust, RUST, ""), (in_python, PYTHON, "test_")])
def test_ids_are_found_in_docs_and_names(
    read: Callable[[str, str], Iterator[Documented]], source: str, test: str
) -> None:
    found = promises(iter([*read("a file", source)]))
    assert [(it.id, it.texts, [kept.name for kept in it.kept_by]) for it in found] == [
        ("HC-01", [], [f"{test}hc_01_second"]),
        ("AC-99", ["Says so."], [f"{test}first"]),
    ]


def test_a_file_keeps_the_promises_of_its_doc() -> None:
    found = promises(iter([Documented("core/a.rs", "", "AC-99: Says so.")]))
    assert found == [Promise("AC-99", ["Says so."], [Documented("core/a.rs", "", "AC-99: Says so.")])]
    assert rows(found).splitlines()[-1] == "| AC-99 | Says so. | [core/a.rs](../../tests/core/a.rs) |"
