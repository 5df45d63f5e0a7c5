"""What the site is made from, and the check of its links."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import interpose
import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from docs.site.links import faults  # noqa: E402 (it is a program of the repository, not of the package)
from docs.site.stage import Plan, Stage, how_to, navigation  # noqa: E402


def test_every_page_of_the_documentation_is_in_the_navigation() -> None:
    def pages(plan: Plan) -> list[str]:
        if isinstance(plan, str):
            return [plan]
        return [page for one in (plan.values() if isinstance(plan, Mapping) else plan) for page in pages(one)]

    listed = pages(navigation())
    there = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert len(listed) == len(set(listed))
    assert [page for page in there if page not in listed] == []


def test_the_index_of_how_to_calls_its_pages_by_their_titles() -> None:
    index = (ROOT / "docs/how-to/index.md").read_text(encoding="utf-8")
    pages = [name for _, names in how_to() for name in names]
    assert len(pages) >= 20
    for name in pages:
        title = (ROOT / "docs/how-to" / name).read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert f"[{title}]({name})" in index


def test_the_page_of_names_has_every_public_name() -> None:
    page = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: interpose\.(\w+)$", page, re.MULTILINE)) == sorted([*interpose.__all__, "testing"])


def test_links_of_the_pages_lead_to_places_of_the_site(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.fill()
    tutorial = (tmp_path / "tutorial.md").read_text(encoding="utf-8")
    assert "](examples/index.md)" in tutorial
    assert (
        "](../source/tests/core/conformance/half_close.rs.md)" in (tmp_path / "explanation/reliability.md").read_text()
    )
    assert (tmp_path / "source/tests/core/conformance/half_close.rs.md").is_file()
    assert "\n```python\n" in (tmp_path / "examples/block.py.md").read_text(encoding="utf-8")
    assert not list(tmp_path.rglob("*.pyc"))
    # To the site's highlighter a # would be a prompt.
    redis = (tmp_path / "how-to/watch-redis.md").read_text(encoding="utf-8")
    assert re.search(r"^\u200b\d\d:\S+ #1 open", redis, re.MULTILINE)
    assert "\n$ interpose" in redis


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('<a href="other.html#here">', ""),
        ('<a href="other.html#there">', "index.html: no place other.html#there"),
        ('<a href="none.html">', "index.html: no page none.html"),
        ('<a href="#here">', "index.html: no place #here"),
        ('<img src="none.svg">', "index.html: no page none.svg"),
        ('<a href="https://example.org/">', ""),
        ('<link rel="canonical" href="https://example.org/">', ""),
        ('<script src="https://example.org/x.js">', "index.html: it loads https://example.org/x.js"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "index.html: it loads //example.org/x.css"),
    ],
)
def test_the_check_of_links(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(text)
    (tmp_path / "other.html").write_text('<h1 id="here">')
    assert faults(tmp_path) == ([fault] if fault else [])


def test_the_check_of_style_sheets(tmp_path: Path) -> None:
    (tmp_path / "site.css").write_text('a { background: url("https://example.org/x.png") }')
    assert faults(tmp_path) == ["site.css: it loads https://example.org/x.png"]
