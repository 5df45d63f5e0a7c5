"""The tables of docs/explanation/clients.md: read, and written by `python -m clients.page FOLDER`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from .play import Seen
from .trouble import TROUBLES

PAGE = Path(__file__).parents[3] / "docs/explanation/clients.md"
# A run with a folder of this name in its environment leaves what it has seen there, and compares nothing.
FOLDER = "INTERPOSE_CLIENTS"
LIMITS = re.compile(r",? (?:at|behind) (?:\d times )?its limit")
HEAD = "| it gets | the next question gets | when |\n|---|---|---|\n"


def _mark(client: str) -> tuple[str, str]:
    return f"<!-- {client}: begin -->\n", f"<!-- {client}: end -->\n"


def shown(client: str) -> dict[str, Seen]:
    """Return what the page says of a client, by the words for the faults."""
    begin, end = _mark(client)
    text = PAGE.read_text(encoding="utf-8")
    assert begin in text, f"the page has no {begin}"
    found: dict[str, Seen] = {}
    for line in text.split(begin)[1].split(end)[0].splitlines()[2:]:
        first, then, labels = (cell.strip() for cell in line.strip("| ").split(" | "))
        found.update({label: Seen(first, then) for label in labels.split("; ")})
    return found


def fits(page: Seen, seen: Seen, *, timing: bool = True) -> bool:
    """Whether it is as the page says, which may have several ways: `A or B`."""

    def fit(shown: str, came: str) -> bool:
        if not timing:
            shown, came = LIMITS.sub("", shown), LIMITS.sub("", came)
        return came in shown.split(" or ")

    return fit(page.first, seen.first) and fit(page.then, seen.then)


def table(seen: dict[str, Seen]) -> str:
    """Return a client's table: faults that come to the same are one line."""
    groups: dict[Seen, list[str]] = {}
    for trouble in TROUBLES:
        if trouble.label in seen:
            groups.setdefault(seen[trouble.label], []).append(trouble.label)
    return HEAD + "".join(f"| {one.first} | {one.then} | {'; '.join(labels)} |\n" for one, labels in groups.items())


def write(folder: Path) -> None:
    """Put what a run has left into the page, for the clients that have run."""
    text = PAGE.read_text(encoding="utf-8")
    for begin, client in re.findall(r"(<!-- (.+): begin -->\n)", text):
        files = {trouble.label: folder / f"{client}--{trouble.label}.json" for trouble in TROUBLES}
        seen = {label: Seen(**json.loads(file.read_text())) for label, file in files.items() if file.exists()}
        before = shown(client)
        seen = {
            label: before[label] if label in before and fits(before[label], one) else one for label, one in seen.items()
        }
        if seen:
            head, rest = text.split(begin)
            text = f"{head}{begin}{table({**before, **seen})}{_mark(client)[1]}{rest.split(_mark(client)[1])[1]}"
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
