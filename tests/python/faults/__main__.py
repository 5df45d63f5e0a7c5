"""`python -m faults [--write] [ROW ...]`: plays the table, prints it, and ends with 1 where a promise is broken."""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .calls import ROWS, Row, runs_here
from .report import table, write
from .scenes import NOT_MADE, Outcome, Scene


def play(row: Row, folder: Path) -> list[Outcome]:
    """Play every error of one row, on one process for as long as it is whole."""
    outcomes: list[Outcome] = []
    scene: Scene | None = None
    for number, error in enumerate(row.errors.split()):
        if scene is None:
            scene = Scene(row, folder / f"{ROWS.index(row)}-{number}")
        outcome = scene.play(error)
        for _ in range(2):
            # It depends on the machine whether a stream is fast enough for some calls.
            if outcome.problems == [NOT_MADE]:
                outcome = scene.play(error)
        outcomes.append(outcome)
        # Pipes are kept for a while, and a runtime is made once.
        if outcomes[-1].problems or row.call in ("pipe2", "fcntl") or row.scene in ("first start", "refused"):
            scene.close()
            scene = None
    if scene is not None:
        scene.close()
    return outcomes


def main() -> int:
    """Play, print, and say whether all was as it may be."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/explanation/reliability.md")
    parser.add_argument("row", nargs="*", help="rows whose name begins with this; all of them without")
    options = parser.parse_args()
    if not runs_here():
        print("faults: the table is made on Linux on x86_64 only", file=sys.stderr)
        return 2
    chosen = [row for row in ROWS if not options.row or row.label.startswith(tuple(options.row))]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(3) as pool:
        for played in pool.map(play, chosen, [Path(folder)] * len(chosen)):
            outcomes += played
            print(table(played), flush=True)
    broken = [outcome for outcome in outcomes if outcome.problems]
    print(f"{len(outcomes)} errors of {len(chosen)} calls, {len(broken)} of them not as they should be")
    if options.write:
        write(outcomes)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
