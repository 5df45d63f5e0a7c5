"""Every page but those of how-to runs as it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.doc_page import run_page

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = (".", "docs", "docs/explanation", "docs/migrate", "docs/reference", "examples")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md") if page.name != "CHANGELOG.md")


def test_no_page_is_left_out() -> None:
    there = {page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "how-to"}
    assert there <= set(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_runs_as_printed(page: Path) -> None:
    for path, picture in run_page(page).items():
        assert path.read_text(encoding="utf-8") == picture, "run PYTHONPATH=tests/python python -m support.doc_page"
