"""A change that a page shows as a diff, made to a copy of the package."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import interpose

PACKAGE = Path(str(interpose.__file__)).parent
# As a diff names the package's files.
ROOT = Path("python/interpose")


def diff_under(heading: str, page: Path) -> str:
    """Return the first diff below a heading of the page."""
    section = page.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return section.split("```diff\n", 1)[1].split("```", 1)[0]


def copy_of_the_package(folder: Path) -> Path:
    """Return the package's copy in `folder`, which can be imported from there."""
    return shutil.copytree(PACKAGE, folder / "interpose", ignore=shutil.ignore_patterns("__pycache__"))


def apply(diff: str, package: Path) -> None:
    """Make the change; each hunk must have one place where it fits, whatever its lines are numbered."""
    for name, changes in re.findall(r"^--- (\S+)\n((?:(?!--- ).*\n)+)", diff, re.MULTILINE):
        file = package / Path(name).relative_to(ROOT)
        text = file.read_text(encoding="utf-8")
        for hunk in filter(None, re.split(r"^@@.*\n", changes, flags=re.MULTILINE)):
            before, after = _lines_with(" -", hunk), _lines_with(" +", hunk)
            assert text.count(before) == 1, f"{name}: the hunk fits in {text.count(before)} places:\n{hunk}"
            text = text.replace(before, after)
        file.write_text(text, encoding="utf-8")


def _lines_with(marks: str, hunk: str) -> str:
    # A context line that is empty may have lost its blank.
    lines = [line if line != "\n" else " \n" for line in hunk.splitlines(keepends=True)]
    return "".join(line[1:] for line in lines if line[0] in marks)
