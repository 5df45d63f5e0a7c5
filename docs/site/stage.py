"""The folder that the site is made from: a copy of docs, with the files of the repository that its pages link to.

On the site each of those files is a page of its own, so that no link leads out of it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

# A page, pages, or sections of them with their titles.
Plan: TypeAlias = "str | Sequence[Plan] | Mapping[str, Plan]"

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# Pages that live elsewhere in the repository, and their place on the site.
ELSEWHERE = {
    "CHANGELOG.md": "project/changes.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "README.md": "project/readme.md",
    "SECURITY.md": "project/security.md",
    "examples/README.md": "examples/index.md",
}
# The order of the pages in a folder, as far as it matters; others come behind these.
ORDER = {
    "reference": ("index", "command", "messages"),
    "explanation": (
        "ends",
        "backpressure",
        "lanes",
        "native-path",
        "tls",
        "clients",
        "architecture",
        "performance",
        "reliability",
    ),
    "migrate": ("tutorial-script", "socat", "stunnel", "tcpdump", "mitmproxy", "pproxy", "toxiproxy", "hand-made"),
}
LANGUAGES = {".py": "python", ".rs": "rust", ".toml": "toml", ".sh": "bash"}
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# Source files can be read on the site; its search is for the pages.
NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


class Stage:
    """A site's source: `written` maps each file of the repository to its page."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: list[Path] = []
        self.written: dict[Path, str] = {}

    def fill(self) -> None:
        """Write every page of docs, then what they link to, and what that links to."""
        for path in sorted(DOCS.rglob("*")):
            if path.is_file() and (DOCS / "site") not in path.parents and "__pycache__" not in path.parts:
                self._take(path)
        for path in (*sorted((ROOT / "examples").glob("*.py")), *(ROOT / name for name in ELSEWHERE)):
            self._take(path)
        while self._waiting:
            self._write(self._waiting.pop())

    def _take(self, path: Path) -> str:
        if path not in self.written:
            self.written[path] = _place(path)
            self._waiting.append(path)
        return self.written[path]

    def _write(self, path: Path) -> None:
        page = self._folder / self.written[path]
        page.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            page.write_text(self._linked(path), encoding="utf-8")
        elif DOCS in path.parents:
            shutil.copyfile(path, page)
        else:
            page.write_text(_source(path), encoding="utf-8")

    def _linked(self, path: Path) -> str:
        """Return the page's text; its links lead to the places of the site."""

        def moved(link: re.Match[str]) -> str:
            target, hash_mark, anchor = link[2].partition("#")
            if not target or ":" in target:
                return link[0]
            file = (path.parent / target).resolve()
            if not file.is_file():
                return link[0]  # the checks of the site report it
            place = self._take(file)
            here = os.path.relpath(place, Path(self.written[path]).parent)
            return f"{link[1]}{here}{hash_mark}{anchor}{link[3]}"

        text = path.read_text(encoding="utf-8")
        pieces: list[str] = []
        end = 0
        for fence in FENCE.finditer(text):
            pieces += [LINK.sub(moved, text[end : fence.start()]), _console(fence[0])]
            end = fence.end()
        return "".join([*pieces, LINK.sub(moved, text[end:])])


def _console(fence: str) -> str:
    """Return a block; no line that a terminal shows is taken for one that is typed, for having a # or % in it."""
    if not re.match(r"```console\n(?:.*\n)*?\$ ", fence):
        return fence
    return re.sub(r"^(?!```|\$ )(?=.*[#%$])", "\u200b", fence, flags=re.MULTILINE)


def _place(path: Path) -> str:
    if DOCS in path.parents:
        return path.relative_to(DOCS).as_posix()
    name = path.relative_to(ROOT).as_posix()
    folder = "" if name.startswith("examples/") else "source/"
    return ELSEWHERE.get(name, f"{folder}{name}.md")


def _source(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding="utf-8")
    fence = "`" * (3 + max((len(ticks) for ticks in re.findall("`+", text)), default=0))
    return f"{NOT_SEARCHED}# {name}\n\n{fence}{LANGUAGES.get(path.suffix, 'text')}\n{text}{fence}\n"


def navigation() -> list[Plan]:
    """Return the site's sections. Those of how-to are the headings of its index, and the links under them."""
    groups: list[Plan] = ["how-to/index.md"]
    groups += [{title: [f"how-to/{name}" for name in names]} for title, names in how_to()]
    return [
        {"Home": "index.md"},
        {"Tutorial": "tutorial.md"},
        {"How to": groups},
        {"Reference": _folder("reference")},
        {"Explanation": _folder("explanation")},
        {"Coming from": _folder("migrate")},
        {"Examples": ["examples/index.md", *(f"examples/{path.name}.md" for path in _sorted("examples", "*.py"))]},
        {"Project": [f"project/{name}.md" for name in ("changes", "contributing", "security")]},
    ]


def how_to() -> Iterator[tuple[str, list[str]]]:
    """Return the headings of the index of how-to, each with the pages under it."""
    index = (DOCS / "how-to/index.md").read_text(encoding="utf-8")
    for section in index.split("\n## ")[1:]:
        yield section.split("\n", 1)[0], re.findall(r"\]\(([\w-]+\.md)\)", section)


def _folder(name: str) -> list[Plan]:
    first = [*ORDER[name]]
    pages = [path.stem for path in _sorted(f"docs/{name}", "*.md")]
    pages.sort(key=lambda page: first.index(page) if page in first else len(first))
    return [f"{name}/{page}.md" for page in pages]


def _sorted(folder: str, pattern: str) -> list[Path]:
    return sorted((ROOT / folder).glob(pattern))
