"""Builds the documentation as a site, in target/site/html, and checks its links.

    python -m docs.site

A page that is not in order ends it with code 1. The folder can be opened in a browser as it is, and needs no network.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .links import faults
from .stage import ROOT, Plan, Stage, navigation

WORK = ROOT / "target/site"


def build() -> Path:
    """Write the site; return its folder."""
    shutil.rmtree(WORK, ignore_errors=True)
    source = WORK / "source"
    source.mkdir(parents=True)
    Stage(source).fill()
    settings = (Path(__file__).parent / "zensical.toml").read_text(encoding="utf-8")
    written = settings.replace('"NAVIGATION"', _toml(navigation()))
    (WORK / "zensical.toml").write_text(written, encoding="utf-8")
    subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=WORK, check=True)
    return WORK / "html"


def _toml(value: Plan) -> str:
    """Return text, and lists and tables of it, as TOML has them."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(one)}" for name, one in value.items()) + " }"
    return "[" + ", ".join(map(_toml, value)) + "]"


def main() -> int:
    """Build the site and report what is wrong with it."""
    try:
        site = build()
    except subprocess.CalledProcessError as failed:
        return int(failed.returncode)
    wrong = faults(site)
    print("\n".join([*wrong, f"{site.relative_to(ROOT)}: {len(list(site.rglob('*.html')))} pages"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
