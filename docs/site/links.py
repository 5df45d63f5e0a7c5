"""Checks of a built site: every link leads to a place of it, and no page loads anything from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes by which a page loads something when it is shown.
LOADS = {("img", "src"), ("script", "src"), ("iframe", "src"), ("source", "src"), ("object", "data"), ("link", "href")}
# Links of the head that a browser follows by itself.
FOLLOWED = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "prefetch", "manifest", "dns-prefetch"}
ADDRESS = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")


@dataclass
class Page:
    """What is written on a page: places to link to, links, and what it loads."""

    anchors: set[str] = field(default_factory=set[str])
    links: list[str] = field(default_factory=list[str])
    loads: list[str] = field(default_factory=list[str])


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.page.anchors |= {said[name] for name in ("id", "name") if name in said}
        for name, value in said.items():
            loaded = (tag, name) in LOADS and (tag != "link" or set(said.get("rel", "").split()) & FOLLOWED)
            if loaded:
                self.page.loads.append(value)
            if loaded or (tag == "a" and name == "href"):
                self.page.links.append(value)


def read(path: Path) -> Page:
    """Return what is written on a page."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def faults(site: Path) -> list[str]:
    """Return what is wrong with the site, a line each."""
    pages = {path: read(path) for path in sorted(site.rglob("*.html"))}
    found = [f"{path.relative_to(site)}: {fault}" for path in pages for fault in _of_page(path, pages, site)]
    for sheet in sorted(site.rglob("*.css")):
        found += [f"{sheet.relative_to(site)}: it loads {one}" for one in ADDRESS.findall(sheet.read_text("utf-8"))]
    return found


def _of_page(path: Path, pages: dict[Path, Page], site: Path) -> list[str]:
    page = pages[path]
    found: list[str] = []
    for link in page.loads:
        if urlsplit(link).netloc:
            found.append(f"it loads {link}")
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        base = site if parts.path.startswith("/") else path.parent
        target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
        target = target / "index.html" if target.is_dir() else target
        if not target.is_file():
            found.append(f"no page {link}")
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            found.append(f"no place {link}")
    return found
