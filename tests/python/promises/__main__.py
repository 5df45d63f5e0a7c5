"""Prints the table of promises; with --write it goes into docs/explanation/reliability.md."""

from __future__ import annotations

import sys

from .catalogue import documented, promises
from .table import rows, write


def main(arguments: list[str]) -> None:
    """Read the tests, and print or write."""
    table = rows(promises(documented()))
    if arguments == ["--write"]:
        write(table)
    else:
        print(table, end="")


if __name__ == "__main__":
    main(sys.argv[1:])
