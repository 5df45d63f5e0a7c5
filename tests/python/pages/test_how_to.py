"""Each page of how-to runs as it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.doc_page import run_page

FOLDER = Path(__file__).resolve().parents[3] / "docs/how-to"
PAGES = sorted(FOLDER.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs_as_printed(page: Path) -> None:
    for path, picture in run_page(page).items():
        assert path.read_text(encoding="utf-8") == picture, "run PYTHONPATH=tests/python python -m support.doc_page"
